package statuspage

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// seeded is one page for the tests that only read it.
func seeded(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	e.seed(t)
	e.refresh(t)
	return e
}

// walk calls f for every element of a page.
func walk(t *testing.T, page string, f func(n *html.Node)) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var rec func(n *html.Node)
	rec = func(n *html.Node) {
		if n.Type == html.ElementNode {
			f(n)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			rec(c)
		}
	}
	rec(doc)
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// TestEveryPage holds what is true of every page: nothing inline, every link leads somewhere, one h1, headings without
// gaps, a language, unique ids, every time with a machine-readable one.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	ids := map[string]map[string]bool{}
	links := map[string][]string{}
	pages := 0
	check := func(path, body string) {
		pages++
		ids[path] = map[string]bool{}
		h1, level := 0, 0
		walk(t, body, func(n *html.Node) {
			for _, a := range n.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s: <%s %s> is inline", path, n.Data, a.Key)
				}
				if a.Key == "href" || a.Key == "src" {
					if n.Data != "use" && (n.Data != "link" || attr(n, "rel") != "canonical") {
						links[path] = append(links[path], a.Val)
					}
				}
				if a.Key == "id" {
					if ids[path][a.Val] {
						t.Errorf("%s: id %q stands twice", path, a.Val)
					}
					ids[path][a.Val] = true
				}
			}
			switch n.Data {
			case "script", "style", "iframe", "form", "img":
				t.Errorf("%s: <%s> has no place here", path, n.Data)
			case "html":
				if attr(n, "lang") != "en" || attr(n, "dir") != "ltr" {
					t.Errorf("%s: no language or direction", path)
				}
			case "time":
				if attr(n, "datetime") == "" {
					t.Errorf("%s: <time> without datetime", path)
				}
			case "h1", "h2", "h3", "h4", "h5", "h6":
				l := int(n.Data[1] - '0')
				if l == 1 {
					h1++
				}
				if l > level+1 {
					t.Errorf("%s: h%d comes after h%d", path, l, level)
				}
				level = l
			}
		})
		if h1 != 1 {
			t.Errorf("%s: %d h1", path, h1)
		}
		for _, u := range regexp.MustCompile(`<use href="#([^"]+)"`).FindAllStringSubmatch(body, -1) {
			if !strings.Contains(body, `<symbol id="`+u[1]+`"`) {
				t.Errorf("%s: there is no symbol %q", path, u[1])
			}
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s tells a tenant or an actor", path)
		}
	}
	for path, p := range e.site.Load().pages {
		if strings.HasPrefix(p.contentType[0], "text/html") {
			check(path, string(p.body))
		} else if bytes.Contains(p.body, []byte("secret")) {
			t.Errorf("%s tells a tenant or an actor", path)
		}
	}
	if pages < 10 {
		t.Fatalf("only %d pages", pages)
	}
	check("/nope", e.get(t, "/nope").Body.String())
	for path, hrefs := range links {
		for _, href := range hrefs {
			u, err := url.Parse(href)
			if err != nil {
				t.Errorf("%s: link %q: %v", path, href, err)
				continue
			}
			if u.Host != "" {
				continue
			}
			target := u.Path
			if target == "" {
				target = path
			}
			if target != "/nope" && e.get(t, target).Code != http.StatusOK {
				t.Errorf("%s: link %q leads nowhere", path, href)
			}
			if u.Fragment != "" && !ids[target][u.Fragment] {
				t.Errorf("%s: link %q: there is no such place", path, href)
			}
		}
	}
}

func TestFirstPageIsSmall(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.seed(t)
	for i := range 8 { // 16 components in five groups
		e.component(t, Component{Name: "More " + string(rune('A'+i)), Group: []string{"People", "Platform"}[i%2], SLOs: []string{"storefront"}, Position: 20 + i})
	}
	e.refresh(t)
	s := e.site.Load()
	size := len(s.pages["/"].gzip)
	for path, p := range s.pages {
		if strings.HasSuffix(path, ".css") {
			size += len(p.gzip)
		}
	}
	if size > 30_000 {
		t.Errorf("HTML and CSS are %d bytes compressed, want at most 30,000", size)
	}
	t.Logf("HTML and CSS: %d bytes compressed", size)
}

func TestWhatThePageSays(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	home := e.body(t, "/")
	for _, want := range []string{"Some checkouts are failing", "Partial outage", "About 12 in 100 requests to Checkout fail.", "Catalogue import is degraded.",
		"nobody is charged twice", "Written later, at", "Checkout errors for 14 minutes", "Carts are kept for 30 days", "99.996"} {
		if !strings.Contains(home, want) {
			t.Errorf("the first page does not say %q", want)
		}
	}
	if strings.Contains(home, `content="0`) || strings.Contains(home, "http-equiv") {
		t.Error("the page moves by itself")
	}
	for path, want := range map[string]string{"/history": "Invoices were late", "/changelog": "97 days left", "/uptime": "98.496", "/robots.txt": "User-agent", "/nope": ""} {
		w := e.get(t, path)
		if want == "" && w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, does not say %q", path, w.Code, want)
		}
	}
}

func TestServing(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	plain := e.get(t, "/")
	h := plain.Header()
	for k, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding",
		"Content-Security-Policy": csp, "Cache-Control": cacheLive, "Access-Control-Allow-Origin": ""} {
		if h.Get(k) != want {
			t.Errorf("%s: %q, want %q", k, h.Get(k), want)
		}
	}
	if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("weak policy: %s", csp)
	}
	tag := h.Get("ETag")
	zipped := e.get(t, "/", "Accept-Encoding", "br, gzip")
	if zipped.Header().Get("Content-Encoding") != "gzip" || zipped.Header().Get("ETag") == tag {
		t.Errorf("compressed: %v", zipped.Header())
	}
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != plain.Body.String() {
		t.Errorf("the compressed page is another one: %v", err)
	}
	f := func(code int, headers ...string) {
		t.Helper()
		w := e.get(t, "/", headers...)
		if w.Code != code || code == http.StatusNotModified && (w.Body.Len() > 0 || w.Header().Get("ETag") == "") {
			t.Errorf("%q: %d with %d bytes, want %d", headers, w.Code, w.Body.Len(), code)
		}
	}
	f(304, "If-None-Match", tag)
	f(304, "If-None-Match", `"other", W/`+tag)
	f(304, "If-None-Match", "*")
	f(200, "If-None-Match", `"other"`)
	f(200, "If-None-Match", tag, "Accept-Encoding", "gzip") // another representation
	f(304, "If-None-Match", zipped.Header().Get("ETag"), "Accept-Encoding", "gzip")
	if w := e.get(t, "/", "Accept-Encoding", "gzip;q=0"); w.Header().Get("Content-Encoding") != "" {
		t.Error("gzip was sent to who refuses it")
	}

	do := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		e.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	if w := do("HEAD", "/"); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := do("POST", "/"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
	if w := do("OPTIONS", "/api/v2/status.json"); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("OPTIONS: %d %v", w.Code, w.Header())
	}
	if w := do("GET", "/history/"); w.Code != 308 || w.Header().Get("Location") != "/history" {
		t.Errorf("trailing slash: %d", w.Code)
	}
	if w := do("GET", "//evil.example/"); w.Code != 404 {
		t.Errorf("double slash: %d %s", w.Code, w.Header().Get("Location"))
	}
	if w := do("GET", "/nope"); w.Header().Get("ETag") != "" || w.Header().Get("Content-Security-Policy") != csp {
		t.Errorf("404: %v", w.Header())
	}
}

// TestPagesAreBounded shows that a long history costs a bounded number of pages.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.o.MaxIncidents, e.o.MaxMonths, e.o.MaxEntries = 3, 2, 4
	for range 6 {
		e.incident(t, NewIncident{Name: "Old", First: NewUpdate{Status: Resolved, Body: "Over."}})
	}
	open := e.incident(t, NewIncident{Name: "Open since long", StartedAt: noon.AddDate(-2, 0, 0), First: NewUpdate{Body: "Still.", DisplayAt: noon.AddDate(-2, 0, 0)}})
	for i := range 6 {
		if _, err := e.CreateEntry(t.Context(), "x", Entry{ID: "e" + string(rune('0'+i)), Title: "E", Type: Fixed}); err != nil {
			t.Fatal(err)
		}
	}
	e.refresh(t)
	incidents, months := 0, 0
	for path := range e.site.Load().pages {
		if strings.HasPrefix(path, "/incidents/") {
			incidents++
		}
		if strings.HasPrefix(path, "/history/") {
			months++
		}
	}
	if incidents != 4 || months != 2 || len(e.View().Changelog) != 4 {
		t.Errorf("%d incidents, %d months, %d entries", incidents, months, len(e.View().Changelog))
	}
	e.body(t, "/incidents/"+open.ID) // what is open is never forgotten
}

func BenchmarkHandler(b *testing.B) {
	e := newEnv(b)
	e.seed(b)
	if err := e.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	h := e.Handler()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := &discard{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
