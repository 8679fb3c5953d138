package dashboards

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

// TestSessionsPage signs a person in by password, and out of their other browser.
func TestSessionsPage(t *testing.T) {
	c := newTestConsole(t)
	who := tenant.Identity{Name: "root", Scopes: []tenant.Scope{tenant.ScopeAdmin}}
	const password = "correct horse battery"
	if _, err := c.console.opts.Auth.Users.Create(t.Context(), who, tenant.NewUser{Email: "ada@example.com", Name: "Ada", Role: tenant.RoleViewer, Password: password}); err != nil {
		t.Fatal(err)
	}
	here, there := &browser{c, map[string]*http.Cookie{}}, &browser{c, map[string]*http.Cookie{}}
	if w := here.send("POST", "/sign-in", query("email", "ada@example.com", "password", "wrong")); w.Code != 401 || !strings.Contains(w.Body.String(), "address or the password is wrong") {
		t.Fatalf("a wrong password: %d %s", w.Code, w.Body)
	}
	for _, b := range []*browser{here, there} {
		if w := b.send("POST", "/sign-in", query("email", "ada@example.com", "password", password)); w.Code != 303 {
			t.Fatalf("signing in: %d %s", w.Code, w.Body)
		}
	}
	w := here.send("GET", "/sessions", "")
	doc := parse(t, w.Body)
	checkMarkup(t, "/sessions", doc)
	token := ""
	for _, n := range all(doc, tag("input")) {
		if attr(n, "name") == "csrf_token" {
			token = attr(n, "value")
		}
	}
	if s := text(doc); w.Code != 200 || token == "" || !strings.Contains(s, "2 signed in") || !strings.Contains(s, "Your role here is viewer") {
		t.Fatalf("the page of sessions: %d %s", w.Code, s)
	}
	if w := here.send("POST", "/sessions/end", query("others", "yes", "csrf_token", token)); w.Code != 303 {
		t.Fatalf("signing out elsewhere: %d %s", w.Code, w.Body)
	}
	if w := there.send("GET", "/sessions", ""); w.Code != 303 {
		t.Errorf("the other browser: %d", w.Code)
	}
	if w := here.send("GET", "/sessions", ""); w.Code != 200 {
		t.Errorf("this browser: %d", w.Code)
	}
}
