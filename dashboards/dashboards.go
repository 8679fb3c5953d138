package dashboards

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// SLOReader tells how every SLO stands for every tenant. Package slo's Reader is one.
type SLOReader interface {
	Snapshot(ctx context.Context) (*slo.Snapshot, error)
}

// Options configures a Console.
type Options struct {
	ClickHouse driver.Conn   // required
	SLO        SLOReader     // required
	Alerts     Alerts        // required
	Tenants    *tenant.Store // required
	Auth       *web.Auth     // required

	StatusURL    string // of the public status page; no link when empty
	DocsURL      string // of the API's documentation; "/openapi.json" when empty
	OTLPEndpoint string // shown to those who have yet to send their first span; "http://localhost:4318" when empty
	KeyFile      string // where the first key lies, for the sign-in page; the words "DIR/admin-key" when empty

	// Stats returns how many spans a second the collector of this process stores; nil when it has none.
	Stats  func() (spansPerSecond float64)
	Logger *slog.Logger // slog.Default() when nil
}

// Console serves the pages of the console and registers its part of the JSON API.
type Console struct {
	opts   Options
	store  *store
	assets *assets
	pages  pages
	fleet  *fleetCache
	log    *slog.Logger
	now    func() time.Time

	patterns []string // of the pages that Handler serves
}

// Pages returns the patterns of the pages that Handler serves, as http.ServeMux has them: "GET /tenants/{id}".
func (c *Console) Pages() []string { return c.patterns }

// pageMux remembers what it is asked to handle.
type pageMux struct {
	*http.ServeMux
	patterns []string
}

func (m *pageMux) Handle(pattern string, h http.Handler) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.Handle(pattern, h)
}

// New returns a Console. It reads nothing yet.
func New(o Options) (*Console, error) {
	switch {
	case o.ClickHouse == nil:
		return nil, fmt.Errorf("cannot make a console: Options.ClickHouse is nil")
	case o.SLO == nil, o.Alerts == nil, o.Tenants == nil, o.Auth == nil:
		return nil, fmt.Errorf("cannot make a console: Options.SLO, Alerts, Tenants and Auth must not be nil")
	}
	if o.DocsURL == "" {
		o.DocsURL = "/openapi.json"
	}
	if o.OTLPEndpoint == "" {
		o.OTLPEndpoint = "http://localhost:4318"
	}
	if o.KeyFile == "" {
		o.KeyFile = "DIR/admin-key"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Console{opts: o, store: &store{conn: o.ClickHouse}, log: o.Logger.With("component", "dashboards"), now: time.Now}
	c.fleet = &fleetCache{load: c.store.totalsAcrossTenants}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if c.assets.Script == "" {
		c.log.Warn("the console has no script: charts do not redraw and pages do not refresh; run \"make\" to bundle it")
	}
	if c.pages, err = parsePages(); err != nil {
		return nil, err
	}
	return c, nil
}

// Handler returns the console's pages. It expects web.Auth's Middleware and web.SecureHeaders around it.
func (c *Console) Handler() http.Handler {
	mux := &pageMux{ServeMux: http.NewServeMux()}
	page := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, web.Handler(c.log, c.errorPage, c.signedIn(h)))
	}
	open := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, web.Handler(c.log, c.errorPage, h))
	}
	open("GET /sign-in", c.signInPage)
	open("POST /sign-in", c.signIn)
	open("GET /sign-in/provider", c.toProvider)
	open("GET "+web.ProviderCallback, c.fromProvider)
	open("POST /sign-out", c.signOut)
	open("GET /sessions", c.sessionsPage)
	open("POST /sessions/end", c.endSessions)
	open("POST /organization", c.switchOrganization)
	open("POST /theme", c.chooseTheme)
	mux.Handle("GET /assets/", c.assets)

	page("GET /{$}", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "/tenants", http.StatusSeeOther)
		return nil
	})
	page("GET /tenants", c.tenantsPage)
	own := func(pattern string, h web.HandlerFunc) {
		mux.Handle(pattern, web.Handler(c.log, c.errorPage, c.ofTenant(h)))
	}
	page("GET /tenants.csv", c.tenantsCSV)
	own("GET /tenants/{id}", c.tenantPage)
	page("GET /untagged", c.tenantPage)
	own("GET /tenant", c.tenantPage)
	own("GET /tenant.csv", c.tenantCSV)
	page("GET /slos", c.slosPage)
	page("GET /slos/{name}", c.sloPage)
	page("GET /slos/{name}/tenants.csv", c.sloCSV)
	page("GET /alerts", c.alertsPage)
	page("GET /alerts/{id}", c.alertPage)
	page("POST /alerts/{id}/ack", c.ackAlert)
	page("GET /", func(http.ResponseWriter, *http.Request) error { return errNoPage })

	c.patterns = mux.patterns
	// Forms from other sites are refused before anything else looks at them; the session's CSRF token is the second wall.
	return http.NewCrossOriginProtection().Handler(mux)
}
