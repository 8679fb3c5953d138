// Package clickhouse opens ClickHouse, runs its migrations and translates its errors. It holds no domain SQL: every
// feature owns the SQL of its tables.
package clickhouse

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Config is a parsed DSN.
//
// The DSN is clickhouse://USER:PASSWORD@HOST:PORT/DATABASE?http_port=8123 (secure=true for TLS). Queries go over the
// native protocol to PORT; the collector's inserts go over HTTP to http_port of the same host (8123, or 8443 when
// secure), because a spooled batch is sent there as it lies on disk.
type Config struct {
	Options *ch.Options
	HTTP    *url.URL // scheme, host and port of the HTTP interface, no credentials
}

// ParseDSN reads a DSN. Its error repeats no password.
func ParseDSN(dsn string) (*Config, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the ClickHouse DSN: it is not a URL of the form clickhouse://user:password@host:9000/database")
	}
	if u.Scheme != "clickhouse" {
		return nil, fmt.Errorf("cannot use a ClickHouse DSN of scheme %q: want clickhouse://user:password@host:9000/database", u.Scheme)
	}
	q := u.Query()
	httpScheme, httpPort := "http", "8123"
	if secure, _ := strconv.ParseBool(q.Get("secure")); secure {
		httpScheme, httpPort = "https", "8443"
	}
	if p := q.Get("http_port"); p != "" {
		httpPort = p
		q.Del("http_port")
		u.RawQuery = q.Encode()
	}
	opts, err := ch.ParseDSN(u.String())
	if err != nil {
		return nil, fmt.Errorf("cannot parse the ClickHouse DSN for host %q: %w", u.Host, err)
	}
	if opts.Auth.Database == "" {
		opts.Auth.Database = "headroom"
	}
	opts.DialTimeout = 5 * time.Second
	opts.MaxOpenConns, opts.MaxIdleConns = 16, 8
	opts.Compression = &ch.Compression{Method: ch.CompressionLZ4}
	return &Config{
		Options: opts,
		HTTP:    &url.URL{Scheme: httpScheme, Host: net.JoinHostPort(u.Hostname(), httpPort)},
	}, nil
}

// Open connects to the database of the DSN, to serve with: a query's context says for whom it is, else it is refused (see
// Confine). It does not wait for the server: the first query does.
func Open(dsn string) (driver.Conn, error) {
	conn, cfg, err := open(dsn)
	if err != nil {
		return nil, err
	}
	return &walledConn{Conn: conn, database: cfg.Options.Auth.Database}, nil
}

// OpenOwner connects to the database of the DSN without the second wall: for what changes tables, and for tests that look
// from outside.
func OpenOwner(dsn string) (driver.Conn, error) {
	conn, _, err := open(dsn)
	return conn, err
}

func open(dsn string) (driver.Conn, *Config, error) {
	cfg, err := ParseDSN(dsn)
	if err != nil {
		return nil, nil, err
	}
	conn, err := ch.Open(cfg.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open ClickHouse at %q: %w", cfg.HTTP.Hostname(), err)
	}
	return conn, cfg, nil
}
