package slo

import (
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

// TestOrderOfTargets: what is said of one tenant wins over what is said of its plan, and that over what is said of all; the API
// wins over the definition.
func TestOrderOfTargets(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ctx := t.Context()
	store := tenant.NewStore(e.pg.Pool)
	schemas, err := tenant.NewSchemas(e.pg.Pool, e.pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	gates := tenant.NewGates(e.pg.Pool, store, tenant.DefaultQuotas())
	own := tenant.NewTargets(schemas, gates)
	for id, plan := range map[tenant.ID]tenant.Plan{"acme": tenant.Enterprise, "beta": tenant.Enterprise, "coda": tenant.Professional, "duo": tenant.Starter} {
		if err := store.Put(ctx, "ada", tenant.Tenant{ID: id, Plan: plan}); err != nil {
			t.Fatal(err)
		}
	}
	plans, err := store.Plans(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d := Definition{Name: "checkout", Kind: Availability, Target: 990_000,
		TargetsByPlan: map[tenant.Plan]PPM{tenant.Enterprise: 999_000}, TargetsByTenant: map[tenant.ID]PPM{"acme": 999_900}}
	latency := Definition{Name: "fast", Kind: Latency, Target: 950_000}
	r := Reader{o: ReaderOptions{Terms: gates}}
	want := func(d *Definition, id tenant.ID, ppm PPM) {
		t.Helper()
		of, err := r.targets(ctx, plans)
		if err != nil {
			t.Fatal(err)
		}
		if got := of.of(d, id); got != ppm {
			t.Errorf("%s of %q: %s, want %s", d.Name, id, got, ppm)
		}
	}
	want(&d, "acme", 999_900) // the definition, of the tenant
	want(&d, "beta", 999_000) // of its plan
	want(&d, "coda", 990_000) // of all
	want(&latency, "coda", 950_000)

	ppm := int64(995_000)
	for _, p := range tenant.Plans() {
		if err := gates.SetPlan(ctx, "ada", p, map[tenant.Setting]*int64{tenant.AvailabilityTargetPPM: &ppm}); err != nil {
			t.Fatal(err)
		}
	}
	want(&d, "acme", 999_900)
	want(&d, "beta", 999_000)
	want(&d, "coda", 995_000) // what the plan says of all SLOs of the kind
	want(&d, "duo", 995_000)
	want(&d, "unknown", 995_000) // as Starter
	want(&latency, "coda", 950_000)

	for _, id := range []tenant.ID{"acme", "coda"} {
		if err := own.Put(ctx, "ada", id, tenant.Target{SLO: "checkout", ObjectivePPM: 980_000, Reason: "in its contract"}); err != nil {
			t.Fatal(err)
		}
	}
	want(&d, "acme", 980_000) // the tenant's own
	want(&d, "coda", 980_000)
	want(&d, "beta", 999_000)
}
