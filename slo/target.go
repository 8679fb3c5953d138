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

// of returns the tenant's target.
func (t targets) of(d *Definition, id tenant.ID) PPM {
	plan, ok := t.plans[id]
	if !ok {
		plan = tenant.Starter
	}
	ppm, _ := TargetOf(d, t.terms, id, plan)
	return ppm
}

// TargetSource says what a tenant's target comes from.
type TargetSource string

// The sources, the first of which that has a target wins: what is said of less wins over what is said of more.
const (
	TargetOwn          TargetSource = "own"             // the tenant's, as the API set it, with a reason
	TargetInDefinition TargetSource = "definition"      // the definition's for the tenant
	TargetForPlan      TargetSource = "definition-plan" // the definition's for its plan
	TargetOfPlan       TargetSource = "plan"            // what the plan says for all SLOs of the kind
	TargetObjective    TargetSource = "objective"       // the definition's for all
)

// TargetOf returns the target for a tenant on a plan, and what it comes from. Without terms definitions say all.
func TargetOf(d *Definition, terms *tenant.Terms, id tenant.ID, plan tenant.Plan) (PPM, TargetSource) {
	if terms != nil {
		if ppm, ok := terms.Target(id, d.Name); ok {
			return PPM(ppm), TargetOwn
		}
	}
	if ppm, ok := d.TargetsByTenant[id]; ok {
		return ppm, TargetInDefinition
	}
	if ppm, ok := d.TargetsByPlan[plan]; ok {
		return ppm, TargetForPlan
	}
	if terms != nil {
		setting := tenant.AvailabilityTargetPPM
		if d.Kind == Latency {
			setting = tenant.LatencyTargetPPM
		}
		if ppm, _, ok := terms.PlanValue(plan, setting); ok {
			return PPM(ppm), TargetOfPlan
		}
	}
	return d.Target, TargetObjective
}
