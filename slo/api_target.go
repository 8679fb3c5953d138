package slo

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// targetView is an objective that a tenant has of its own.
type targetView struct {
	SLO           string    `json:"slo"`
	TargetPercent float64   `json:"target_percent"`
	Reason        string    `json:"reason"`
	SetBy         string    `json:"set_by"`
	SetAt         time.Time `json:"set_at"`
}

type targetsInput struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
}

type targetsOutput struct {
	Body struct {
		Targets []targetView `json:"targets"`
	}
}

type putTargetInput struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	SLO    string `path:"slo" maxLength:"63" doc:"The SLO's name."`
	Body   struct {
		ObjectivePPM uint32 `json:"objective_ppm" minimum:"1" maximum:"999999" example:"999500" doc:"Parts per million of requests that are to be good: 999500 is 99.95 %."`
		Reason       string `json:"reason" doc:"Why, for those who ask later."`
	}
}

type deleteTargetInput struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	SLO    string `path:"slo" maxLength:"63" doc:"The SLO's name."`
	Reason string `query:"reason" required:"true" doc:"Why, for the audit log."`
}

type targetAPI struct {
	r       *Reader
	targets *tenant.Targets
}

// RegisterTargetAPI adds the operations on the targets that tenants have of their own.
func (r *Reader) RegisterTargetAPI(api *web.API, targets *tenant.Targets) {
	a := targetAPI{r, targets}
	const path = "/api/v1/tenants/{tenant}/targets"
	op := web.Operation{Path: path, Tag: "SLOs", TenantParameter: "tenant", Permission: tenant.MayUpdate(tenant.ResourcePlans)}
	list, put, remove := op, op, op
	list.Method, list.ID, list.Summary, list.Permission = http.MethodGet, "list-targets", "List a tenant's own targets", tenant.MayRead(tenant.ResourcePlans)
	put.Method, put.Path, put.ID, put.Summary, put.Status = http.MethodPut, path+"/{slo}", "put-target", "Give a tenant a target of its own for an SLO",
		http.StatusNoContent
	put.Doc = "It wins over what the SLO's definition says of the tenant, of its plan, and of all."
	remove.Method, remove.Path, remove.ID, remove.Summary, remove.Status = http.MethodDelete, path+"/{slo}", "delete-target", "Take a tenant's own target away",
		http.StatusNoContent
	remove.Permission = tenant.MayDelete(tenant.ResourcePlans)
	web.Register(api, list, a.list)
	web.Register(api, put, a.put)
	web.Register(api, remove, a.remove)
}

func (a targetAPI) list(ctx context.Context, in *targetsInput) (*targetsOutput, error) {
	list, err := a.targets.List(ctx, tenant.ID(in.Tenant))
	if err != nil {
		return nil, err
	}
	out := &targetsOutput{}
	out.Body.Targets = make([]targetView, len(list))
	for i, t := range list {
		out.Body.Targets[i] = targetView{t.SLO, inPercent(PPM(t.ObjectivePPM)), t.Reason, t.SetBy, t.SetAt.UTC()}
	}
	return out, nil
}

func (a targetAPI) put(ctx context.Context, in *putTargetInput) (*struct{}, error) {
	if _, err := a.r.o.Store.Get(ctx, in.SLO); err != nil {
		return nil, err
	}
	who, _ := tenant.IdentityFrom(ctx)
	err := a.targets.Put(ctx, who.Actor(), tenant.ID(in.Tenant), tenant.Target{SLO: in.SLO, ObjectivePPM: in.Body.ObjectivePPM, Reason: in.Body.Reason})
	a.r.Forget()
	return nil, err
}

func (a targetAPI) remove(ctx context.Context, in *deleteTargetInput) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	err := a.targets.Remove(ctx, who.Actor(), tenant.ID(in.Tenant), in.SLO, in.Reason)
	a.r.Forget()
	return nil, err
}
