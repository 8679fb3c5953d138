package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// planValueView is one setting of a plan.
type planValueView struct {
	Key   tenant.Setting `json:"key"`
	Value int64          `json:"value"`
	From  tenant.Source  `json:"from" enum:"plan,default" doc:"plan: set here; default: --quota, else headroom's."`
	Takes string         `json:"takes" doc:"What values it takes."`
}

type planView struct {
	Plan     tenant.Plan     `json:"plan"`
	Settings []planValueView `json:"settings" doc:"A target that the plan does not set is missing: each SLO's own holds."`
}

type plansOut struct {
	Body struct {
		Plans []planView `json:"plans" doc:"From the smallest to the largest."`
	}
}

type putPlanIn struct {
	Plan string `path:"plan" enum:"starter,professional,enterprise" doc:"The plan."`
	Body struct {
		Settings map[tenant.Setting]*int64 `json:"settings" doc:"Those to change, by their keys; null takes back what was set, so that the default holds."`
	}
}

type planOut struct{ Body planView }

// overrideView is what a tenant has in place of what its plan has.
type overrideView struct {
	Key    tenant.Setting `json:"key"`
	Value  int64          `json:"value"`
	Reason string         `json:"reason"`
	SetBy  string         `json:"set_by"`
	SetAt  time.Time      `json:"set_at"`
	EndsAt *time.Time     `json:"ends_at,omitempty"`
	Holds  bool           `json:"holds" doc:"false when it has ended."`
}

type overridesIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
}

type overridesOut struct {
	Body struct {
		Overrides []overrideView `json:"overrides"`
	}
}

type putOverrideIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	Key    string `path:"key" maxLength:"63" doc:"A setting of plans."`
	Body   struct {
		Value  int64      `json:"value"`
		Reason string     `json:"reason" doc:"Why, for those who ask later."`
		EndsAt *time.Time `json:"ends_at,omitempty" doc:"When the plan holds again; never by default."`
	}
}

type deleteOverrideIn struct {
	Tenant string `path:"tenant" doc:"The tenant's id."`
	Key    string `path:"key" maxLength:"63" doc:"A setting of plans."`
	Reason string `query:"reason" required:"true" doc:"Why, for the audit log."`
}

type planAPI struct{ gates *tenant.Gates }

// RegisterPlanAPI adds the operations on plans and on what single tenants have in place of theirs.
func RegisterPlanAPI(api *API, gates *tenant.Gates) {
	a := planAPI{gates}
	read, update := tenant.MayRead(tenant.ResourcePlans), tenant.MayUpdate(tenant.ResourcePlans)
	Register(api, Operation{Method: http.MethodGet, Path: "/api/v1/plans", ID: "list-plans", Tag: "Plans", Permission: read,
		Summary: "List what plans give"}, a.list)
	Register(api, Operation{Method: http.MethodPatch, Path: "/api/v1/plans/{plan}", ID: "update-plan", Tag: "Plans", Permission: update,
		Summary: "Change what a plan gives", Doc: "All of the body or nothing. It holds everywhere within 15 seconds."}, a.update)
	const path = "/api/v1/tenants/{tenant}/overrides"
	op := Operation{Path: path, Tag: "Plans", TenantParameter: "tenant", Permission: update}
	list, put, remove := op, op, op
	list.Method, list.ID, list.Summary, list.Permission = http.MethodGet, "list-overrides", "List what a tenant has in place of what its plan gives", read
	put.Method, put.Path, put.ID, put.Summary, put.Status = http.MethodPut, path+"/{key}", "put-override", "Give a tenant another value than its plan does",
		http.StatusNoContent
	remove.Method, remove.Path, remove.ID, remove.Summary, remove.Status = http.MethodDelete, path+"/{key}", "delete-override",
		"Let a tenant have what its plan gives again", http.StatusNoContent
	remove.Permission = tenant.MayDelete(tenant.ResourcePlans)
	Register(api, list, a.overrides)
	Register(api, put, a.put)
	Register(api, remove, a.remove)
}

func (a planAPI) view(ctx context.Context, p tenant.Plan) (planView, error) {
	values, err := a.gates.PlanValues(ctx, p)
	v := planView{Plan: p, Settings: make([]planValueView, len(values))}
	for i, s := range values {
		v.Settings[i] = planValueView{s.Key, s.Value, s.From, s.Unit}
	}
	return v, err
}

func (a planAPI) list(ctx context.Context, _ *struct{}) (*plansOut, error) {
	out := &plansOut{}
	for _, p := range tenant.Plans() {
		v, err := a.view(ctx, p)
		if err != nil {
			return nil, err
		}
		out.Body.Plans = append(out.Body.Plans, v)
	}
	return out, nil
}

func (a planAPI) update(ctx context.Context, in *putPlanIn) (*planOut, error) {
	who, _ := tenant.IdentityFrom(ctx)
	if err := a.gates.SetPlan(ctx, who.Actor(), tenant.Plan(in.Plan), in.Body.Settings); err != nil {
		return nil, err
	}
	v, err := a.view(ctx, tenant.Plan(in.Plan))
	return &planOut{Body: v}, err
}

func (a planAPI) overrides(ctx context.Context, in *overridesIn) (*overridesOut, error) {
	list, err := a.gates.Overrides(ctx, tenant.ID(in.Tenant))
	if err != nil {
		return nil, err
	}
	out := &overridesOut{}
	out.Body.Overrides = make([]overrideView, len(list))
	for i, o := range list {
		out.Body.Overrides[i] = overrideView{o.Key, o.Value, o.Reason, o.SetBy, o.SetAt.UTC(), inUTC(o.EndsAt), o.Holds(time.Now())}
	}
	return out, nil
}

func (a planAPI) put(ctx context.Context, in *putOverrideIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, a.gates.Override(ctx, who.Actor(), tenant.ID(in.Tenant), tenant.Override{
		Key: tenant.Setting(in.Key), Value: in.Body.Value, Reason: in.Body.Reason, EndsAt: in.Body.EndsAt,
	})
}

func (a planAPI) remove(ctx context.Context, in *deleteOverrideIn) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return nil, a.gates.EndOverride(ctx, who.Actor(), tenant.ID(in.Tenant), tenant.Setting(in.Key), in.Reason)
}
