package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func TestMe(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	web.RegisterMeAPI(web.NewAPI(r, "test", slog.New(slog.DiscardHandler)))
	f := func(who *tenant.Identity, want int, says ...string) {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, "/api/v1/me", http.NoBody)
		if who != nil {
			req = req.WithContext(tenant.WithIdentity(t.Context(), *who))
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		for _, s := range says {
			if w.Code != want || !strings.Contains(w.Body.String(), s) {
				t.Errorf("%+v: got %d %s, want %d with %s", who, w.Code, w.Body, want, s)
			}
		}
	}
	f(nil, 401, "no API key")
	f(&tenant.Identity{Name: "nobody"}, 200, `"name":"nobody"`, `"permissions":[]`)
	f(&tenant.Identity{Name: "ci", Scopes: []tenant.Scope{tenant.ScopeIngest}, Product: "shop"}, 200,
		`"kind":"key"`, `"scopes":["ingest:write"]`, `"product":"shop"`, `"permissions":["telemetry:create","deploys:create","deploys:update"]`)
	f(&tenant.Identity{UserID: 1, Name: "mary@acme.example", Role: tenant.RoleViewer, Tenant: "acme"}, 200,
		`"kind":"person"`, `"role":"viewer"`, `"organization":"tenant"`, `"tenant":"acme"`, `"telemetry:read"`)
	f(&tenant.Identity{UserID: 1, Name: "bo@example.com", Role: tenant.RoleManager, Branch: &tenant.Branch{ID: 1, Name: "north"}}, 200,
		`"organization":"operator"`, `"branch":"north"`, `"slos:update"`)
}
