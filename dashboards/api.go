package dashboards

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// RegisterAPI adds the operations on tenants.
func (c *Console) RegisterAPI(api *web.API) {
	c.registerUsage(api)
	web.Register(api, web.Operation{
		Method: http.MethodGet, Path: "/api/v1/tenants", ID: "list-tenants", Tag: "Tenants", Permission: tenant.MayRead(tenant.ResourceTelemetry),
		ProductParameter: "product", KeepsToBranch: true,
		Summary: "List tenants with their requests, errors and percentiles",
		Doc: "Tenants with requests in the span, which is the last hour unless given. Requests that named no tenant are under the empty id. " +
			"Spans over 6 hours, and those that begin more than 35 days ago, are read by the hour: they then begin with a whole hour, which " +
			"the answer names.",
	}, c.listTenants)
	web.Register(api, web.Operation{
		Method: http.MethodGet, Path: "/api/v1/tenants/{tenant}/latency", ID: "get-tenant-latency", Tag: "Tenants", Permission: tenant.MayRead(tenant.ResourceTelemetry),
		TenantParameter: "tenant", ProductParameter: "product", KeepsToBranch: true,
		Summary: "Get a tenant's requests, errors and percentiles over time",
		Doc: "One point for every step; percentiles are null where there was no request. At most 2,000 points. Percentiles are within 1.1 % of the exact ones. " +
			"Before the last 35 days steps are whole hours.",
	}, c.tenantLatency)
	web.Register(api, web.Operation{
		Method: http.MethodPut, Path: "/api/v1/tenants/{tenant}", ID: "put-tenant", Tag: "Tenants", Permission: tenant.MayUpdate(tenant.ResourceTenants),
		Summary: "Set a tenant's name and plan", Doc: "The plan decides which of an SLO's targets holds. Tenants that nobody gave a plan are on starter.",
	}, c.putTenant)
}

// SpanInput is the span of time of a read, as the API takes it.
type SpanInput struct {
	From time.Time `query:"from" doc:"Start, RFC 3339; an hour before to by default." example:"2026-11-24T09:00:00Z"`
	To   time.Time `query:"to" doc:"End, RFC 3339, not included; now by default." example:"2026-11-24T10:00:00Z"`
}

// span returns the window asked for, cut to whole minutes.
func (in *SpanInput) span(now time.Time) (window, error) {
	w := window{From: in.From.UTC(), To: in.To.UTC()}
	if in.To.IsZero() {
		w.To = now.UTC().Truncate(time.Minute).Add(time.Minute)
	}
	if in.From.IsZero() {
		w.From = w.To.Add(-time.Hour)
	}
	if !w.From.Before(w.To) {
		return w, fault.InvalidField("from", w.From.Format(time.RFC3339), "must be before to, which is %s", w.To.Format(time.RFC3339))
	}
	if w.To.Sub(w.From) > maxAPISpan {
		return w, fault.InvalidField("from", w.From.Format(time.RFC3339), "must be at most %d days before to", int(maxAPISpan.Hours()/24))
	}
	w.From = w.From.Truncate(time.Minute)
	w.Old = now.Sub(w.From) >= minutesKept
	if to := w.To.Truncate(time.Minute); to.Before(w.To) {
		w.To = to.Add(time.Minute)
	}
	return w, nil
}

// maxAPISpan is as long as the hourly rollup is kept.
const maxAPISpan = 400 * 24 * time.Hour

type tenantsInput struct {
	SpanInput
	Product string `query:"product" maxLength:"200" doc:"Only this product's requests."`
	Sort    string `query:"sort" default:"requests" enum:"tenant,name,requests,errors,error_ratio,p50_ms,p95_ms,p99_ms"`
	Order   string `query:"order" enum:"asc,desc" doc:"desc by default, for names asc."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Offset  int    `query:"offset" default:"0" minimum:"0"`
}

// tenantJSON is one tenant of the answer. Percentiles are in milliseconds.
type tenantJSON struct {
	Tenant     tenant.ID   `json:"tenant" doc:"Empty for requests that named none."`
	Name       string      `json:"name"`
	Plan       tenant.Plan `json:"plan"`
	Products   []string    `json:"products"`
	Requests   uint64      `json:"requests"`
	Errors     uint64      `json:"errors"`
	ErrorRatio float64     `json:"error_ratio"`
	P50        float64     `json:"p50_ms"`
	P95        float64     `json:"p95_ms"`
	P99        float64     `json:"p99_ms"`
}

type tenantsOutput struct {
	Body struct {
		From    time.Time    `json:"from"`
		To      time.Time    `json:"to"`
		Total   int          `json:"total" doc:"Tenants in the span, on all pages."`
		Limit   int          `json:"limit"`
		Offset  int          `json:"offset"`
		Tenants []tenantJSON `json:"tenants"`
	}
}

func (c *Console) listTenants(ctx context.Context, in *tenantsInput) (*tenantsOutput, error) {
	w, err := in.span(c.now())
	if err != nil {
		return nil, err
	}
	w.From = w.From.Truncate(w.fleetTier().Width)
	who, _ := tenant.IdentityFrom(ctx)
	totals, err := c.store.totalsInBranch(ctx, w, in.Product, who.Branch)
	if err != nil {
		return nil, err
	}
	known, err := c.opts.Tenants.List(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[tenant.ID]tenant.Tenant, len(known))
	for _, t := range known {
		byID[t.ID] = t
	}
	list := make([]tenantJSON, 0, len(totals))
	for _, t := range totals {
		of, ok := byID[t.Tenant]
		if !ok {
			of = tenant.Tenant{ID: t.Tenant, Plan: tenant.Starter}
		}
		list = append(list, tenantJSON{Tenant: t.Tenant, Name: of.DisplayName(), Plan: of.Plan, Products: t.Products, Requests: t.Requests,
			Errors: t.Errors, ErrorRatio: t.ErrorRatio(), P50: micros(t.P50), P95: micros(t.P95), P99: micros(t.P99)})
	}
	sortTenants(list, in.Sort, in.Order)
	out := &tenantsOutput{}
	out.Body.From, out.Body.To, out.Body.Total, out.Body.Limit, out.Body.Offset = w.From, w.To, len(list), in.Limit, in.Offset
	from := min(in.Offset, len(list))
	out.Body.Tenants = list[from:min(from+in.Limit, len(list))]
	return out, nil
}

// sortTenants sorts by a field of the answer; equal ones stand by their ids.
func sortTenants(list []tenantJSON, sort, order string) {
	by := map[string]func(a, b *tenantJSON) int{
		"tenant":      func(a, b *tenantJSON) int { return cmp.Compare(a.Tenant, b.Tenant) },
		"name":        func(a, b *tenantJSON) int { return cmp.Compare(a.Name, b.Name) },
		"requests":    func(a, b *tenantJSON) int { return cmp.Compare(a.Requests, b.Requests) },
		"errors":      func(a, b *tenantJSON) int { return cmp.Compare(a.Errors, b.Errors) },
		"error_ratio": func(a, b *tenantJSON) int { return cmp.Compare(a.ErrorRatio, b.ErrorRatio) },
		"p50_ms":      func(a, b *tenantJSON) int { return cmp.Compare(a.P50, b.P50) },
		"p95_ms":      func(a, b *tenantJSON) int { return cmp.Compare(a.P95, b.P95) },
		"p99_ms":      func(a, b *tenantJSON) int { return cmp.Compare(a.P99, b.P99) },
	}[sort]
	sign := -1
	if order == "asc" || order == "" && (sort == "tenant" || sort == "name") {
		sign = 1
	}
	slices.SortFunc(list, func(a, b tenantJSON) int { return cmp.Or(sign*by(&a, &b), cmp.Compare(a.Tenant, b.Tenant)) })
}

// micros rounds milliseconds to microseconds: the histogram knows no more.
func micros(ms float64) float64 { return math.Round(ms*1000) / 1000 }

type latencyInput struct {
	SpanInput
	Tenant  string `path:"tenant" doc:"The tenant's id, URL-escaped."`
	Product string `query:"product" maxLength:"200"`
	Service string `query:"service" maxLength:"200"`
	Route   string `query:"route" maxLength:"2000"`
	Step    string `query:"step" doc:"Whole minutes, such as 1m, 5m, 1h; chosen by the span when left out." example:"5m"`
}

type latencyPoint struct {
	At         time.Time `json:"at" doc:"The step's start."`
	Requests   uint64    `json:"requests"`
	Errors     uint64    `json:"errors"`
	ErrorRatio float64   `json:"error_ratio"`
	P50        *float64  `json:"p50_ms" nullable:"true"`
	P95        *float64  `json:"p95_ms" nullable:"true"`
	P99        *float64  `json:"p99_ms" nullable:"true"`
}

type latencyOutput struct {
	Body struct {
		Tenant tenant.ID      `json:"tenant"`
		From   time.Time      `json:"from"`
		To     time.Time      `json:"to"`
		Step   int            `json:"step_seconds"`
		Points []latencyPoint `json:"points"`
	}
}

func (c *Console) tenantLatency(ctx context.Context, in *latencyInput) (*latencyOutput, error) {
	id, err := tenant.ParseID(in.Tenant)
	if err != nil {
		return nil, err
	}
	w, err := in.span(c.now())
	if err != nil {
		return nil, err
	}
	if w.Step, err = parseStep(in.Step, w); err != nil {
		return nil, err
	}
	who, _ := tenant.IdentityFrom(ctx)
	if b := who.Branch; b != nil && in.Service != "" && !b.HasService(in.Service) {
		return nil, &fault.Error{Kind: fault.NotFound, Field: "service", Value: in.Service, Message: "not found"}
	}
	q := seriesQuery{window: w.aligned(), Branch: who.Branch, Product: in.Product, Service: in.Service, Route: in.Route}
	points, err := c.store.series(ctx, id, q)
	if err != nil {
		return nil, err
	}
	out := &latencyOutput{}
	out.Body.Tenant, out.Body.From, out.Body.To, out.Body.Step = id, q.From, q.To, int(w.Step.Seconds())
	out.Body.Points = make([]latencyPoint, len(points))
	for i, p := range points {
		out.Body.Points[i] = latencyPoint{At: p.At, Requests: p.Requests, Errors: p.Errors, ErrorRatio: ratio(p.Errors, p.Requests),
			P50: orNull(p.P50), P95: orNull(p.P95), P99: orNull(p.P99)}
	}
	return out, nil
}

func orNull(ms float64) *float64 {
	if math.IsNaN(ms) {
		return nil
	}
	ms = micros(ms)
	return &ms
}

// parseStep reads a step for the window; the empty one is chosen so that there are at most 360 points.
func parseStep(s string, w window) (time.Duration, error) {
	span := w.To.Sub(w.From)
	if s == "" {
		for _, step := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour} {
			if span/step <= 360 && (!w.Old || step >= time.Hour) {
				return step, nil
			}
		}
		return 24 * time.Hour, nil
	}
	step, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fault.InvalidField("step", s, "must be a duration such as 1m, 5m or 1h")
	case step < time.Minute:
		return 0, fault.InvalidField("step", s, "must be at least 1m")
	case step%time.Minute != 0:
		return 0, fault.InvalidField("step", s, "must be whole minutes")
	case w.Old && step%time.Hour != 0:
		return 0, fault.InvalidField("step", s, "must be whole hours: minutes are kept for %d days", int(minutesKept.Hours()/24))
	case span/step > maxPoints:
		need := (span/maxPoints + time.Minute - 1).Truncate(time.Minute)
		return 0, fault.InvalidField("step", s, "gives %d points, more than 2,000: use %s or more", span/step, fmt.Sprintf("%dm", int(need.Minutes())))
	}
	return step, nil
}

type putTenantInput struct {
	Tenant string `path:"tenant" doc:"The tenant's id, URL-escaped."`
	Body   struct {
		Name string `json:"name,omitempty" maxLength:"200" doc:"For people; the id when empty."`
		Plan string `json:"plan,omitempty" enum:"starter,professional,enterprise" doc:"starter when left out."`
	}
}

type putTenantOutput struct {
	Body struct {
		Tenant tenant.ID   `json:"tenant"`
		Name   string      `json:"name"`
		Plan   tenant.Plan `json:"plan"`
	}
}

func (c *Console) putTenant(ctx context.Context, in *putTenantInput) (*putTenantOutput, error) {
	who, ok := tenant.IdentityFrom(ctx)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "no API key")
	}
	id, err := tenant.ParseID(in.Tenant)
	if err != nil {
		return nil, err
	}
	t := tenant.Tenant{ID: id, Name: in.Body.Name, Plan: tenant.Starter}
	if in.Body.Plan != "" {
		if t.Plan, err = tenant.ParsePlan(in.Body.Plan); err != nil {
			return nil, err
		}
	}
	if err := c.opts.Tenants.Put(ctx, who.Name, t); err != nil {
		return nil, err
	}
	out := &putTenantOutput{}
	out.Body.Tenant, out.Body.Name, out.Body.Plan = t.ID, t.Name, t.Plan
	return out, nil
}
