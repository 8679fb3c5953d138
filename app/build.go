package app

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/collector"
	"github.com/nexis-limited/headroom/dashboards"
	"github.com/nexis-limited/headroom/internal/demo"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/statuspage"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// buildReaders makes what only reads, which needs no database to be there yet, and opens the status page: it serves its
// last good state until the databases answer.
func (a *app) buildReaders() error {
	a.keys, a.tenants = tenant.NewKeys(a.pool), tenant.NewStore(a.pool)
	a.deleted = tenant.NewDeleted(a.pool)
	a.users = tenant.NewUsers(a.pool)
	a.calls = tenant.NewCalls(a.pool, a.Logger)
	var err error
	if a.webhooks, err = tenant.NewWebhooks(tenant.WebhookOptions{Pool: a.pool, Logger: a.Logger, AllowPrivate: a.WebhooksToPrivate}); err != nil {
		return err
	}
	a.life.onStop("webhooks' connections", stopBound, func(context.Context) error { a.webhooks.CloseIdle(); return nil })
	if a.auth, err = a.buildAuth(); err != nil {
		return err
	}
	if a.schemas, err = tenant.NewSchemas(a.pool, a.owner); err != nil {
		return err
	}
	if a.quotas, err = tenant.ParseQuotas(a.Quota); err != nil {
		return err
	}
	a.gates = tenant.NewGates(a.pool, a.tenants, a.quotas)
	a.members = tenant.NewMembers(a.schemas).Within(a.gates)
	if a.slos, err = slo.NewStore(slo.StoreOptions{Pool: a.pool, ClickHouse: a.ch, Logger: a.Logger}); err != nil {
		return err
	}
	if a.slo, err = slo.NewReader(slo.ReaderOptions{ClickHouse: a.ch, Store: a.slos, Plans: a.tenants, Terms: a.gates}); err != nil {
		return err
	}
	if !a.has(RoleStatusPage) && !a.has(RoleConsole) { // the console's API writes to it
		return nil
	}
	if a.status, err = statuspage.New(statuspage.Options{
		Pool: a.pool, SLO: a.slo, Dir: a.Data, BaseURL: a.StatusURL, Name: a.Name, Logger: a.Logger,
	}); err != nil {
		return err
	}
	if a.has(RoleStatusPage) {
		a.listeners.status.open(a.life, a.status.Handler())
		if a.external { // databases of our own are there soon, but have no tables yet
			a.life.run("status page", stopBound, a.status.Run)
		}
	}
	return nil
}

// build makes the other parts that the roles need and starts what works by itself. What others tell starts first:
// alerting before the engine that tells it, the engine before the collector that feeds it.
func (a *app) build() error {
	keeper := &tenant.AuditKeeper{Owner: a.owner, Operator: a.AuditRetention, Logger: a.Logger}
	a.life.run("audit log", stopBound, keeper.Run)
	a.life.run("keys", stopBound, func(ctx context.Context) error { return a.keys.Run(ctx, a.Logger, a.owner) })
	if err := a.buildDepartures(); err != nil {
		return err
	}
	if a.has(RoleStatusPage) && !a.external {
		a.life.run("status page", stopBound, a.status.Run)
	}
	if err := a.buildAlerting(); err != nil {
		return err
	}
	if a.has(RoleConsole) {
		a.life.run("usage", stopBound, tenant.NewUsage(a.pool, a.ch, a.Logger).Run)
		a.life.run("quotas", stopBound, tenant.NewQuotaWatch(a.pool, a.ch, a.gates, a.Logger).Run)
		a.life.run("API calls", stopBound, a.calls.Run)
	}
	if a.has(RoleSLO) {
		engine, err := slo.NewEngine(slo.EngineOptions{
			Pool: a.owner, Store: a.slos, Reader: a.slo, Alerts: a.alerts, Logger: a.Logger, Registerer: a.reg,
		})
		if err != nil {
			return err
		}
		a.life.run("SLO engine", stopBound, engine.Run)
	}
	var err error
	if a.has(RoleConsole) {
		if a.console, err = dashboards.New(dashboards.Options{
			ClickHouse: a.ch, SLO: a.slo, Alerts: a.alerts, Tenants: a.tenants, Auth: a.auth, Audit: tenant.NewAuditLog(a.pool),
			Gates: a.gates, Targets: tenant.NewTargets(a.schemas, a.gates), Usage: tenant.NewUsage(a.pool, a.ch, a.Logger),
			StatusURL: a.StatusURL, OTLPEndpoint: a.otlpURL(), KeyFile: a.adminKeyFile(), Stats: a.storedRate, Logger: a.Logger,
		}); err != nil {
			return err
		}
	}
	if a.has(RoleCollector) {
		if a.collector, err = collector.New(collector.Options{
			ClickHouseDSN: a.ClickHouse, Dir: filepath.Join(a.Data, "spool"), Auth: a.keys, Logger: a.Logger, MaxSpool: a.MaxSpoolBytes,
			MaxSpoolAge: a.MaxSpoolAge, KeepQuarantine: a.KeepQuarantine,
			Quotas: a.quotas, Plans: a.tenants, Agreed: a.gates, Deleted: a.deleted,
		}); err != nil {
			return err
		}
		a.health.checks["spool"] = a.collector.Ready
		a.life.run("collector", collectorStopBound, a.collector.Run)
	}
	return nil
}

func (a *app) buildAlerting() error {
	o := alerting.Options{Pool: a.pool, Logger: a.Logger, ConsoleURL: a.ConsoleURL, Names: a.tenants.Names, Registerer: a.reg, PollOnly: a.pooled(),
		Guests: []alerting.Guest{{Queue: tenant.WebhookQueue, Senders: 4, Timeout: a.webhooks.JobTimeout(), AddWorkers: a.webhooks.AddWorkers}}}
	if a.Slack.Token == "" {
		o.Notifiers = append(o.Notifiers, slack.Console{})
	} else {
		n, err := slack.New(slack.Options{Token: a.Slack.Token, Channel: a.Slack.Channel, APIURL: a.Slack.APIURL, Logger: a.Logger})
		if err != nil {
			return err
		}
		a.life.onStop("Slack connections", stopBound, func(context.Context) error { n.CloseIdle(); return nil })
		o.Notifiers = append(o.Notifiers, n)
	}
	var err error
	if a.alerts, err = alerting.New(o); err != nil {
		return err
	}
	if a.has(RoleAlerting) {
		a.life.run("alerting", stopBound, a.alerts.Run)
		a.life.run("webhooks", stopBound, a.webhooks.Run)
	}
	return nil
}

// serve opens the listeners for business, the outermost part, so that it is the first to stop.
func (a *app) serve() {
	for _, s := range []*server{a.listeners.otlp, a.listeners.grpc} {
		if s != nil {
			s.open(a.life, a.collector.Handler())
		}
	}
	if s := a.listeners.http; s != nil {
		s.open(a.life, a.consoleHandler())
	}
}

// consoleHandler serves the console and, under /api/v1, the API. Both know who asks by the same Auth.
func (a *app) consoleHandler() http.Handler {
	r := chi.NewRouter()
	proxies, err := web.ParseProxies(a.TrustedProxies)
	if err != nil {
		panic("BUG: " + err.Error()) // Options.check parsed them
	}
	r.Use(web.SecureHeaders, web.TellOrigin(proxies), a.auth.Middleware)
	a.hooks.confineIn(r)
	r.Use(web.CountCalls(a.calls))
	api := web.NewAPI(r, a.Version, a.Logger)
	web.RegisterKeyAPI(api, a.keys)
	web.RegisterMeAPI(api)
	web.RegisterAuditAPI(api, tenant.NewAuditLog(a.pool))
	web.RegisterMemberAPI(api, a.members)
	web.RegisterUserAPI(api, a.users)
	web.RegisterPlanAPI(api, a.gates)
	web.RegisterUsageAPI(api, tenant.NewUsage(a.pool, a.ch, a.Logger))
	web.RegisterWebhookAPI(api, a.webhooks)
	web.RegisterBranchAPI(api, tenant.NewBranches(a.pool))
	a.slo.RegisterTargetAPI(api, tenant.NewTargets(a.schemas, a.gates))
	a.registerTenants(api)
	a.console.RegisterAPI(api)
	a.slo.RegisterAPI(api)
	a.alerts.RegisterAPI(api)
	a.status.RegisterAPI(api)
	r.NotFound(a.console.Handler().ServeHTTP)
	r.MethodNotAllowed(a.console.Handler().ServeHTTP)
	return r
}

func (a *app) otlpURL() string {
	if a.listeners.otlp == nil {
		return ""
	}
	return a.listeners.otlp.url()
}

// storedRate is what the console's foot says of the collector, when this process has one.
func (a *app) storedRate() float64 {
	if a.collector == nil {
		return 0
	}
	return a.collector.Stats().SpansPerSecond
}

// startDemo lets a simulated company push to our own listeners. It has a key of its own that may only push.
func (a *app) startDemo(ctx context.Context, adminKey string) error {
	ingest, _, err := ensureKeyFile(ctx, a.keys, a.demoKeyFile(), "demo fleet", []tenant.Scope{tenant.ScopeIngest})
	if err != nil {
		return fmt.Errorf("cannot prepare the demo: %w", err)
	}
	o := demo.Options{
		OTLP: a.listeners.otlp.url(), API: a.listeners.http.url(), IngestKey: ingest, AdminKey: adminKey, Logger: a.Logger,
	}
	a.life.run("demo", stopBound, func(ctx context.Context) error { return demo.Run(ctx, o) })
	return nil
}
