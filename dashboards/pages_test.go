package dashboards

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// checkMarkup finds what the policy forbids and what a screen reader stumbles over.
func checkMarkup(t *testing.T, path string, doc *html.Node) {
	t.Helper()
	ids := map[string]bool{}
	for _, n := range all(doc, func(*html.Node) bool { return true }) {
		switch n.Data {
		case "style":
			t.Errorf("%s has an inline stylesheet", path)
		case "script":
			if n.FirstChild != nil {
				t.Errorf("%s has an inline script", path)
			}
		case "th":
			if attr(n, "scope") == "" {
				t.Errorf("%s has a table head without a scope: %s", path, text(n))
			}
		case "a":
			if attr(n, "href") == "" {
				t.Errorf("%s has a link without an address: %s", path, text(n))
			}
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
				t.Errorf("%s: <%s> has the attribute %s", path, n.Data, a.Key)
			}
			if strings.Contains(a.Val, "ZgotmplZ") || strings.Contains(a.Val, "NaN") {
				t.Errorf("%s: <%s %s=%q> shows what no value is", path, n.Data, a.Key, a.Val)
			}
			if a.Key == "id" {
				if ids[a.Val] {
					t.Errorf("%s has the id %q twice", path, a.Val)
				}
				ids[a.Val] = true
			}
		}
	}
	if s := text(doc); strings.Contains(s, "NaN") || strings.Contains(s, "%!") {
		t.Errorf("%s shows what no value is: %s", path, s)
	}
	if h1 := all(doc, tag("h1")); len(h1) != 1 {
		t.Errorf("%s has %d first-level headings", path, len(h1))
	}
}

// Every link of every page leads somewhere, and no page holds anything inline.
func TestEveryLinkResolves(t *testing.T) {
	c := newTestConsole(t)
	c.applySLOs()
	c.seed()
	c.observe()
	seen := map[string]bool{}
	queue := []string{"/", "/tenants?range=24h&sort=p95&q=l", "/alerts", "/no-such-page-is-not-linked"}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] || len(seen) > 400 {
			continue
		}
		seen[path] = true
		w := c.do(http.MethodGet, path, nil, nil)
		if path == "/no-such-page-is-not-linked" {
			if w.Code != http.StatusNotFound {
				t.Errorf("GET %s: %d", path, w.Code)
			}
		} else if w.Code == http.StatusSeeOther {
			queue = append(queue, w.Header().Get("Location"))
			continue
		} else if w.Code != http.StatusOK {
			t.Errorf("GET %s: %d: %s", path, w.Code, w.Body)
			continue
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		doc := parse(t, w.Body)
		checkMarkup(t, path, doc)
		for _, n := range all(doc, func(n *html.Node) bool { return n.Data == "a" || n.Data == "link" || n.Data == "script" }) {
			ref := attr(n, "href") + attr(n, "src")
			base, _ := url.Parse("http://console.example" + path)
			u, err := base.Parse(ref)
			if err != nil {
				t.Errorf("%s links to %q: %v", path, ref, err)
				continue
			}
			if u.Host == "console.example" && u.Path != "/openapi.json" || u.Path == "/openapi.json" && u.Host == "console.example" {
				queue = append(queue, u.RequestURI())
			}
		}
	}
	for _, want := range []string{"/tenants", "/tenants/failing", "/untagged", "/slos", "/slos/pay-latency", "/alerts", "/openapi.json"} {
		if !seen[want] {
			t.Errorf("no page links to %s", want)
		}
	}
	t.Logf("%d addresses", len(seen))
}

func TestTenantsPageSaysWhatBurns(t *testing.T) {
	c := newTestConsole(t)
	c.applySLOs()
	c.seed()
	doc := c.page("/tenants")
	s := text(doc)
	for _, want := range []string{"2 SLOs burn for 2 tenants.", "Pay availability burns for failing", "Pay latency burns for slow",
		"fail or take over 1 s: ", "1,234 spans/s stored", "Untagged requests"} {
		if !strings.Contains(s, want) {
			t.Errorf("the page does not say %q: %s", want, s)
		}
	}
	if got := rowNames(doc); !slices.Equal(got[:2], []string{"failing", "slow"}) && !slices.Equal(got[:2], []string{"slow", "failing"}) {
		t.Errorf("rows %v: those that burn come first", got)
	}
	c.observe()
	if s := text(c.page("/tenants")); !strings.Contains(s, "38 min") || !strings.Contains(s, "Page, nobody yet") {
		t.Errorf("the page does not tell of the alert: %s", s)
	}
	s = text(c.page("/tenants/failing"))
	for _, want := range []string{"Pay availability: 25 % fail: 295 of 1,180 in the last 1 h, since ", "No other tenant burns this SLO.", "20 /min", "/pay", "Page"} {
		if !strings.Contains(s, want) {
			t.Errorf("the tenant's page does not say %q: %s", want, s)
		}
	}
	s = text(c.page("/slos/pay-availability"))
	for _, want := range []string{"Burns for 1 of 4 tenants", "Enterprise 99.9 % 43 min", "over 14.4× for 1 h and 5 min"} {
		if !strings.Contains(s, want) {
			t.Errorf("the SLO's page does not say %q: %s", want, s)
		}
	}
}

func TestTenantsSortFilterAndPage(t *testing.T) {
	c := newTestConsole(t)
	now := time.Now().UTC()
	var rows []request
	for i := range 120 {
		id := tenant.ID(string(rune('a'+i/26)) + string(rune('a'+i%26)))
		for range i + 1 {
			rows = append(rows, request{now.Add(-time.Minute), "shop", id, "/pay", false, time.Duration(i+1) * time.Millisecond})
		}
	}
	insert(t, c.db, rows)
	if err := c.tenants.Put(t.Context(), "owner", tenant.Tenant{ID: "aa", Name: "Zebra Zoo", Plan: tenant.Enterprise}); err != nil {
		t.Fatal(err)
	}
	f := func(address string, first string, count int, sorted string) {
		t.Helper()
		doc := c.page("/tenants?" + address)
		names := rowNames(doc)
		if len(names) != count || count > 0 && names[0] != first {
			t.Errorf("%s: %d rows from %v, want %d from %s", address, len(names), names[:min(3, len(names))], count, first)
		}
		marked := all(doc, func(n *html.Node) bool { return n.Data == "th" && attr(n, "aria-sort") != "" })
		if sorted == "" && len(marked) == 0 {
			return
		}
		if len(marked) != 1 || text(marked[0])+" "+attr(marked[0], "aria-sort") != sorted {
			t.Errorf("%s: aria-sort on %d heads, want %s", address, len(marked), sorted)
		}
	}
	f("sort=requests", "ep", 50, "Req/min descending")
	f("sort=requests&order=asc", "Zebra Zoo", 50, "Req/min ascending")
	f("sort=tenant", "ab", 50, "Tenant ascending")
	f("sort=tenant&order=desc", "Zebra Zoo", 50, "Tenant descending")
	f("sort=p95&page=3", "at", 20, "P95 descending")
	f("sort=p95&page=99", "at", 20, "P95 descending")
	f("q=zOO", "Zebra Zoo", 1, "")
	f("q=aa", "Zebra Zoo", 1, "")
	f("plan=enterprise", "Zebra Zoo", 1, "")
	f("product=shop&sort=tenant", "ab", 50, "Tenant ascending")
	f("product=no-such", "", 0, "")
	f("q=nobody", "", 0, "")
	f("show=idle", "", 0, "")
	bad := func(address, want string) {
		t.Helper()
		w := c.do(http.MethodGet, "/tenants?"+address, nil, nil)
		if s := text(parse(t, w.Body)); w.Code != http.StatusBadRequest || !strings.Contains(s, want) {
			t.Errorf("%s: %d %s, want 400 and %q", address, w.Code, s, want)
		}
	}
	bad("sort=size", `Sort: must be one of tenant, plan, requests, errors, p50, p95, p99, budget, burn (got "size")`)
	bad("order=up&sort=p95", `(got "up")`)
	bad("page=0", `Page: must be a number from 1 on (got "0")`)
	bad("range=2w", `(got "2w")`)
	bad("plan=gold", `(got "gold")`)
	bad("show=all", `(got "all")`)
}

// Any id that ParseID takes has a page, and the list links to it.
func TestTenantIDsOfAnyShapeHavePages(t *testing.T) {
	c := newTestConsole(t)
	ids := []tenant.ID{"a/b", "//", "..", ".", "untagged", "<script>alert(1)</script>", "a?b#c&d=e", "50%41", "ü € 漢", `a'b"c\d`, " ", "+", "x;y", "id", ""}
	var rows []request
	for _, id := range ids {
		rows = append(rows, request{time.Now().Add(-time.Minute), "shop", id, "/pay", false, time.Millisecond})
	}
	insert(t, c.db, rows)
	linked := map[string]bool{}
	for _, a := range all(c.page("/tenants"), tag("a")) {
		linked[attr(a, "href")] = true
	}
	for _, id := range ids {
		path := tenantPath(id)
		if !linked[path+"?range=1h"] && !linked[path+"&range=1h"] {
			t.Errorf("the list does not link to %q", path)
		}
		doc := c.page(path)
		if got, want := all(doc, tag("h1"))[0].FirstChild.Data, (tenant.Tenant{ID: id}).DisplayName(); got != want {
			t.Errorf("%s is the page of %q, want %q", path, got, want)
		}
		if s := text(doc); !strings.Contains(s, "1 in the last hour") {
			t.Errorf("%s does not count the tenant's request: %s", path, s)
		}
		checkMarkup(t, path, doc)
	}
	for _, bad := range []string{"/tenants/a%00b", "/tenants/" + strings.Repeat("x", 129), "/tenants/%ff"} {
		if w := c.do(http.MethodGet, bad, nil, nil); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, want 400", bad, w.Code)
		}
	}
}

func TestEmptyStateWaitsForTheFirstSpan(t *testing.T) {
	c := newTestConsole(t)
	doc := c.page("/tenants")
	checkMarkup(t, "/tenants", doc)
	s := text(doc)
	for _, want := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20KEY", "Waiting for the first span"} {
		if !strings.Contains(s, want) {
			t.Errorf("the page does not say %q: %s", want, s)
		}
	}
	live := all(doc, func(n *html.Node) bool { return attr(n, "id") == "live" })
	if len(live) != 1 || attr(live[0], "hx-get") != "/tenants" || !strings.Contains(attr(live[0], "hx-trigger"), "every 10s") {
		t.Error("the page does not refresh itself")
	}
	for path, want := range map[string]string{"/slos": "No SLO is defined", "/alerts": "No alert yet", "/tenants/nobody": "No request has ever named this tenant"} {
		if s := text(c.page(path)); !strings.Contains(s, want) {
			t.Errorf("%s does not say %q: %s", path, want, s)
		}
	}
}

func TestPartialIsTheLivePartOnly(t *testing.T) {
	c := newTestConsole(t)
	c.seed()
	w := c.do(http.MethodGet, "/tenants", nil, map[string]string{"HX-Request": "true"})
	s := w.Body.String()
	if strings.Contains(s, "<html") || !strings.Contains(s, `id="live"`) || strings.Count(s, `hx-swap-oob="true"`) != 2 {
		t.Errorf("got %s", s)
	}
	if !strings.Contains(w.Header().Get("Vary"), "HX-Request") {
		t.Error("the answer does not vary with HX-Request")
	}
	w = c.do(http.MethodGet, "/tenants?q=x", nil, map[string]string{"HX-Request": "true", "Authorization": ""})
	if w.Code != http.StatusUnauthorized || w.Header().Get("HX-Redirect") != "/sign-in?next=%2Ftenants%3Fq%3Dx" {
		t.Errorf("without a session: %d, HX-Redirect %q", w.Code, w.Header().Get("HX-Redirect"))
	}
}

// A store that does not answer costs its panels and never the page.
func TestPagesStandWithoutClickHouse(t *testing.T) {
	c := newTestConsole(t)
	c.applySLOs()
	c.observe()
	away, err := clickhouse.Open("clickhouse://nobody:nothing@127.0.0.1:1/away") // nothing listens there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = away.Close() }()
	c.console.store.conn = away
	c.console.opts.SLO = awaySLOs{}
	for path, want := range map[string]string{
		"/tenants":               "ClickHouse does not answer",
		"/tenants/acme":          "ClickHouse does not answer",
		"/slos":                  "Reading the SLOs failed.",
		"/slos/pay-availability": "Reading the SLOs failed.",
		"/alerts":                "Pay availability burns for failing",
	} {
		doc := c.page(path)
		checkMarkup(t, path, doc)
		if s := text(doc); !strings.Contains(s, want) {
			t.Errorf("%s does not say %q: %s", path, want, s)
		}
	}
}

func TestCSV(t *testing.T) {
	c := newTestConsole(t)
	c.applySLOs()
	c.seed()
	insert(t, c.db, []request{{time.Now().Add(-time.Minute), "shop", "=cmd()", "/pay", false, time.Millisecond}})
	f := func(path, head string, rows int, holds string) {
		t.Helper()
		w := c.do(http.MethodGet, path, nil, nil)
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		if w.Code != http.StatusOK || lines[0] != head || len(lines) != rows+1 || !strings.Contains(w.Body.String(), holds) {
			t.Errorf("%s: %d, %d lines: %s", path, w.Code, len(lines), w.Body)
		}
	}
	f("/tenants.csv?sort=tenant", "tenant,name,plan,products,requests,errors,error_ratio,p50_ms,p95_ms,p99_ms,worst_slo,state,error_budget_remaining,burn_rate,tightest_slo", 5, "\n'=cmd()")
	f("/tenants.csv?q=well", "tenant,name,plan,products,requests,errors,error_ratio,p50_ms,p95_ms,p99_ms,worst_slo,state,error_budget_remaining,burn_rate,tightest_slo", 1, "books shop")
	f("/tenant.csv?"+query("id", "failing", "table", "routes"), "product,service,route,requests,errors,error_ratio,p50_ms,p95_ms,p99_ms", 1, "shop,shop-svc,/pay,1180,295,0.25")
	f("/tenant.csv?"+query("id", "", "table", "series", "range", "1h"), "time,requests,errors,p50_ms,p95_ms,p99_ms", 60, "")
	f("/slos/pay-latency/tenants.csv", "tenant,name,plan,target,good,total,error_budget_remaining,state,burn_rate,exhausts_at", 5, "slow")
	if w := c.do(http.MethodGet, "/tenant.csv?id=x&table=spans", nil, nil); w.Code != http.StatusBadRequest {
		t.Errorf("an unknown table: %d", w.Code)
	}
}
