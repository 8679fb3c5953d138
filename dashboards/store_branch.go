package dashboards

import (
	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/tenant"
)

// branchCondition returns what confines a query over requests to a branch, to stand behind its other conditions, and the
// names in it; nothing for no branch. An empty list of a branch holds everything.
func branchCondition(b *tenant.Branch) (sql string, args []any) {
	if b == nil {
		return "", nil
	}
	if len(b.Tenants) > 0 {
		ids := make([]string, len(b.Tenants))
		for i, id := range b.Tenants {
			ids[i] = string(id)
		}
		sql, args = sql+" AND tenant IN @branch_tenants", append(args, ch.Named("branch_tenants", ids))
	}
	if len(b.Products) > 0 {
		sql, args = sql+" AND product IN @branch_products", append(args, ch.Named("branch_products", b.Products))
	}
	if len(b.Services) > 0 {
		sql, args = sql+" AND service IN @branch_services", append(args, ch.Named("branch_services", b.Services))
	}
	return sql, args
}
