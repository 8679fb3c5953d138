package slo

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// RegisterAPI adds the operations on SLOs to the JSON API.
func (r *Reader) RegisterAPI(api *web.API) {
	op := func(method, path, id, summary, doc string, may tenant.Permission) web.Operation {
		return web.Operation{Method: method, Path: "/api/v1/slos" + path, ID: id, Summary: summary, Doc: doc, Tag: "SLOs", Permission: may}
	}
	web.Register(api, op(http.MethodGet, "", "list-slos", "List the SLOs", "All SLOs as they stand, by name.", tenant.MayRead(tenant.ResourceSLOs)), r.apiList)
	web.Register(api, op(http.MethodPut, "", "apply-slos", "Create or change SLOs",
		"The body is OpenSLO v1 in YAML or JSON, any number of documents. The named SLOs are created or changed, all or none; "+
			"others stay as they are. Mistakes are answered all together, each with its line.", tenant.MayUpdate(tenant.ResourceSLOs)), r.apiApply)
	del := op(http.MethodDelete, "/{name}", "delete-slo", "Delete an SLO", "Its history and its counts are kept.", tenant.MayDelete(tenant.ResourceSLOs))
	del.Status = http.StatusNoContent
	web.Register(api, del, r.apiDelete)
	status := op(http.MethodGet, "/{name}/status", "get-slo-status", "How an SLO stands",
		"For one tenant, or without `tenant` for all together against the SLO's own target.", tenant.MayRead(tenant.ResourceSLOs))
	status.TenantParameter = "tenant"
	web.Register(api, status, r.apiStatus)
	web.Register(api, op(http.MethodGet, "/{name}/history", "get-slo-history", "Who changed an SLO and how",
		"The newest revision first.", tenant.MayRead(tenant.ResourceSLOs)), r.apiHistory)
	r.registerBacktest(api)
	r.registerCorrections(api)
}

type nameInput struct {
	Name string `path:"name" doc:"The SLO's name." maxLength:"253"`
}

type listOutput struct {
	Body struct {
		SLOs []sloView `json:"slos"`
	}
}

func (r *Reader) apiList(ctx context.Context, _ *struct{}) (*listOutput, error) {
	defs, err := r.o.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.SLOs = make([]sloView, len(defs))
	for i := range defs {
		out.Body.SLOs[i] = viewOf(&defs[i])
	}
	return out, nil
}

type applyInput struct {
	DryRun  bool   `query:"dry_run" doc:"Only say what would change."`
	RawBody []byte `contentType:"application/yaml"`
}

type applyOutput struct {
	Body struct {
		DryRun   bool         `json:"dry_run"`
		Changes  []changeView `json:"changes" doc:"One for each SLO of the body, in its order."`
		Deferred bool         `json:"deferred" doc:"The SLOs are stored, but counting begins only when ClickHouse answers again."`
	}
}

func (r *Reader) apiApply(ctx context.Context, in *applyInput) (*applyOutput, error) {
	defs, err := Parse("", in.RawBody)
	if err != nil {
		return nil, err
	}
	who, _ := tenant.IdentityFrom(ctx)
	changes, err := r.o.Store.Apply(ctx, who.Name, defs, in.DryRun)
	if err != nil {
		return nil, err
	}
	if !in.DryRun {
		r.Forget()
	}
	out := &applyOutput{}
	out.Body.DryRun, out.Body.Deferred = in.DryRun, changes.Deferred
	out.Body.Changes = make([]changeView, len(changes.SLOs))
	for i, c := range changes.SLOs {
		out.Body.Changes[i] = changeView(c)
	}
	return out, nil
}

func (r *Reader) apiDelete(ctx context.Context, in *nameInput) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	if err := r.o.Store.Delete(ctx, who.Name, in.Name); err != nil {
		return nil, err
	}
	r.Forget()
	return nil, nil
}

type statusInput struct {
	Name   string `path:"name" doc:"The SLO's name." maxLength:"253"`
	Tenant string `query:"tenant" doc:"The tenant's id. Without it: all tenants together."`
}

type statusOutput struct{ Body statusView }

func (r *Reader) apiStatus(ctx context.Context, in *statusInput) (*statusOutput, error) {
	var s *Status
	var err error
	if in.Tenant == "" {
		s, err = r.FleetStatus(ctx, in.Name)
	} else {
		var id tenant.ID
		if id, err = tenant.ParseID(in.Tenant); err != nil {
			return nil, fault.InvalidField("tenant", in.Tenant, "is not a tenant id: up to %d bytes without control characters", tenant.MaxIDLen)
		}
		s, err = r.Status(ctx, id, in.Name, time.Now())
	}
	if err != nil {
		return nil, err
	}
	return &statusOutput{Body: statusViewOf(s)}, nil
}

type historyOutput struct {
	Body struct {
		Revisions []revisionView `json:"revisions"`
	}
}

func (r *Reader) apiHistory(ctx context.Context, in *nameInput) (*historyOutput, error) {
	history, err := r.o.Store.History(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	out := &historyOutput{}
	out.Body.Revisions = make([]revisionView, len(history))
	for i, h := range history {
		out.Body.Revisions[i] = revisionView{Revision: h.Revision, Actor: h.Actor, At: h.At.UTC(), Deleted: h.Definition == nil, Fields: h.Fields}
	}
	return out, nil
}
