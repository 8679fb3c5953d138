package dashboards

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

// TestPagesDeclareWhatTheyNeed: a page needs a permission, or is one of those named here.
func TestPagesDeclareWhatTheyNeed(t *testing.T) {
	t.Parallel()
	c := &Console{}
	_ = c.Handler()
	public := []string{"GET /sign-in", "POST /sign-in", "GET /sign-in/provider", "GET /sign-in/callback", "POST /sign-out", "GET /sessions",
		"POST /sessions/end", "POST /organization", "POST /theme", "GET /assets/"}
	for _, pattern := range c.Pages() {
		may, ok := c.needs[pattern]
		if open := slices.Contains(public, pattern); ok == open || ok && !may.Exists() {
			t.Errorf("%s: needs %q, is public by this test: %t", pattern, may, open)
		}
	}
	if len(c.Pages()) != len(c.needs)+len(public) {
		t.Errorf("%d pages, %d with a permission, %d public", len(c.Pages()), len(c.needs), len(public))
	}
	defer func() {
		if recover() == nil {
			t.Error("a page that declares nothing was added")
		}
	}()
	(&routes{c: c, mux: http.NewServeMux(), needs: map[string]tenant.Permission{}}).page(tenant.Permission{}, "GET /x", nil)
}

// TestPagesRefuseWhoLacksTheirPermission: none of the pages answers somebody whose role is not enough, or who is bound.
func TestPagesRefuseWhoLacksTheirPermission(t *testing.T) {
	t.Parallel()
	c := &Console{}
	h := c.signedIn(tenant.MayUpdate(tenant.ResourceAlerts), func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusNoContent); return nil })
	f := func(who tenant.Identity, in bool) {
		t.Helper()
		rec := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/alerts/a-1/ack", nil)
		if err := h(rec, r.WithContext(tenant.WithIdentity(r.Context(), who))); (err == nil) != in {
			t.Errorf("%s: got %v", who, err)
		}
	}
	f(tenant.Identity{Name: "a", Role: tenant.RoleMember}, true)
	f(tenant.Identity{Name: "b", Role: tenant.RoleViewer}, false)
	f(tenant.Identity{Name: "c", Role: tenant.RoleOwner, Tenant: "acme"}, false)
	f(tenant.Identity{Name: "d", Role: tenant.RoleOwner, Branch: &tenant.Branch{Products: []string{"x"}}}, false)
	f(tenant.Identity{Name: "e", Scopes: []tenant.Scope{tenant.ScopeAlertWrite}}, true)
	f(tenant.Identity{Name: "f", Scopes: []tenant.Scope{tenant.ScopeQuery}}, false)
}
