package slo

import (
	"context"
	"maps"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// Definitions are the operator's and name tenants: what is read for a context that is confined holds to its bounds
// here, behind whatever the caller checks.

// confine takes from a definition what ctx does not see, and reports whether it sees the SLO at all: what an SLO of a
// whole product counts is not seen by who sees some of its services.
func (d *Definition) confine(ctx context.Context) bool {
	maps.DeleteFunc(d.TargetsByTenant, func(id tenant.ID, _ PPM) bool { return !clickhouse.Sees(ctx, clickhouse.Tenant, id) })
	return clickhouse.Sees(ctx, clickhouse.Product, d.Selector.Product) && clickhouse.Sees(ctx, clickhouse.Service, d.Selector.Service)
}
