package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nexis-limited/headroom/app"
	"github.com/nexis-limited/headroom/engines"
	"github.com/nexis-limited/headroom/postgres"
)

type databaseFlags struct {
	ClickHouse    string `name:"clickhouse" help:"ClickHouse: clickhouse://USER:PASSWORD@HOST:9000/DATABASE?http_port=8123." placeholder:"DSN"`
	Postgres      string `help:"PostgreSQL: postgres://USER:PASSWORD@HOST:5432/DATABASE. May be PgBouncer's, with --postgres-owner." placeholder:"DSN"`
	PostgresOwner string `help:"PostgreSQL itself, for what needs the tables' owner or a session of its own. Default: as --postgres." placeholder:"DSN"`
}

type serverFlags struct {
	databaseFlags
	Data           string        `help:"Directory of the spool, the embedded databases and the first API key." default:".data"`
	ListenHTTP     string        `help:"Console and API." default:":8080"`
	ListenStatus   string        `help:"Public status page." default:":8081"`
	ListenOTLPHTTP string        `name:"listen-otlp-http" help:"OTLP over HTTP." default:":4318"`
	ListenOTLPGRPC string        `name:"listen-otlp-grpc" help:"OTLP over gRPC." default:":4317"`
	ListenInternal string        `help:"Metrics, health and profiles." default:"127.0.0.1:9464"`
	Name           string        `help:"Your company's name, on the status page."`
	ConsoleURL     string        `name:"console-url" help:"Where people reach the console, for links in alerts. Default: the listener." placeholder:"URL"`
	StatusURL      string        `name:"status-url" help:"Where people reach the status page, for links and feeds. Default: the listener." placeholder:"URL"`
	MaxSpoolBytes  int64         `help:"Most that the spool may hold, in bytes; beyond it ingest answers 503. Default: 4 GiB."`
	MaxSpoolAge    time.Duration `help:"Age of what waits for ClickHouse in the spool, beyond which ingest answers 503, such as 6h. Default: no limit."`
	KeepQuarantine time.Duration `help:"After how long files that were put aside are removed, such as 720h. Default: never."`

	MaxStrangers           int           `help:"Most connections for telemetry that have shown no valid API key; beyond it the oldest are closed. Default: 2000."`
	MaxStrangersPerAddress int           `help:"The same of one address, or network of IPv6. Default: 1500."`
	StrangerTimeout        time.Duration `help:"How long such a connection may be open. Default: 1m."`

	Quota []string `help:"What a tenant or API key may send, such as starter.spans-per-second=10000. May be repeated." sep:"," placeholder:"WHOM.NAME=VALUE"`

	AuditRetention time.Duration `help:"How long the audit log keeps entries that are no tenant's. Default: 9600h."`
	TrustedProxies []string      `help:"Networks of your reverse proxies, whose X-Forwarded-For is believed, such as 10.0.0.0/8." sep:"," placeholder:"NETWORK"`

	WebhooksToPrivate bool `help:"Let webhooks go to addresses that are not public, and by http. Default: they are refused."`

	OIDCIssuer       string        `name:"oidc-issuer" help:"OpenID Connect provider that people sign in at." placeholder:"URL"`
	OIDCClientID     string        `name:"oidc-client-id" help:"What it knows headroom by." placeholder:"ID"`
	OIDCClientSecret string        `name:"oidc-client-secret" help:"Its secret for headroom." placeholder:"SECRET"`
	OIDCGroupsClaim  string        `name:"oidc-groups-claim" help:"Claim that names a person's groups. Default: groups." placeholder:"NAME"`
	OIDCGroup        []string      `name:"oidc-group" help:"Role of a group of the provider, such as sre=admin. May be repeated." sep:"none" placeholder:"GROUP=ROLE[:BRANCH]"`
	SessionIdle      time.Duration `help:"After how long without use a session of the console ends. Default: 2h."`
	SessionLifetime  time.Duration `help:"After how long it ends in any case. Default: 12h."`

	SlackToken         string `help:"Slack bot token. Without it, notifications are shown in the console." placeholder:"xoxb-…"`
	SlackSigningSecret string `help:"Slack signing secret. Nothing needs it yet: buttons in messages will." placeholder:"SECRET"`
	SlackChannel       string `help:"Slack channel that gets the alerts, its id or name." placeholder:"CHANNEL"`
	SlackAPIURL        string `name:"slack-api-url" help:"Slack's API, if not its own." placeholder:"URL"`
}

func (f *serverFlags) options(log *slog.Logger) app.Options {
	return app.Options{
		Version: buildVersion(), Data: f.Data,
		ListenHTTP: f.ListenHTTP, ListenStatus: f.ListenStatus, ListenOTLPHTTP: f.ListenOTLPHTTP, ListenOTLPGRPC: f.ListenOTLPGRPC,
		ListenInternal: f.ListenInternal,
		ClickHouse:     f.ClickHouse, Postgres: f.Postgres, PostgresOwner: f.PostgresOwner,
		Name: f.Name, ConsoleURL: f.ConsoleURL, StatusURL: f.StatusURL, MaxSpoolBytes: f.MaxSpoolBytes, MaxSpoolAge: f.MaxSpoolAge, KeepQuarantine: f.KeepQuarantine, Quota: f.Quota,
		AuditRetention: f.AuditRetention, TrustedProxies: f.TrustedProxies, WebhooksToPrivate: f.WebhooksToPrivate,
		MaxStrangers: f.MaxStrangers, MaxStrangersPerAddress: f.MaxStrangersPerAddress, StrangerTimeout: f.StrangerTimeout,
		Slack: app.SlackOptions{Token: f.SlackToken, SigningSecret: f.SlackSigningSecret, Channel: f.SlackChannel, APIURL: f.SlackAPIURL},
		SignIn: app.SignInOptions{Issuer: f.OIDCIssuer, ClientID: f.OIDCClientID, ClientSecret: f.OIDCClientSecret, GroupsClaim: f.OIDCGroupsClaim,
			Groups: f.OIDCGroup, SessionIdle: f.SessionIdle, SessionLifetime: f.SessionLifetime},
		Out: os.Stdout, Logger: log,
	}
}

type upCmd struct {
	serverFlags
}

func (c *upCmd) Run(ctx context.Context, log *slog.Logger) error {
	o := c.options(log)
	o.Embedded = true
	return app.Run(ctx, o)
}

type demoCmd struct {
	serverFlags
}

func (c *demoCmd) Run(ctx context.Context, log *slog.Logger) error {
	o := c.options(log)
	o.Embedded, o.Demo = true, true
	return app.Run(ctx, o)
}

type serveCmd struct {
	serverFlags
	Roles []app.Role `help:"Which: collector, slo, alerting, statuspage, console. Default: all." sep:","`
}

func (c *serveCmd) Run(ctx context.Context, log *slog.Logger) error {
	o := c.options(log)
	o.Roles = c.Roles
	return app.Run(ctx, o)
}

type migrateCmd struct {
	databaseFlags
	Check bool `env:"-" help:"Change nothing; fail when there is something to do."`
}

func (c *migrateCmd) Run(ctx context.Context) error {
	if c.ClickHouse == "" || c.Postgres == "" && c.PostgresOwner == "" {
		return errors.New("--clickhouse and --postgres: both are needed")
	}
	pool, err := postgres.Open(ctx, cmp.Or(c.PostgresOwner, c.Postgres))
	if err != nil {
		return err
	}
	defer pool.Close()
	done, err := app.Migrate(ctx, pool, c.ClickHouse, c.Check)
	for _, r := range done.Databases {
		switch {
		case r.Database == "":
		case c.Check && r.Pending > 0:
			fmt.Printf("%s: at version %d, %d to run\n", r.Database, r.From, r.Pending)
		case r.From == r.To:
			fmt.Printf("%s: at version %d, nothing to do\n", r.Database, r.To)
		default:
			fmt.Printf("%s: from version %d to %d in %d ms\n", r.Database, r.From, r.To, r.Took.Milliseconds())
		}
	}
	if err != nil {
		return err
	}
	s := done.Schemas
	switch {
	case c.Check && s.Pending > 0:
		fmt.Printf("tenants' schemas: %d of %d are not at version %d\n", s.Pending, s.Schemas, s.Version)
	case s.Migrated == 0 && len(s.Failed) == 0:
		fmt.Printf("tenants' schemas: %d at version %d, nothing to do\n", s.Schemas, s.Version)
	default:
		fmt.Printf("tenants' schemas: %d of %d brought to version %d in %d ms, %d failed\n", s.Migrated, s.Schemas, s.Version, s.Took.Milliseconds(), len(s.Failed))
	}
	for _, f := range s.Failed {
		fmt.Printf("  %s (%s): %v\n", f.Tenant, f.Schema, f.Err)
	}
	return done.SchemasErr
}

type enginesCmd struct {
	Exec enginesExecCmd `cmd:"" help:"Run a command with fresh databases, their DSNs in HEADROOM_CLICKHOUSE and HEADROOM_POSTGRES."`
}

type enginesExecCmd struct {
	Command []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

func (c *enginesExecCmd) Run(ctx context.Context, log *slog.Logger) error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return errors.New("engines exec: no command given: headroom engines exec -- COMMAND [ARGUMENTS]")
	}
	// Not ctx, which a signal ends: Exec passes signals on, and what they mean is the command's to say.
	code, err := engines.Exec(context.WithoutCancel(ctx), engines.Options{Logger: log}, argv, nil)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}
