package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

// The hunt calls every operation of the API, every page of the console and every page for the public as one tenant's people
// and machines, with the other's ids wherever an id can stand. Nothing of the other may come back: what is the other's must be
// answered as what is not there. It is done with both walls, and with each alone. Operations are those of the live OpenAPI
// document and pages those of the console's mux, so a new one is hunted by being there.

// changing is what differs between two answers to the same call: times, keys' texts, numbers that count what happens.
var changing = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+Z?|hr_[a-z2-7_]+|\d\d:\d\d(:\d\d)?( UTC)?|\b\d+(\.\d+)?[ \x{202f}\x{a0}]?(µs|ms|s|min|h|req/min)\b|"prefix":"[a-z2-7]+"|/[a-z2-7]{8}\b`)

// callers are those who are bound to one tenant, or to what is that tenant's.
func callers() map[string]tenant.Identity {
	list := map[string]tenant.Identity{
		"key":         {KeyID: 1, Name: mine + " machine", Scopes: []tenant.Scope{tenant.ScopeIngest, tenant.ScopeQuery}, Tenant: mine},
		"product key": {KeyID: 1, Name: mine + " product", Scopes: []tenant.Scope{tenant.ScopeIngest, tenant.ScopeQuery}, Product: mine + "-product"},
		"branch manager": {UserID: 1, Name: "bo@quillstone.example", Role: tenant.RoleManager,
			Branch: &tenant.Branch{ID: 1, Name: "north", Products: []string{mine + "-product"}, Tenants: []tenant.ID{mine}}},
	}
	for _, r := range tenant.Roles() {
		list["tenant's "+string(r)] = tenant.Identity{UserID: 1, Name: "ada@" + mine + ".example", Role: r, Tenant: mine}
	}
	return list
}

// found is a leak: a call whose answer has what is another tenant's.
type found struct{ who, call, what string }

// hunt returns the leaks: of what only reads, or of the rest.
func (v *world) hunt(t *testing.T, who string, caller tenant.Identity, reads bool) (leaks []found, asked int) {
	t.Helper()
	b, err := json.Marshal(caller)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c call) {
		t.Helper()
		asked++
		got := v.do(c.method, c.path, c.body, c.contentType, string(b))
		if got.status >= 500 {
			t.Errorf("%s: %s: got %.400s", who, c, got.text)
		}
		if !strings.Contains(strings.ToLower(c.String()), theirs) {
			if i := strings.Index(strings.ToLower(got.text), theirs); i >= 0 {
				leaks = append(leaks, found{who, c.String(), excerpt(got.text, i)})
			}
			return
		}
		other := c
		other.path, other.body = strings.ReplaceAll(c.path, theirs, nobodys), strings.ReplaceAll(c.body, theirs, nobodys)
		want := v.do(other.method, other.path, other.body, other.contentType, string(b))
		if has := strings.ReplaceAll(got.text, theirs, nobodys); has != want.text {
			leaks = append(leaks, found{who, c.String(), fmt.Sprintf("%.300q where what is not there is %.300q", differ(has, want.text), differ(want.text, has))})
		}
	}
	ops, d := readDocument(t, v)
	for _, op := range ops {
		if reads != (op.method == http.MethodGet) {
			continue
		}
		for _, c := range d.calls(t, op) {
			ask(c)
		}
	}
	for _, page := range v.pages {
		method, path, _ := strings.Cut(page, " ")
		path = strings.TrimSuffix(path, "{$}")
		if strings.HasPrefix(path, "/sign-") || reads != (method == http.MethodGet) {
			continue
		}
		for _, of := range []string{mine, theirs} {
			p := strings.NewReplacer("{id}", pageID(path, of), "{name}", of+"-slo").Replace(path)
			q := url.Values{"id": {of}, "q": {of}, "product": {of + "-product"}, "service": {of + "-service"}, "route": {"/" + of + "-route"}, "tenant": {of}}
			ask(call{method: method, path: p, contentType: "application/x-www-form-urlencoded"})
			for name, value := range q {
				ask(call{method: method, path: p + "?" + url.Values{name: value}.Encode(), contentType: "application/x-www-form-urlencoded"})
			}
		}
	}
	return leaks, asked
}

// pageID is what {id} stands for in a page's address.
func pageID(path, of string) string {
	if strings.HasPrefix(path, "/alerts") {
		return "a-" + of
	}
	return of
}

func excerpt(text string, i int) string {
	return fmt.Sprintf("%q", text[max(0, i-120):min(len(text), i+60)])
}

// differ returns a from where it differs from b.
func differ(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return a[max(0, i-60):]
}

func TestHuntFindsNothing(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{first: true, second: true})
	before := v.sum()
	if len(before) < 6 {
		t.Fatalf("too little is the other tenant's: %v", before)
	}
	v.huntPublic(t)
	for _, reads := range []bool{true, false} { // what one writes of the other's names is not a leak when it is read
		for who, caller := range callers() {
			leaks, asked := v.hunt(t, who, caller, reads)
			for _, l := range leaks {
				if caller.Tenant == "" || !promise(l.call) {
					t.Errorf("%s: %s: %s", l.who, l.call, l.what)
				}
			}
			if asked < 40 {
				t.Errorf("%s asked %d times only", who, asked)
			}
		}
	}
	v.unchanged(t, before)
	// The operator sees it, so that the hunt would.
	for _, path := range []string{"/api/v1/tenants", "/api/v1/slos", "/api/v1/keys", "/api/v1/usage", "/api/v1/alerts", "/tenants", "/slos", "/alerts", "/tenants/" + theirs,
		"/api/v1/tenants/" + theirs + "/members"} {
		if a := v.do(http.MethodGet, path, "", "", v.owner); a.status != 200 || !strings.Contains(a.text, theirs) {
			t.Errorf("the operator does not find the other tenant in %s: %.300s", path, a.text)
		}
	}
}

// promise reports whether a call asks how an SLO stands for a tenant. SLOs are what the operator promises: which there are is
// no secret from tenants, how they stand for others is.
func promise(call string) bool {
	return strings.HasPrefix(call, "GET /api/v1/slos/"+theirs+"-slo/status?tenant="+mine)
}

func (v *world) unchanged(t *testing.T, before map[string]string) {
	t.Helper()
	after := v.sum()
	for table, sum := range before {
		if after[table] != sum {
			t.Errorf("rows of the other tenant in %s: were %s, are %s", table, sum, after[table])
		}
	}
	for table, sum := range after {
		if before[table] == "" {
			t.Errorf("rows of the other tenant came to be in %s: %s", table, sum)
		}
	}
}

// huntPublic follows all links of the status page: no tenant is there.
func (v *world) huntPublic(t *testing.T) {
	t.Helper()
	links := regexp.MustCompile(`(?:href|src)="(/[^"]*)"`)
	todo, seen := []string{"/", "/history", "/changelog", "/feed.json", "/api/v2/summary.json", "/t/" + theirs, "/t/" + mine}, map[string]bool{}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.app.listeners.status.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		_ = res.Write(&text)
		_ = res.Body.Close()
		for _, word := range []string{mine, theirs} {
			if s := strings.ReplaceAll(text.String(), path, ""); strings.Contains(s, word) {
				t.Errorf("the public page %s tells of %s", path, word)
			}
		}
		for _, m := range links.FindAllStringSubmatch(text.String(), -1) {
			todo = append(todo, m[1])
		}
	}
	if len(seen) < 8 {
		t.Errorf("there are %d public pages only: %v", len(seen), seen)
	}
}

// TestHuntWithoutTheFirstWall lets handlers believe that the caller is the operator: what the databases hold back is all that
// keeps tenants apart. What the operator says of all tenants together has no such wall, and nobody but the first keeps it.
func TestHuntWithoutTheFirstWall(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{second: true})
	before := v.sum()
	leaks, asked := v.hunt(t, "key", callers()["key"], true)
	for _, l := range leaks {
		if !operators(l.call) {
			t.Errorf("%s: %s: %s", l.who, l.call, l.what)
		}
	}
	if asked < 100 {
		t.Errorf("asked %d times only", asked)
	}
	v.unchanged(t, before)
}

// operators reports whether a call is for what is the operator's and no tenant's: SLOs, and alerts with what people were told
// of them, stand in tables without a tenant, and have one wall.
func operators(call string) bool {
	_, path, _ := strings.Cut(call, " ")
	for _, p := range []string{"/api/v1/slos", "/slos", "/api/v1/alerts", "/alerts"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// TestHuntWithoutTheSecondWall drops the policies' effect and the filters: what handlers check is all.
func TestHuntWithoutTheSecondWall(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{first: true})
	before := v.sum()
	for _, who := range []string{"key", "product key", "tenant's owner"} {
		for _, reads := range []bool{true, false} {
			leaks, _ := v.hunt(t, who, callers()[who], reads)
			for _, l := range leaks {
				if callers()[who].Tenant == "" || !promise(l.call) {
					t.Errorf("%s: %s: %s", l.who, l.call, l.what)
				}
			}
		}
	}
	v.unchanged(t, before)
}

// TestHuntWithoutWalls must find something everywhere, or it would never.
func TestHuntWithoutWalls(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{})
	leaks, _ := v.hunt(t, "key", callers()["key"], true)
	in := map[string]bool{}
	for _, l := range leaks {
		path, _, _ := strings.Cut(strings.TrimPrefix(l.call, "GET "), "?")
		in[strings.TrimSpace(path)] = true
	}
	for _, path := range []string{"/api/v1/tenants", "/api/v1/usage", "/api/v1/keys", "/api/v1/slos", "/api/v1/alerts", "/tenants", "/tenants.csv",
		"/api/v1/tenants/" + theirs + "/latency", "/tenants/" + theirs} {
		if !in[path] {
			t.Errorf("without walls the hunt finds nothing in %s; it finds %v", path, in)
		}
	}
}
