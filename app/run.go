package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/collector"
	"github.com/nexis-limited/headroom/dashboards"
	"github.com/nexis-limited/headroom/engines"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/demo"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/statuspage"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

const (
	// startTimeout bounds how long the databases may take to answer and to be migrated at the start.
	startTimeout = 5 * time.Minute
	// databaseRetry is the time between two tries to reach a database that is not ours.
	databaseRetry = 2 * time.Second
	// pingTimeout bounds one such try.
	pingTimeout = 10 * time.Second
	// stopBound bounds how long a part may take to stop.
	stopBound = 10 * time.Second
	// collectorStopBound is longer: what is left of the spool goes to ClickHouse first, if that is quick.
	collectorStopBound = 20 * time.Second
)

// Run starts headroom and returns when ctx has ended and everything has stopped, or when a part failed. A stop that was
// asked for is no error.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	a := &app{Options: o, life: newLifecycle(o.Logger), reg: prometheus.NewRegistry(), health: &health{}}
	err := a.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
			o.Logger.Info("stopping")
		case err = <-a.life.failed:
		}
	} else if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // interrupted while starting
	}
	a.health.started.Store(false)
	return errors.Join(err, a.life.stop())
}

// app is headroom while it runs.
type app struct {
	Options
	life   *lifecycle
	reg    *prometheus.Registry
	health *health

	external bool          // a database is not ours: it may be away for long
	pool     *pgxpool.Pool // serves: row-level security holds for it
	owner    *pgxpool.Pool // migrates, makes tenants' schemas, and has sessions of its own
	ch       driver.Conn

	keys    *tenant.Keys
	tenants *tenant.Store
	members *tenant.Members
	users   *tenant.Users
	quotas  tenant.Quotas
	gates   *tenant.Gates
	schemas *tenant.Schemas

	calls    *tenant.Calls
	webhooks *tenant.Webhooks

	deleted    *tenant.Deleted
	departures *tenant.Departures // nil where nobody deletes: without the console
	exports    *tenant.Exports
	auth       *web.Auth

	collector *collector.Collector
	slos      *slo.Store
	slo       *slo.Reader
	alerts    *alerting.Service
	console   *dashboards.Console
	status    *statuspage.Service

	hooks hooks // of tests

	listeners struct{ http, status, otlp, grpc, internal *server }
}

func (a *app) start(ctx context.Context) error {
	if err := os.MkdirAll(a.Data, 0o755); err != nil {
		return fmt.Errorf("--data: cannot make directory: %w", err)
	}
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := a.listen(ctx); err != nil {
		return err
	}
	if a.Name == "" && a.Demo {
		a.Name = demo.CompanyName
	}
	if a.ConsoleURL == "" && a.listeners.http != nil {
		a.ConsoleURL = a.listeners.http.url()
	}
	if a.StatusURL == "" && a.listeners.status != nil {
		a.StatusURL = a.listeners.status.url()
	}
	a.listeners.internal.open(a.life, internalHandler(a.health, a.reg))
	if err := a.connect(ctx); err != nil {
		return err
	}
	if err := a.buildReaders(); err != nil {
		return err
	}
	if a.onlyCollects() { // its spool takes what comes meanwhile
		a.life.run("check of the databases", stopBound, func(ctx context.Context) error {
			err := a.prepareDatabases(ctx)
			if err == nil {
				<-ctx.Done()
			}
			return err
		})
	} else if err := a.prepareDatabases(ctx); err != nil {
		return err
	}
	var (
		key  string
		made bool
		err  error
	)
	if a.has(RoleConsole) { // a collector's disk is no place for a key to everything
		key, made, err = ensureKeyFile(ctx, a.keys, a.adminKeyFile(), "owner", adminScopes)
		switch {
		case fault.Is(err, fault.Unauthenticated) && !a.Demo: // somebody has rotated the keys, which must not stop a restart
			a.Logger.Warn("the owner's key file holds a key that does not work; delete the file to get a new key at the next start",
				"file", a.adminKeyFile(), "error", err)
		case err != nil:
			return err
		}
	}
	if err := a.build(); err != nil {
		return err
	}
	a.serve()
	a.health.started.Store(true)
	if a.Demo {
		if err := a.startDemo(ctx, key); err != nil {
			return err
		}
	}
	a.announce(made)
	return nil
}

// listen opens all addresses before anything slow begins: one that is taken should be known at once.
func (a *app) listen(ctx context.Context) error {
	open := func(s **server, wanted bool, e endpoint) (err error) {
		if wanted {
			*s, err = listen(ctx, a.life, a.Logger, e)
		}
		return err
	}
	strangers := collector.NewStrangers(collector.StrangerOptions{
		Max: a.MaxStrangers, PerAddress: a.MaxStrangersPerAddress, Timeout: a.StrangerTimeout, Logger: a.Logger,
	})
	return errors.Join(
		open(&a.listeners.http, a.has(RoleConsole), endpoint{name: "http", addr: a.ListenHTTP}),
		open(&a.listeners.status, a.has(RoleStatusPage), endpoint{name: "status", addr: a.ListenStatus}),
		open(&a.listeners.otlp, a.has(RoleCollector), endpoint{name: "otlp-http", addr: a.ListenOTLPHTTP, otlp: true, strangers: strangers}),
		open(&a.listeners.grpc, a.has(RoleCollector), endpoint{name: "otlp-grpc", addr: a.ListenOTLPGRPC, otlp: true, strangers: strangers}),
		open(&a.listeners.internal, true, endpoint{name: "internal", addr: a.ListenInternal}),
	)
}

// connect starts the engines that are ours and opens both databases. It does not wait for those that are not ours.
func (a *app) connect(ctx context.Context) error {
	a.external = a.ClickHouse != "" || a.Postgres != ""
	if a.Embedded && (a.ClickHouse == "" || a.Postgres == "") {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		e, err := engines.Start(ctx, engines.Options{
			Dir: a.Data, SkipClickHouse: a.ClickHouse != "", SkipPostgres: a.Postgres != "", Logger: a.Logger,
		})
		if err != nil {
			return err
		}
		a.life.onStop("engines", 40*time.Second, e.Stop)
		if a.ClickHouse == "" {
			a.ClickHouse = e.ClickHouseDSN
		}
		if a.Postgres == "" {
			a.Postgres = e.PostgresDSN
		}
	}
	var err error
	if a.owner, err = postgres.Open(context.WithoutCancel(ctx), cmp.Or(a.PostgresOwner, a.Postgres)); err != nil {
		return err
	}
	a.life.onStop("PostgreSQL owner's connections", stopBound, unlessStuck(a.owner.Close))
	if a.pool, err = postgres.OpenServing(context.WithoutCancel(ctx), a.Postgres, a.pooled()); err != nil {
		return err
	}
	a.life.onStop("PostgreSQL connections", stopBound, unlessStuck(a.pool.Close))
	if a.ch, err = a.hooks.open()(a.ClickHouse); err != nil {
		return err
	}
	a.life.onStop("ClickHouse connections", stopBound, func(context.Context) error { return a.ch.Close() })
	a.health.checks = map[string]func(context.Context) error{"postgresql": a.pool.Ping, "clickhouse": a.ch.Ping}
	if a.onlyCollects() {
		a.health.checks = map[string]func(context.Context) error{"keys": a.keysKnown}
	}
	return nil
}

// prepareDatabases migrates both databases, or only makes sure that somebody has, and that what we serve with sees no
// further than it should. Servers that are not ours are waited for: the status page serves its last good state meanwhile.
func (a *app) prepareDatabases(ctx context.Context) error {
	if a.external {
		if err := a.waitFor(ctx, a.pingDatabases, func(error) bool { return true }); err != nil {
			return err
		}
	}
	if err := a.migrate(ctx); err != nil {
		return err
	}
	check := func(ctx context.Context) error { return postgres.CheckServing(ctx, a.pool) }
	return a.waitFor(ctx, check, func(err error) bool { return fault.Is(err, fault.Unavailable) })
}

// onlyCollects reports whether this process takes telemetry and nothing else, for which databases may be away.
func (a *app) onlyCollects() bool {
	return !a.Embedded && !slices.ContainsFunc(a.Roles, func(r Role) bool { return r != RoleCollector })
}

func (a *app) keysKnown(context.Context) error {
	if !a.keys.Known() {
		return errors.New("API keys have not been read yet")
	}
	return nil
}

// waitFor calls f until it works or fails with what does not pass.
func (a *app) waitFor(ctx context.Context, f func(context.Context) error, passes func(error) bool) error {
	for {
		try, cancel := context.WithTimeout(ctx, pingTimeout)
		err := f(try)
		cancel()
		if err == nil || !passes(err) {
			return err
		}
		a.Logger.Warn("a database does not answer, trying again", "error", err, "delay", databaseRetry)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-a.life.failed:
			return err
		case <-time.After(databaseRetry):
		}
	}
}

func (a *app) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	done, err := Migrate(ctx, a.owner, a.ClickHouse, !a.Embedded)
	if err != nil {
		return err
	}
	for _, r := range done.Databases {
		if r.From != r.To {
			a.Logger.Info("migrated", "database", r.Database, "from", r.From, "to", r.To, "took", r.Took)
		}
	}
	if s := done.Schemas; s.Migrated > 0 {
		a.Logger.Info("migrated the schemas of tenants", "schemas", s.Migrated, "to", s.Version, "took", s.Took)
	}
	if done.SchemasErr != nil { // their tenants go on with what they have, all others need not wait
		a.Logger.Error("not all tenants have this version's schema; \"headroom migrate\" tries again", "error", done.SchemasErr)
	}
	return nil
}

func (a *app) pingDatabases(ctx context.Context) error {
	if err := a.owner.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach PostgreSQL: %w", err)
	}
	if err := a.ch.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach ClickHouse: %w", err)
	}
	return nil
}

// announce prints the line "ready" that scripts wait for, and for people what to open.
func (a *app) announce(newKey bool) {
	line := "ready"
	add := func(name string, s *server) {
		if s != nil {
			line += " " + name + "=" + s.url()
		}
	}
	add("console", a.listeners.http)
	add("status", a.listeners.status)
	add("otlp", a.listeners.otlp)
	add("otlp-grpc", a.listeners.grpc)
	add("internal", a.listeners.internal)
	_, _ = fmt.Fprintln(a.Out, line)
	if a.listeners.http == nil {
		return
	}
	file := a.adminKeyFile()
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	what := "the owner's API key is in"
	if newKey {
		what = "an API key was made for you, in"
	}
	_, _ = fmt.Fprintf(a.Out, "\n  console      %s\n               sign in with the key: %s %s\n", a.ConsoleURL, what, file)
	if a.listeners.status != nil {
		_, _ = fmt.Fprintf(a.Out, "  status page  %s\n", a.StatusURL)
	}
	if a.listeners.otlp != nil {
		_, _ = fmt.Fprintf(a.Out, "  telemetry    %s (OTLP/HTTP), %s (OTLP/gRPC)\n", a.listeners.otlp.url(), a.listeners.grpc.url())
	}
	if a.Demo {
		_, _ = fmt.Fprintf(a.Out, "\n  A bad deploy of the checkout is about to happen: its alert opens within about a minute and resolves\n"+
			"  some minutes later, as Slack would show it, at %s/alerts\n", a.ConsoleURL)
	}
	_, _ = fmt.Fprintln(a.Out, "\n  Ctrl-C stops it; the data stays.")
}
