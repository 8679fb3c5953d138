package dashboards

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/net/html"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// testConsole is a console over real databases, as app wires it.
type testConsole struct {
	t       testing.TB
	db      *testenv.ClickHouse
	console *Console
	handler http.Handler
	tenants *tenant.Store
	slos    *slo.Store
	reader  *slo.Reader
	alerts  *alerting.Service
	keys    *tenant.Keys
	gates   *tenant.Gates
	targets *tenant.Targets
	pool    *pgxpool.Pool
	key     string // scope admin
}

func newTestConsole(t testing.TB) *testConsole {
	t.Helper()
	c := &testConsole{t: t, db: testenv.NewClickHouse(t)}
	pg := testenv.NewPostgres(t)
	c.pool = pg.Pool
	log := slog.New(slog.DiscardHandler)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c.keys, c.tenants = tenant.NewKeys(pg.Pool), tenant.NewStore(pg.Pool)
	c.gates = tenant.NewGates(pg.Pool, c.tenants, tenant.DefaultQuotas())
	var err error
	_, c.key, err = c.keys.Create(t.Context(), "test", tenant.NewKey{Name: "owner", Scopes: []tenant.Scope{tenant.ScopeAdmin}})
	must(err)
	c.slos, err = slo.NewStore(slo.StoreOptions{Pool: pg.Pool, ClickHouse: c.db.Conn, Logger: log})
	must(err)
	c.reader, err = slo.NewReader(slo.ReaderOptions{ClickHouse: c.db.Conn, Store: c.slos, Plans: c.tenants, Terms: c.gates})
	must(err)
	c.alerts, err = alerting.New(alerting.Options{Pool: pg.Pool, Logger: log, Notifiers: []alerting.Notifier{slack.Console{}},
		ConsoleURL: "http://console.example", Names: c.tenants.Names})
	must(err)
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	must(err)
	c.targets = tenant.NewTargets(schemas, c.gates)
	auth := web.NewAuth(web.AuthOptions{Keys: c.keys, Pool: pg.Pool})
	c.console, err = New(Options{ClickHouse: c.db.Conn, SLO: c.reader, Alerts: c.alerts, Tenants: c.tenants, Auth: auth, Audit: tenant.NewAuditLog(pg.Pool),
		Gates: c.gates, Targets: c.targets, Usage: tenant.NewUsage(pg.Pool, c.db.Conn, log),
		StatusURL: "https://status.example/", Stats: func() float64 { return 1234 }, Logger: log})
	must(err)
	r := chi.NewRouter()
	r.Use(web.SecureHeaders, auth.Middleware)
	api := web.NewAPI(r, "test", log)
	c.console.RegisterAPI(api)
	web.RegisterAuditAPI(api, c.console.opts.Audit)
	web.RegisterUsageAPI(api, c.console.opts.Usage)
	r.NotFound(c.console.Handler().ServeHTTP)
	r.MethodNotAllowed(c.console.Handler().ServeHTTP)
	c.handler = r
	return c
}

// do sends a request as the key's owner unless the header has other ideas.
func (c *testConsole) do(method, path string, body io.Reader, header map[string]string) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, "http://console.example"+path, body)
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Accept", "text/html")
	for k, v := range header {
		if v == "" {
			r.Header.Del(k)
		} else {
			r.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

// page gets a page and parses it.
func (c *testConsole) page(path string) *html.Node {
	c.t.Helper()
	w := c.do(http.MethodGet, path, nil, nil)
	if w.Code != http.StatusOK {
		c.t.Fatalf("GET %s: %d: %s", path, w.Code, text(parse(c.t, w.Body)))
	}
	return parse(c.t, w.Body)
}

func parse(t testing.TB, r io.Reader) *html.Node {
	t.Helper()
	doc, err := html.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// all returns the elements below n that pass.
func all(n *html.Node, pass func(*html.Node) bool) []*html.Node {
	var list []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && pass(d) {
			list = append(list, d)
		}
	}
	return list
}

func tag(name string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Data == name }
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text returns the text of n with single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "script") {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "\u202f", " ")), " ")
}

// rowNames returns the tenants of the list in the order that they stand.
func rowNames(doc *html.Node) []string {
	var names []string
	for _, tr := range all(doc, tag("tr")) {
		if attr(tr, "data-href") != "" {
			if a := all(tr, tag("a")); len(a) > 0 {
				names = append(names, text(a[0]))
			}
		}
	}
	return names
}

// seed stores an hour of requests of a few tenants: one fails badly, one is slow, the others are well.
func (c *testConsole) seed() {
	c.t.Helper()
	now := time.Now().UTC()
	var rows []request
	for m := range 59 {
		at := now.Add(-time.Duration(m) * time.Minute)
		for i := range 20 {
			rows = append(rows,
				request{at, "shop", "failing", "/pay", i%4 == 0, 50 * time.Millisecond},
				request{at, "shop", "slow", "/pay", false, 3 * time.Second},
				request{at, "shop", "well", "/pay", false, 20 * time.Millisecond},
				request{at, "books", "well", "/read", false, 10 * time.Millisecond})
		}
		rows = append(rows, request{at, "shop", tenant.Untagged, "/pay", false, 30 * time.Millisecond})
	}
	insert(c.t, c.db, rows)
}

// applySLOs defines an availability and a latency SLO of product shop.
func (c *testConsole) applySLOs() {
	c.t.Helper()
	policy := slo.Policy{Confidence: 0.99, Windows: []slo.BurnWindow{
		{Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Severity: slo.Page},
		{Long: 6 * time.Hour, Short: 30 * time.Minute, Factor: 6, Severity: slo.Page},
		{Long: 24 * time.Hour, Short: 2 * time.Hour, Factor: 3, Severity: slo.Ticket},
		{Long: 72 * time.Hour, Short: 6 * time.Hour, Factor: 1, Severity: slo.Ticket},
	}}
	month := 30 * 24 * time.Hour
	_, err := c.slos.Apply(c.t.Context(), "owner", []slo.Definition{
		{Name: "pay-availability", Title: "Pay availability", Kind: slo.Availability, Selector: slo.Selector{Product: "shop"}, Target: 995_000,
			TargetsByPlan: map[tenant.Plan]slo.PPM{tenant.Enterprise: 999_000}, Window: month, Policy: policy},
		{Name: "pay-latency", Title: "Pay latency", Kind: slo.Latency, Threshold: time.Second, Selector: slo.Selector{Product: "shop"},
			Target: 950_000, Window: month, Policy: policy},
	}, false)
	if err != nil {
		c.t.Fatal(err)
	}
}

// observe opens an alert as the engine would.
func (c *testConsole) observe() {
	c.t.Helper()
	now := time.Now().UTC()
	err := c.alerts.Observe(c.t.Context(), alerting.Observation{At: now, Evaluated: func(alerting.Key) bool { return true }, Firing: []alerting.Condition{{
		Rule: "pay-availability", Title: "Pay availability", Product: "shop", Tenant: "failing", Severity: alerting.Page, Since: now.Add(-38 * time.Minute),
		Burn: alerting.Burn{Rate: 50, Factor: 14.4, Long: time.Hour, Short: 5 * time.Minute, Bad: 295, Total: 1180, Target: "99.5\u202f%", BudgetRemaining: 0.59},
	}}})
	if err != nil {
		c.t.Fatal(err)
	}
}

func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
