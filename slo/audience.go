package slo

import (
	"slices"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/tenant"
)

// audience is whose counts are read.
type audience interface {
	// where returns a condition on the column tenant, empty for none, and its parameters.
	where() (string, ch.Parameters)
	// among returns those of the tenants that are in it, nil when none is.
	among([]tenant.ID) audience
}

type everybody struct{}

func (everybody) where() (string, ch.Parameters) { return "", ch.Parameters{} }

func (everybody) among(tenants []tenant.ID) audience { return onlyTenants(tenants) }

type onlyTenants []tenant.ID

func (o onlyTenants) where() (string, ch.Parameters) {
	quoted := make([]string, len(o))
	for i, t := range o {
		quoted[i] = "'" + escapeParameter(string(t)) + "'"
	}
	return "tenant IN {tenants:Array(String)}", ch.Parameters{"tenants": "[" + strings.Join(quoted, ",") + "]"}
}

func (o onlyTenants) among(tenants []tenant.ID) audience {
	var both onlyTenants
	for _, t := range tenants {
		if slices.Contains(o, t) {
			both = append(both, t)
		}
	}
	if both == nil {
		return nil
	}
	return both
}
