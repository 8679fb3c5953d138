package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// CountCalls counts the calls of the API that a tenant's people make, and keys that are bound to it, whatever the answer. It stands behind
// Auth's Middleware.
func CountCalls(calls *tenant.Calls) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if who, ok := tenant.IdentityFrom(r.Context()); ok && who.Tenant != tenant.Untagged && strings.HasPrefix(r.URL.Path, "/api/v1/") {
				calls.Add(who.Tenant, time.Now())
			}
			next.ServeHTTP(w, r)
		})
	}
}
