// Package app builds headroom from its parts, starts them in order and stops them in the reverse order. It owns which
// role has which part and which address answers what; it decides nothing about tenants, budgets or alerts. Only cmd
// and the end-to-end tests import it.
package app

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// Role is a part of headroom that can run in a process of its own.
type Role string

// The roles.
const (
	RoleCollector  Role = "collector"  // takes telemetry
	RoleSLO        Role = "slo"        // evaluates SLOs, on one instance at a time
	RoleAlerting   Role = "alerting"   // sends notifications
	RoleStatusPage Role = "statuspage" // serves the public pages
	RoleConsole    Role = "console"    // serves the console and the API
)

// Roles returns all roles.
func Roles() []Role {
	return []Role{RoleCollector, RoleSLO, RoleAlerting, RoleStatusPage, RoleConsole}
}

// Options are what a process of headroom is started with. Zero values take the defaults named here.
type Options struct {
	Version string
	Data    string // directory of the spool, the engines and the status page's last good state; required
	Roles   []Role // all by default

	ListenHTTP     string // console and API
	ListenStatus   string // public pages
	ListenOTLPHTTP string // OTLP over HTTP
	ListenOTLPGRPC string // OTLP over gRPC
	ListenInternal string // metrics, health, profiles: not for the public

	ClickHouse string // DSN; empty starts the embedded one, if Embedded
	Postgres   string // DSN; empty starts the embedded one, if Embedded
	// PostgresOwner is a second DSN, for what needs the owner of the tables or a session of its own: migrations, tenants'
	// schemas, locks. By default the same. With it, Postgres may be a pooler's, and its user must be a member of
	// postgres.AppRole only.
	PostgresOwner string
	Embedded      bool // start engines for the DSNs that are empty, and migrate at start

	Name       string // of the operator, on the status page
	ConsoleURL string // where people reach the console; by default from ListenHTTP
	StatusURL  string // where people reach the status page; by default from ListenStatus

	Slack  SlackOptions
	SignIn SignInOptions

	MaxSpoolBytes  int64         // 0: the collector's default
	MaxSpoolAge    time.Duration // 0: no limit
	KeepQuarantine time.Duration // 0: for ever

	MaxStrangers           int           // 0: the collector's default, as below
	MaxStrangersPerAddress int           // see collector.StrangerOptions
	StrangerTimeout        time.Duration // the same

	Quota []string // settings as of tenant.ParseQuotas

	AuditRetention time.Duration // of the operator's entries in the audit log; 0: tenant.DefaultAuditRetention
	TrustedProxies []string      // networks whose X-Forwarded-For is believed, as of web.ParseProxies

	WebhooksToPrivate bool // as of tenant.WebhookOptions.AllowPrivate

	Demo bool // run a simulated fleet against ourselves

	Out    io.Writer // gets the line "ready" and what to open
	Logger *slog.Logger
}

// SlackOptions say how to reach Slack. Without a token, notifications are shown in the console only.
type SlackOptions struct {
	Token, SigningSecret, Channel, APIURL string
}

// SignInOptions say how people sign in and for how long. Without an issuer they do so by password and key only.
type SignInOptions struct {
	Issuer, ClientID, ClientSecret string
	GroupsClaim                    string   // "groups" by default
	Groups                         []string // as of web.ParseGroupRole

	SessionIdle, SessionLifetime time.Duration // web's defaults when 0
}

func (o *Options) check() error {
	if o.Data == "" {
		return fmt.Errorf("--data: must name a directory")
	}
	if len(o.Roles) == 0 {
		o.Roles = Roles()
	}
	for _, r := range o.Roles {
		if !slices.Contains(Roles(), r) {
			return fmt.Errorf("--roles: unknown role %q: want some of %v", r, Roles())
		}
	}
	if !o.Embedded && (o.ClickHouse == "" || o.Postgres == "") {
		return fmt.Errorf("--clickhouse and --postgres: both are needed here; \"headroom up\" brings its own")
	}
	if o.ClickHouse != "" {
		if _, err := clickhouse.ParseDSN(o.ClickHouse); err != nil {
			return fmt.Errorf("--clickhouse: %w", err)
		}
	}
	for flag, dsn := range map[string]string{"--postgres": o.Postgres, "--postgres-owner": o.PostgresOwner} {
		if dsn == "" {
			continue
		}
		if _, err := pgxpool.ParseConfig(dsn); err != nil {
			return fmt.Errorf("%s: %w", flag, err) // pgx leaves the password out
		}
	}
	if o.PostgresOwner != "" && o.Postgres == "" {
		return fmt.Errorf("--postgres-owner: goes with --postgres")
	}
	for flag, address := range map[string]string{"--console-url": o.ConsoleURL, "--status-url": o.StatusURL} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return fmt.Errorf("%s %q: want an address such as https://status.example.com", flag, address)
		}
	}
	if _, err := tenant.ParseQuotas(o.Quota); err != nil {
		return fmt.Errorf("--quota: %w", err)
	}
	if o.AuditRetention != 0 && o.AuditRetention < tenant.MinAuditRetention {
		return fmt.Errorf("--audit-retention %s: want %s or more", o.AuditRetention, tenant.MinAuditRetention)
	}
	if _, err := web.ParseProxies(o.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if err := o.SignIn.check(); err != nil {
		return err
	}
	if (o.Slack.Token == "") != (o.Slack.Channel == "") {
		return fmt.Errorf("--slack-token and --slack-channel: give both or none")
	}
	return nil
}

// pooled reports whether the serving connections may be a pooler's, which hands sessions on.
func (o *Options) pooled() bool { return o.PostgresOwner != "" && o.PostgresOwner != o.Postgres }

func (o *Options) has(r Role) bool { return slices.Contains(o.Roles, r) }

// adminKeyFile is where the first start leaves the owner's API key.
func (o *Options) adminKeyFile() string { return filepath.Join(o.Data, "admin-key") }

// demoKeyFile holds the key that the simulated fleet pushes with.
func (o *Options) demoKeyFile() string { return filepath.Join(o.Data, "demo-ingest-key") }

// localURL returns the URL of a listener's address for somebody on this machine.
func localURL(addr string) string {
	host, port, ok := strings.Cut(strings.TrimPrefix(addr, "[::]"), ":")
	if !ok || host == "" || host == "0.0.0.0" {
		host = "localhost"
	}
	return "http://" + host + ":" + port
}

var adminScopes = []tenant.Scope{tenant.ScopeAdmin}
