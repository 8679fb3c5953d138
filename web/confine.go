package web

import (
	"context"
	"net/http"
	"slices"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// Confine confines all that a request of a bound caller asks of the databases to what the caller may see, whatever the handler
// asks: the second wall, of which the handler knows nothing. It stands behind Auth's Middleware.
func Confine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who, ok := tenant.IdentityFrom(r.Context()); ok && who.Bound() {
			r = r.WithContext(confine(r.Context(), who))
		}
		next.ServeHTTP(w, r)
	})
}

func confine(ctx context.Context, who tenant.Identity) context.Context {
	if who.Tenant != tenant.Untagged {
		ctx = postgres.Confine(clickhouse.InTenant(ctx, who.Tenant), who.Tenant)
	}
	if who.Product != "" {
		ctx = clickhouse.Confine(ctx, clickhouse.Bounds{Products: []string{who.Product}})
	}
	if b := who.Branch; b != nil {
		if len(b.Tenants) > 0 {
			ctx = postgres.Confine(ctx, b.Tenants...)
		}
		tenants := make([]string, len(b.Tenants))
		for i, id := range b.Tenants {
			tenants[i] = string(id)
		}
		ctx = clickhouse.Confine(ctx, clickhouse.Bounds{Tenants: nonempty(tenants), Products: nonempty(b.Products), Services: nonempty(b.Services)})
	}
	return ctx
}

// nonempty returns a branch's list as Bounds have it: an empty one, which holds everything, is nil there.
func nonempty(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}
