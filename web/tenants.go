package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/nexis-limited/headroom/tenant"
)

// SLOTarget is what an SLO promises a tenant.
type SLOTarget struct {
	SLO    string  `json:"slo"`
	Target float64 `json:"target" doc:"In percent."`
	Window string  `json:"window" example:"30d"`
}

// TenantAPI is what the operations on tenants' coming and going need. The fields are required.
type TenantAPI struct {
	Onboarding *tenant.Onboarding
	// Targets returns what the SLOs promise a tenant on a plan.
	Targets func(ctx context.Context, id tenant.ID, plan tenant.Plan) ([]SLOTarget, error)
	// Endpoint is where telemetry goes over OTLP/HTTP, as far as this process knows; empty if it does not.
	Endpoint string
}

type createTenantIn struct {
	Body struct {
		Tenant  string `json:"tenant" doc:"Its id, as telemetry has it."`
		Name    string `json:"name,omitempty" doc:"Its name for people."`
		Plan    string `json:"plan,omitempty" doc:"starter by default."`
		Product string `json:"product,omitempty" doc:"Bind its key to this product too."`
	}
}

type createdTenant struct {
	Tenant   tenant.ID   `json:"tenant"`
	Name     string      `json:"name"`
	Plan     tenant.Plan `json:"plan"`
	Returned bool        `json:"returned,omitempty" doc:"It had been deleted before; its telemetry is recorded again."`
	Schema   string      `json:"schema" doc:"Of its own data in PostgreSQL."`
	Key      keyView     `json:"key" doc:"With its text: in this answer only. It is bound to the tenant and may only push."`
	Targets  []SLOTarget `json:"targets" doc:"What the SLOs promise it."`
	Snippet  string      `json:"snippet" doc:"To paste where its services start: sh, with the key in it."`
}

type createdTenantOut struct{ Body createdTenant }

// RegisterTenantAPI adds the operations by which tenants come and go.
func RegisterTenantAPI(api *API, a TenantAPI) {
	Register(api, Operation{
		Method: http.MethodPost, Path: "/api/v1/tenants", ID: "create-tenant", Tag: "Tenants", Permission: tenant.MayCreate(tenant.ResourceTenants), Status: http.StatusCreated,
		Summary: "Take a tenant on",
		Doc: "Makes its row, the schema of its own data and a key for its telemetry, all or nothing. A tenant that was deleted comes back so, " +
			"without what it had. 409 when there is one already: then nothing is changed.",
	}, a.create)
}

func (a *TenantAPI) create(ctx context.Context, in *createTenantIn) (*createdTenantOut, error) {
	who, _ := tenant.IdentityFrom(ctx)
	n := tenant.NewTenant{ID: tenant.ID(in.Body.Tenant), Name: in.Body.Name, Plan: tenant.Plan(in.Body.Plan), Product: in.Body.Product}
	made, err := a.Onboarding.Create(ctx, who.Name, n)
	if err != nil {
		return nil, err
	}
	out := &createdTenantOut{Body: createdTenant{
		Tenant: made.Tenant.ID, Name: made.Tenant.Name, Plan: made.Tenant.Plan, Returned: made.Returned, Schema: made.Schema,
		Key: newKeyView(made.Key, made.KeyText), Snippet: snippet(a.Endpoint, made.KeyText, made.Tenant.ID, n.Product),
	}}
	// The key is shown this once, so the answer must not fail any more: the targets can be read elsewhere.
	if out.Body.Targets, err = a.Targets(ctx, made.Tenant.ID, made.Tenant.Plan); err != nil || out.Body.Targets == nil {
		out.Body.Targets = []SLOTarget{}
	}
	return out, nil
}

// snippet returns what an OpenTelemetry SDK takes from its environment. Values in the lists are percent-encoded, as
// OpenTelemetry's and W3C's baggage have it.
func snippet(endpoint, key string, id tenant.ID, product string) string {
	if endpoint == "" {
		endpoint = "http://localhost:4318"
	}
	attributes := "tenant.id=" + percent(string(id))
	if product != "" {
		attributes = "service.namespace=" + percent(product) + "," + attributes
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", endpoint},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20" + key},
		{"OTEL_RESOURCE_ATTRIBUTES", attributes},
	} {
		b.WriteString("export " + line[0] + "='" + line[1] + "'\n") // no value has a quote: percent escapes it
	}
	return b.String()
}

// percent escapes all but letters, digits and "-_.~".
func percent(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "'", "%27")
}
