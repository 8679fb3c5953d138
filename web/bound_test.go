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

// TestBoundKeysStayWithinTheirBounds: an operation lets a bound key in only where it says how a call is confined, and then
// only to its own.
func TestBoundKeysStayWithinTheirBounds(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	api := web.NewAPI(r, "test", slog.New(slog.DiscardHandler))
	type out struct{ Body struct{ Of string } }
	type everything struct {
		Tenant string `query:"tenant"`
	}
	type one struct {
		Tenant  string `path:"tenant"`
		Product string `query:"product"`
	}
	answer := func(of string) (*out, error) { o := &out{}; o.Body.Of = of; return o, nil }
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/all", ID: "all", Permission: tenant.MayRead(tenant.ResourceTelemetry)},
		func(_ context.Context, in *everything) (*out, error) { return answer(in.Tenant) })
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/some", ID: "some", Permission: tenant.MayRead(tenant.ResourceTelemetry), TenantParameter: "tenant"},
		func(_ context.Context, in *everything) (*out, error) { return answer(in.Tenant) })
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/one/{tenant}", ID: "one", Permission: tenant.MayRead(tenant.ResourceTelemetry), TenantParameter: "tenant",
		ProductParameter: "product"}, func(_ context.Context, in *one) (*out, error) { return answer(in.Tenant + in.Product) })

	query := []tenant.Scope{tenant.ScopeQuery}
	free := tenant.Identity{Name: "free", Scopes: query}
	acme := tenant.Identity{Name: "acme's", Scopes: query, Tenant: "acme"}
	slash := tenant.Identity{Name: "slash's", Scopes: query, Tenant: "a/b"}
	shop := tenant.Identity{Name: "shop's", Scopes: query, Product: "shop"}
	both := tenant.Identity{Name: "both's", Scopes: query, Tenant: "acme", Product: "shop"}
	f := func(who tenant.Identity, path string, want int, says string) {
		t.Helper()
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil).WithContext(tenant.WithIdentity(t.Context(), who)))
		if rec.Code != want || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s at %s: got %d %s, want %d with %q", who.Name, path, rec.Code, rec.Body, want, says)
		}
	}
	f(free, "/all?tenant=globex", 200, "globex")
	f(free, "/some?tenant=globex", 200, "globex")
	f(free, "/some", 200, "")
	f(free, "/one/globex?product=books", 200, "globexbooks")

	f(acme, "/all?tenant=acme", 403, `bound to the tenant`)
	f(acme, "/some?tenant=acme", 200, "acme")
	f(acme, "/some?tenant=globex", 404, "not found")
	f(acme, "/some?tenant=acme&tenant=globex", 200, "acme") // what the check reads is what the handler reads
	f(acme, "/some?tenant=globex&tenant=acme", 404, "not found")
	f(acme, "/some", 403, "give tenant=acme")
	f(acme, "/some?tenant=", 403, "give tenant=acme")
	f(acme, "/one/acme", 200, "acme")
	f(acme, "/one/acme?product=books", 200, "acmebooks")
	f(acme, "/one/globex", 404, "not found")
	f(acme, "/one/Acme", 404, "not found")
	f(acme, "/one/%61cme", 200, "acme")
	f(slash, "/one/a%2Fb", 200, "a/b")
	f(slash, "/one/a", 404, "not found")

	f(shop, "/all", 403, `bound to the product`)
	f(shop, "/some?tenant=acme", 403, `bound to the product`)
	f(shop, "/one/acme?product=shop", 200, "acmeshop")
	f(shop, "/one/acme?product=books", 404, "not found")
	f(shop, "/one/acme", 403, "give product=shop")

	f(both, "/one/acme?product=shop", 200, "acmeshop")
	f(both, "/one/acme?product=books", 404, "not found")
	f(both, "/one/globex?product=shop", 404, "not found")
	f(both, "/some?tenant=acme", 403, "bound to")

	acme.Scopes = []tenant.Scope{tenant.ScopeIngest}
	f(acme, "/one/acme", 403, "does not have the scope query:read")
}

func TestOperationMustHaveTheParametersItNames(t *testing.T) {
	t.Parallel()
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "BUG:") || !strings.Contains(p, "customer") {
			t.Errorf("got panic %q, want a BUG that names the parameter", p)
		}
	}()
	web.Register(web.NewAPI(chi.NewRouter(), "test", slog.Default()),
		web.Operation{Method: http.MethodGet, Path: "/x", ID: "x", Permission: tenant.MayRead(tenant.ResourceTelemetry), TenantParameter: "customer"},
		func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
}

func TestKeyAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c, admin := s.srv.Client(), "Bearer "+s.key(t, "owner", tenant.ScopeAdmin)
	f := func(method, path, body string, want int, says ...string) string {
		t.Helper()
		code, got, _ := do(t, c, method, s.srv.URL+"/api/v1/keys"+path, "application/json", body, "Authorization", admin)
		if code != want {
			t.Errorf("%s %s %s: got %d %s, want %d", method, path, body, code, got, want)
		}
		for _, say := range says {
			if !strings.Contains(got, say) {
				t.Errorf("%s %s %s: got %s, want it to say %q", method, path, body, got, say)
			}
		}
		return got
	}
	f("POST", "", `{"name":"x","scopes":["query:read"],"tenant":""}`, 400, "tenant", "must not be empty")
	f("POST", "", `{"name":"x","scopes":["query:read"],"product":""}`, 400, "product", "must not be empty")
	f("POST", "", `{"name":"x","scopes":["admin","query:read"],"tenant":"acme"}`, 400, "scopes", "admin", "bound")
	f("POST", "", `{"name":"x","scopes":["query:read"],"expires_at":"2020-01-01T00:00:00Z"}`, 400, "expires_at", "2020-01-01", "future")
	made := f("POST", "", `{"name":"x","scopes":["query:read","query:read"],"tenant":"acme","product":"shop"}`, 201,
		`"tenant":"acme"`, `"product":"shop"`, `"created_by":"owner"`, `"scopes":["query:read"]`)
	text := between(made, `"key":"`, `"`)
	prefix := strings.Split(text, "_")[1]

	if code, body, _ := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, "key="+text); code != 403 || !strings.Contains(body, `bound to the tenant`) {
		t.Errorf("sign-in with a bound key: got %d %s, want 403", code, body)
	}

	f("POST", "/"+prefix+"/rotate", `{"overlap":"a day"}`, 400, "overlap", "a day")
	f("POST", "/"+prefix+"/rotate", `{"overlap":"-1h"}`, 400, "overlap", "-1h")
	f("POST", "/nonesuch/rotate", `{}`, 404, "nonesuch")
	rotated := f("POST", "/"+prefix+"/rotate", `{}`, 201, `"replaces":"`+prefix+`"`, `"expires_at"`, `"tenant":"acme"`, `"product":"shop"`)
	f("POST", "/"+prefix+"/rotate", `{"overlap":"1h"}`, 409, "rotated already")
	list := f("GET", "", "", 200, `"replaces":"`+prefix+`"`, `"created_by":"owner"`)
	for _, key := range []string{text, between(rotated, `"key":"`, `"`)} {
		if strings.Contains(list, strings.Split(key, "_")[2]) {
			t.Error("the list shows a secret")
		}
	}
	f("DELETE", "/"+prefix, "", 204)
	f("DELETE", "/"+prefix, "", 404, prefix)
}

// between returns what stands between two texts.
func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}
