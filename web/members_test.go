package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func TestMemberAPI(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.NewStore(pg.Pool).Put(t.Context(), "owner", tenant.Tenant{ID: "acme"}); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	web.RegisterMemberAPI(web.NewAPI(r, "test", slog.New(slog.DiscardHandler)), tenant.NewMembers(schemas))
	call := func(scope tenant.Scope, method, path, body string, want int, says string) {
		t.Helper()
		who := tenant.Identity{Name: "ops", Scopes: []tenant.Scope{scope}}
		req := httptest.NewRequest(method, "/api/v1/tenants/"+path, strings.NewReader(body)).WithContext(tenant.WithIdentity(t.Context(), who))
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		if rec.Code != want || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s %s: got %d %s, want %d with %q", method, path, rec.Code, rec.Body, want, says)
		}
	}
	const admin = tenant.ScopeAdmin
	call(admin, http.MethodGet, "acme/members", "", 200, `{"members":[]}`)
	call(admin, http.MethodPut, "acme/members/Ada@example.com", `{"name":"Ada","role":"manager"}`, 204, "")
	call(admin, http.MethodGet, "acme/members", "", 200, `"email":"ada@example.com","name":"Ada","role":"manager","added_by":"ops"`)
	call(admin, http.MethodGet, "globex/members", "", 200, `{"members":[]}`)
	call(admin, http.MethodPut, "globex/members/ada@example.com", `{"role":"manager"}`, 404, `there is no such tenant`)
	call(admin, http.MethodPut, "acme/members/ada@example.com", `{"role":"king"}`, 400, "role")
	call(admin, http.MethodPut, "acme/members/ada", `{"role":"viewer"}`, 400, "email")
	call(admin, http.MethodDelete, "globex/members/ada@example.com", "", 404, "")
	call(admin, http.MethodDelete, "acme/members/ada@example.com", "", 204, "")
	call(admin, http.MethodDelete, "acme/members/ada@example.com", "", 404, "")
	call(tenant.ScopeQuery, http.MethodGet, "acme/members", "", 403, "")
}
