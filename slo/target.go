package slo

import (
	"context"
	"fmt"

	"github.com/nexis-limited/headroom/tenant"
)

// Terms tells which targets tenants and plans have besides those in definitions; *tenant.Gates does.
type Terms interface {
	Terms(ctx context.Context) (*tenant.Terms, error)
}

// targets says what each tenant's target for an SLO is.
type targets struct {
	plans map[tenant.ID]tenant.Plan
	terms *tenant.Terms // nil: definitions say all
}

func (r *Reader) targets(ctx context.Context, plans map[tenant.ID]tenant.Plan) (targets, error) {
	t := targets{plans: plans}
	if r.o.Terms == nil {
		return t, nil
	}
	var err error
	if t.terms, err = r.o.Terms.Terms(ctx); err != nil {
		return t, fmt.Errorf("cannot read the targets of tenants and plans: %w", err)
	}
	return t, nil
}

// of returns the tenant's target. The first of these that there is: the tenant's own, as the API set it, with a reason;
// the definition's for the tenant; the definition's for its plan; what the plan says for all SLOs of the kind; the
// definition's objective. So what is said of less wins over what is said of more.
func (t targets) of(d *Definition, id tenant.ID) PPM {
	plan, ok := t.plans[id]
	if !ok {
		plan = tenant.Starter
	}
	if t.terms == nil {
		return d.TargetFor(id, plan)
	}
	if ppm, ok := t.terms.Target(id, d.Name); ok {
		return PPM(ppm)
	}
	if ppm, ok := d.TargetsByTenant[id]; ok {
		return ppm
	}
	if ppm, ok := d.TargetsByPlan[plan]; ok {
		return ppm
	}
	setting := tenant.AvailabilityTargetPPM
	if d.Kind == Latency {
		setting = tenant.LatencyTargetPPM
	}
	if ppm, _, ok := t.terms.PlanValue(plan, setting); ok {
		return PPM(ppm)
	}
	return d.Target
}
