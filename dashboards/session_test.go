package dashboards

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// awaySLOs stands for a reader whose databases are away.
type awaySLOs struct{}

func (awaySLOs) Snapshot(context.Context) (*slo.Snapshot, error) { return nil, errors.New("away") }

// browser keeps cookies, as the reader's does.
type browser struct {
	c       *testConsole
	cookies map[string]*http.Cookie
}

func (b *browser) send(method, path, form string, header ...string) *httptest.ResponseRecorder {
	b.c.t.Helper()
	h := map[string]string{"Authorization": ""}
	if method == http.MethodPost {
		h["Content-Type"] = "application/x-www-form-urlencoded"
	}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	var cookies []string
	for _, c := range b.cookies {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	h["Cookie"] = strings.Join(cookies, "; ")
	w := b.c.do(method, path, strings.NewReader(form), h)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func TestSignInAndOut(t *testing.T) {
	c := newTestConsole(t)
	c.seed()
	b := &browser{c, map[string]*http.Cookie{}}
	f := func(w *httptest.ResponseRecorder, status int, location, holds string) {
		t.Helper()
		if w.Code != status || w.Header().Get("Location") != location || !strings.Contains(w.Body.String(), holds) {
			t.Fatalf("%d to %q, want %d to %q and %q: %s", w.Code, w.Header().Get("Location"), status, location, holds, w.Body)
		}
	}
	f(b.send("GET", "/tenants?q=we", ""), 303, "/sign-in?next=%2Ftenants%3Fq%3Dwe", "")
	f(b.send("GET", "/sign-in?next=%2Ftenants%3Fq%3Dwe", ""), 200, "", "DIR/admin-key")
	f(b.send("POST", "/sign-in", query("key", "")), 400, "", "Paste a key first")
	f(b.send("POST", "/sign-in", query("key", "hr_nonsense")), 401, "", "That is no API key")
	f(b.send("POST", "/sign-in", query("key", c.key), "Sec-Fetch-Site", "cross-site"), 403, "", "")
	f(b.send("POST", "/sign-in", query("key", c.key, "next", "//evil.example/")), 303, "/tenants", "")
	b.cookies = map[string]*http.Cookie{}
	_, ingest, err := c.keys.Create(t.Context(), "test", tenant.NewKey{Name: "collector", Scopes: []tenant.Scope{tenant.ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	f(b.send("POST", "/sign-in", query("key", ingest)), 403, "", "query:read")
	f(b.send("POST", "/sign-in", query("key", "  "+c.key+"\n", "next", "/tenants?q=we")), 303, "/tenants?q=we", "")
	w := b.send("GET", "/tenants?q=we", "")
	f(w, 200, "", "well")
	f(b.send("GET", "/sign-in", ""), 303, "/tenants", "")

	token := ""
	for _, n := range all(parse(t, w.Body), tag("input")) {
		if attr(n, "name") == "csrf_token" {
			token = attr(n, "value")
		}
	}
	if token == "" {
		t.Fatal("the page has no CSRF token")
	}
	f(b.send("POST", "/theme", query("theme", "dark")), 403, "", "too old")
	f(b.send("POST", "/theme", query("theme", "dark", "back", "/slos", "csrf_token", token)), 303, "/slos", "")
	f(b.send("GET", "/slos", ""), 200, "", `data-theme="dark"`)
	f(b.send("POST", "/theme", query("theme", "auto", "csrf_token", token)), 303, "/tenants", "")
	if w := b.send("GET", "/slos", ""); strings.Contains(w.Body.String(), "data-theme") {
		t.Error("the theme did not go back to the system's")
	}
	f(b.send("POST", "/theme", query("theme", "pink", "csrf_token", token)), 400, "", "pink")
	f(b.send("POST", "/sign-out", query("csrf_token", token)), 303, "/sign-in", "")
	f(b.send("GET", "/tenants", ""), 303, "/sign-in?next=%2Ftenants", "")
}

func TestAcknowledge(t *testing.T) {
	c := newTestConsole(t)
	c.observe()
	b := &browser{c, map[string]*http.Cookie{}}
	b.send("POST", "/sign-in", query("key", c.key))
	doc := parse(t, b.send("GET", "/alerts", "").Body)
	checkMarkup(t, "/alerts", doc)
	forms := all(doc, func(n *html.Node) bool { return n.Data == "form" && strings.HasSuffix(attr(n, "action"), "/ack") })
	if len(forms) != 1 {
		t.Fatalf("%d forms to acknowledge, want 1: %s", len(forms), text(doc))
	}
	token := attr(all(forms[0], tag("input"))[0], "value")
	action := attr(forms[0], "action")
	if w := b.send("POST", action, ""); w.Code != http.StatusForbidden {
		t.Errorf("without a token: %d", w.Code)
	}
	w := b.send("POST", action, query("csrf_token", token))
	if w.Code != http.StatusSeeOther {
		t.Fatalf("with a token: %d: %s", w.Code, w.Body)
	}
	doc = parse(t, b.send("GET", w.Header().Get("Location"), "").Body)
	checkMarkup(t, w.Header().Get("Location"), doc)
	if s := text(doc); !strings.Contains(s, "Acknowledged by owner") || strings.Contains(s, "Nobody has acknowledged") {
		t.Errorf("the alert's page: %s", s)
	}
	if w := b.send("POST", "/alerts/a-none/ack", query("csrf_token", token)); w.Code != http.StatusNotFound {
		t.Errorf("an unknown alert: %d", w.Code)
	}
	if w := b.send("GET", "/alerts/a-none", ""); w.Code != http.StatusNotFound {
		t.Errorf("the page of an unknown alert: %d", w.Code)
	}
}

func TestLocalPath(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := localPath(in); got != want {
			t.Errorf("localPath(%q) = %q, want %q", in, got, want)
		}
	}
	f("/tenants?q=a%2Fb", "/tenants?q=a%2Fb")
	f("", "/tenants")
	f("https://evil.example", "/tenants")
	f("//evil.example", "/tenants")
	f(`/\evil.example`, "/tenants")
	f("javascript:alert(1)", "/tenants")
	f("tenants", "/tenants")
}
