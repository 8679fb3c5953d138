package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// TestPeopleOfABranchStayInIt: they are refused where a handler does not keep to branches, and find nothing that they name
// outside of theirs.
func TestPeopleOfABranchStayInIt(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	api := web.NewAPI(r, "test", slog.New(slog.DiscardHandler))
	type in struct {
		Tenant  string `query:"tenant"`
		Product string `query:"product"`
	}
	none := func(context.Context, *in) (*struct{}, error) { return nil, nil }
	op := web.Operation{Method: http.MethodGet, Path: "/all", ID: "all", Permission: tenant.MayRead(tenant.ResourceTelemetry),
		TenantParameter: "tenant", ProductParameter: "product", Status: http.StatusNoContent}
	web.Register(api, op, none)
	op.Path, op.ID, op.KeepsToBranch = "/some", "some", true
	web.Register(api, op, none)
	op.Path, op.ID, op.Permission = "/change", "change", tenant.MayUpdate(tenant.ResourceSLOs)
	web.Register(api, op, none)

	f := func(who tenant.Identity, path string, want int, says string) {
		t.Helper()
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil).WithContext(tenant.WithIdentity(t.Context(), who)))
		if rec.Code != want || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s at %s: got %d %s, want %d with %q", who.Role, path, rec.Code, rec.Body, want, says)
		}
	}
	bo := tenant.Identity{UserID: 1, Name: "bo", Role: tenant.RoleManager, Branch: &tenant.Branch{ID: 1, Name: "north", Tenants: []tenant.ID{"acme"}, Products: []string{"shop"}}}
	f(bo, "/all", 403, `confined to the branch`)
	f(bo, "/all?tenant=acme&product=shop", 403, `north`)
	f(bo, "/some", 204, "")
	f(bo, "/some?tenant=acme&product=shop", 204, "")
	f(bo, "/some?tenant=globex", 404, "not found")
	f(bo, "/some?product=books", 404, "not found")
	f(bo, "/change", 204, "")
	bo.Role = tenant.RoleViewer
	f(bo, "/change", 403, "slos:update takes manager")
	ada := tenant.Identity{UserID: 2, Name: "ada", Role: tenant.RoleOwner, Tenant: "acme"}
	f(ada, "/change?tenant=acme", 403, "no role gives slos:update")
	f(ada, "/some?tenant=acme&product=books", 204, "")
	f(ada, "/some?tenant=globex", 404, "not found")
	f(ada, "/some", 403, "give tenant=acme")
}
