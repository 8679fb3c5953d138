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
	ClickHouse driver.Conn      // required
	SLO        SLOReader        // required
	Alerts     Alerts           // required
	Tenants    *tenant.Store    // required
	Auth       *web.Auth        // required
	Audit      *tenant.AuditLog // required
	Gates      *tenant.Gates    // required
	Targets    *tenant.Targets  // required
	Usage      *tenant.Usage    // required

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

	patterns []string                     // of the pages that Handler serves
	needs    map[string]tenant.Permission // of those that are not public
}

// Pages returns the patterns of the pages that Handler serves, as http.ServeMux has them: "GET /tenants/{id}".
func (c *Console) Pages() []string { return c.patterns }

// New returns a Console. It reads nothing yet.
func New(o Options) (*Console, error) {
	switch {
	case o.ClickHouse == nil:
		return nil, fmt.Errorf("cannot make a console: Options.ClickHouse is nil")
	case o.SLO == nil, o.Alerts == nil, o.Tenants == nil, o.Auth == nil, o.Audit == nil,
		o.Gates == nil, o.Targets == nil, o.Usage == nil:
		return nil, fmt.Errorf("cannot make a console: Options.SLO, Alerts, Tenants, Auth, Audit, Gates, Targets and Usage must not be nil")
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
	p := &routes{c: c, mux: http.NewServeMux(), needs: map[string]tenant.Permission{}}
	p.public("GET /sign-in", c.signInPage)
	p.public("POST /sign-in", c.signIn)
	p.public("GET /sign-in/provider", c.toProvider)
	p.public("GET "+web.ProviderCallback, c.fromProvider)
	p.public("POST /sign-out", c.signOut)
	p.public("GET /sessions", c.sessionsPage)
	p.public("POST /sessions/end", c.endSessions)
	p.public("POST /organization", c.switchOrganization)
	p.public("POST /theme", c.chooseTheme)
	p.public("GET /assets/", func(w http.ResponseWriter, r *http.Request) error { c.assets.ServeHTTP(w, r); return nil })

	telemetry, slos, alerts := tenant.MayRead(tenant.ResourceTelemetry), tenant.MayRead(tenant.ResourceSLOs), tenant.MayRead(tenant.ResourceAlerts)
	p.page(telemetry, "GET /{$}", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "/tenants", http.StatusSeeOther)
		return nil
	})
	p.page(telemetry, "GET /tenants", c.tenantsPage)
	p.page(telemetry, "GET /tenants.csv", c.tenantsCSV)
	p.tenantPage(telemetry, "GET /tenants/{id}", c.tenantPage)
	p.page(telemetry, "GET /untagged", c.tenantPage)
	p.tenantPage(telemetry, "GET /tenant", c.tenantPage)
	p.tenantPage(telemetry, "GET /tenant.csv", c.tenantCSV)
	p.page(slos, "GET /slos", c.slosPage)
	p.page(slos, "GET /slos/{name}", c.sloPage)
	p.page(slos, "GET /slos/{name}/tenants.csv", c.sloCSV)
	p.page(alerts, "GET /alerts", c.alertsPage)
	p.page(alerts, "GET /alerts/{id}", c.alertPage)
	p.page(tenant.MayUpdate(tenant.ResourceAlerts), "POST /alerts/{id}/ack", c.ackAlert)
	audit := tenant.MayRead(tenant.ResourceAudit)
	p.page(audit, "GET /audit", c.auditPage)
	p.tenantPage(audit, "GET /tenant/audit", c.auditPage)
	p.page(telemetry, "GET /", func(http.ResponseWriter, *http.Request) error { return errNoPage })
	c.patterns, c.needs = p.patterns, p.needs

	// Forms from other sites are refused before anything else looks at them; the session's CSRF token is the second wall.
	return http.NewCrossOriginProtection().Handler(p.mux)
}
