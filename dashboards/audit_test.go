package dashboards

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/net/html"

	"github.com/nexis-limited/headroom/tenant"
)

// as sends a request as somebody, whom nothing had to authenticate.
func (c *testConsole) as(who tenant.Identity, method, path string, body io.Reader) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequestWithContext(tenant.WithIdentity(c.t.Context(), who), method, "http://console.example"+path, body)
	r.Header.Set("Accept", "text/html")
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	c.console.Handler().ServeHTTP(w, r)
	return w
}

// byID returns the element, or fails.
func byID(t *testing.T, doc *html.Node, id string) *html.Node {
	t.Helper()
	list := all(doc, func(n *html.Node) bool { return attr(n, "id") == id })
	if len(list) != 1 {
		t.Fatalf("%d elements with the id %q: %s", len(list), id, text(doc))
	}
	return list[0]
}

func TestAuditPage(t *testing.T) {
	c := newTestConsole(t)
	ada := tenant.Identity{UserID: 7, Name: "ada@example.com", Role: tenant.RoleAdmin}
	by := tenant.WithOrigin(tenant.WithIdentity(t.Context(), ada), tenant.Origin{Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "curl/8"})
	for i := range auditPerPage + 3 {
		if _, _, err := c.keys.Create(by, ada.Name, tenant.NewKey{Name: fmt.Sprintf("ci-%d", i), Scopes: []tenant.Scope{tenant.ScopeQuery}}); err != nil {
			t.Fatal(err)
		}
	}
	acme, _, err := c.keys.Create(by, ada.Name, tenant.NewKey{Name: "acme's", Scopes: []tenant.Scope{tenant.ScopeQuery}, Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.keys.Revoke(by, ada.Name, acme.Prefix); err != nil {
		t.Fatal(err)
	}
	rows := func(path string) (doc *html.Node, list []*html.Node) {
		t.Helper()
		doc = c.page(path)
		checkMarkup(t, path, doc)
		for _, tr := range all(doc, tag("tr")) {
			if len(all(tr, tag("td"))) > 0 {
				list = append(list, tr)
			}
		}
		return doc, list
	}
	doc, list := rows("/audit")
	if len(list) != auditPerPage || !strings.Contains(text(doc), "Last: ada@example.com, key.revoke "+acme.Prefix) {
		t.Errorf("%d rows: %s", len(list), text(doc))
	}
	if s := text(list[0]); !strings.Contains(s, "person 192.0.2.7") || !strings.Contains(s, "acme revoked_at") || strings.Contains(s, "scopes") {
		t.Errorf("the newest shows more or less than what changed: %s", s)
	}
	older := ""
	for _, a := range all(doc, tag("a")) {
		if text(a) == "Older" {
			older = attr(a, "href")
		}
	}
	if doc, list = rows(older); len(list) == 0 || strings.Contains(text(doc), "Last:") || !strings.Contains(text(doc), "Newest") {
		t.Errorf("the second page %s: %s", older, text(doc))
	}
	if _, list = rows("/audit?q=ci-1&action=key.c&actor=ada%40example.com"); len(list) < 11 || len(list) > 12 {
		t.Errorf("%d entries of keys whose names begin with ci-1", len(list))
	}
	doc, list = rows("/audit?tenant=acme&from=2020-01-01T00:00")
	if len(list) != 2 || attr(byID(t, doc, "field-from"), "value") != "2020-01-01T00:00" {
		t.Errorf("%d entries of acme: %s", len(list), text(doc))
	}
	for _, a := range all(doc, tag("a")) {
		if text(a) == "CSV" {
			if w := c.do("GET", attr(a, "href"), nil, nil); w.Code != 200 || strings.Count(w.Body.String(), "\n") != 3 {
				t.Errorf("the export %s: %d %s", attr(a, "href"), w.Code, w.Body)
			}
		}
	}
	if doc, list = rows("/audit?actor=nobody"); len(list) != 0 || !strings.Contains(text(doc), "No entry matches") {
		t.Errorf("nothing matches: %s", text(doc))
	}

	c.console.opts.Audit = tenant.NewAuditLog(unreachable(t))
	if w := c.do("GET", "/audit", nil, nil); w.Code != 200 || !strings.Contains(w.Body.String(), "callout warn failed") {
		t.Errorf("without a database: %d %s", w.Code, w.Body)
	}
}

// unreachable is a database that nobody answers for.
func unreachable(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestAuditPageSaysWhatIsWrong(t *testing.T) {
	c := newTestConsole(t)
	f := func(field, value, want string) {
		t.Helper()
		w := c.do("GET", "/audit?"+query(field, value, "actor", "ada"), nil, nil)
		doc := parse(t, w.Body)
		checkMarkup(t, field, doc)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s=%q: %d", field, value, w.Code)
		}
		if field == "operator" {
			field = "tenant"
		}
		in := byID(t, doc, auditField{Name: field}.ID())
		if attr(in, "aria-invalid") != "true" || attr(in, "value") != value {
			t.Errorf("%s=%q: the field has %q and says nothing", field, value, attr(in, "value"))
		} else if got := text(byID(t, doc, attr(in, "aria-describedby"))); !strings.Contains(got, want) {
			t.Errorf("%s=%q: %q, want %q", field, value, got, want)
		}
		if attr(byID(t, doc, "field-actor"), "value") != "ada" {
			t.Errorf("%s=%q: the other fields are gone", field, value)
		}
		for _, a := range all(doc, tag("a")) {
			if strings.Contains(attr(a, "href"), "export") {
				t.Errorf("%s=%q: it can be exported", field, value)
			}
		}
	}
	f("address", "example.com", "Must be an address or a network such as 192.0.2.0/24.")
	f("from", "yesterday", "“yesterday” must be a date and a time of UTC, such as 2026-11-24T09:14.")
	f("q", strings.Repeat("a", 201), "Is too long: 201 characters, at most 200.")
	f("tenant", strings.Repeat("a", tenant.MaxIDLen+1), "too long")
	w := c.do("GET", "/audit?"+query("from", "2026-11-24T09:14", "to", "2026-11-24T09:13"), nil, nil)
	if doc := parse(t, w.Body); w.Code != 400 || !strings.Contains(text(byID(t, doc, "why-from")), "Must be before to") {
		t.Errorf("a time that ends before it begins: %d %s", w.Code, text(doc))
	}
	w = c.do("GET", "/audit?tenant=acme&operator=true", nil, nil)
	if doc := parse(t, w.Body); w.Code != 400 || !strings.Contains(text(byID(t, doc, "why-operator")), "Cannot stand beside tenant") {
		t.Errorf("a tenant's entries that are the operator's: %d %s", w.Code, text(doc))
	}
	if w = c.do("GET", "/audit?after=nonsense", nil, nil); w.Code != 400 {
		t.Errorf("a page that there is not: %d", w.Code)
	}
}

// TestAuditPageOfATenant: a tenant's people see their own entries only, and nobody below an admin sees any.
func TestAuditPageOfATenant(t *testing.T) {
	c := newTestConsole(t)
	for _, id := range []tenant.ID{"acme", "other"} {
		if _, _, err := c.keys.Create(t.Context(), "root", tenant.NewKey{Name: "of " + string(id), Scopes: []tenant.Scope{tenant.ScopeQuery}, Tenant: id}); err != nil {
			t.Fatal(err)
		}
	}
	owner := tenant.Identity{UserID: 3, Name: "eve@acme.example", Role: tenant.RoleOwner, Tenant: "acme"}
	w := c.as(owner, "GET", "/tenant/audit?id=acme", nil)
	doc := parse(t, w.Body)
	checkMarkup(t, "/tenant/audit", doc)
	s := text(doc)
	if w.Code != 200 || !strings.Contains(s, "of acme") || strings.Contains(s, "other") || strings.Contains(s, "All tenants") || strings.Contains(s, "Operator") {
		t.Errorf("the tenant's own: %d %s", w.Code, s)
	}
	for _, a := range all(doc, tag("a")) {
		href := attr(a, "href")
		if strings.HasPrefix(href, "/audit") || strings.HasPrefix(href, "/api/v1/audit") && !strings.Contains(href, "tenant=acme") {
			t.Errorf("the tenant's page links to %s", href)
		}
	}
	f := func(who tenant.Identity, path string, want int) {
		t.Helper()
		if w := c.as(who, "GET", path, nil); w.Code != want {
			t.Errorf("%s of %q at %s: %d, want %d", who, who.Tenant, path, w.Code, want)
		}
	}
	f(owner, "/audit", 403)
	f(owner, "/audit?tenant=acme", 403)
	f(owner, "/tenant/audit?id=other", 404)
	f(owner, "/tenant/audit", 404)
	f(tenant.Identity{Name: "v", Role: tenant.RoleManager, Tenant: "acme"}, "/tenant/audit?id=acme", 403)
	f(tenant.Identity{Name: "m", Role: tenant.RoleManager}, "/audit", 403)
	f(tenant.Identity{Name: "a", Role: tenant.RoleAdmin}, "/tenant/audit?id=other", 200)
	f(tenant.Identity{Name: "a", Role: tenant.RoleAdmin}, "/tenant/audit", 400)
	f(tenant.Identity{Name: "b", Role: tenant.RoleAdmin, Branch: &tenant.Branch{Tenants: []tenant.ID{"acme"}}}, "/tenant/audit?id=acme", 403)
}
