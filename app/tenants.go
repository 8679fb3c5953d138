package app

import (
	"cmp"
	"context"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// registerTenants adds the operations by which tenants come and go.
func (a *app) registerTenants(api *web.API) {
	web.RegisterTenantAPI(api, web.TenantAPI{
		Onboarding: tenant.NewOnboarding(a.tenants, a.schemas, a.keys), Targets: a.targetsOf, Endpoint: a.otlpURL(),
	})
	web.RegisterLeaveAPI(api, web.LeaveAPI{Departures: a.departures, Exports: a.exports, Audit: a.departures.NoteExport, Logger: a.Logger})
}

// targetsOf returns what the SLOs promise a tenant on a plan.
func (a *app) targetsOf(ctx context.Context, id tenant.ID, plan tenant.Plan) ([]web.SLOTarget, error) {
	defs, err := a.slos.List(ctx)
	if err != nil {
		return nil, err
	}
	targets := make([]web.SLOTarget, len(defs))
	for i := range defs {
		d := &defs[i]
		targets[i] = web.SLOTarget{SLO: d.Name, Target: float64(d.TargetFor(id, cmp.Or(plan, tenant.Starter))) / 10_000, Window: slo.Shorthand(d.Window)}
	}
	return targets, nil
}

// buildDepartures lets deletions of tenants be known here, and go on where the console is.
func (a *app) buildDepartures() error {
	a.life.run("deleted tenants", stopBound, func(ctx context.Context) error { return a.deleted.Run(ctx, a.Logger, a.owner) })
	if !a.has(RoleConsole) {
		return nil
	}
	ch, err := clickhouse.OpenHTTP(a.ClickHouse)
	if err != nil {
		return err
	}
	a.life.onStop("ClickHouse's HTTP connections", stopBound, func(context.Context) error { ch.Close(); return nil })
	a.departures = tenant.NewDepartures(a.pool, a.owner, ch, a.tenants, a.keys, a.Logger)
	a.exports = tenant.NewExports(a.pool, ch, a.Version)
	a.life.run("departures", stopBound, a.departures.Run)
	return nil
}
