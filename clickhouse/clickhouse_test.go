package clickhouse_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/migrations"
)

func TestParseDSN(t *testing.T) {
	t.Parallel()
	f := func(dsn, wantAddr, wantHTTP, wantDatabase string) {
		t.Helper()
		cfg, err := clickhouse.ParseDSN(dsn)
		if err != nil {
			t.Errorf("ParseDSN(%q): %v", dsn, err)
			return
		}
		if cfg.Options.Addr[0] != wantAddr || cfg.HTTP.String() != wantHTTP || cfg.Options.Auth.Database != wantDatabase {
			t.Errorf("ParseDSN(%q): got %s, %s, %s; want %s, %s, %s", dsn, cfg.Options.Addr[0], cfg.HTTP, cfg.Options.Auth.Database,
				wantAddr, wantHTTP, wantDatabase)
		}
	}
	f("clickhouse://u:p@db:9000/telemetry?http_port=18123", "db:9000", "http://db:18123", "telemetry")
	f("clickhouse://u:p@db:9000", "db:9000", "http://db:8123", "headroom")
	f("clickhouse://u:p@db:9440/x?secure=true", "db:9440", "https://db:8443", "x")

	refused := func(dsn string) {
		t.Helper()
		_, err := clickhouse.ParseDSN(dsn)
		if err == nil {
			t.Errorf("ParseDSN(%q): no error", dsn)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseDSN: the error shows the password: %v", err)
		}
	}
	refused("http://u:hunter2@db:8123/x")
	refused("clickhouse://u:hunter2@db:port/x")
	refused("://u:hunter2@")
}

func TestMigrateRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	res, err := clickhouse.Migrate(t.Context(), db.DSN, true)
	if err != nil {
		t.Fatalf("a migrated database is not up to date: %v", err)
	}
	if err := db.Owner.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)", res.From+1); err != nil {
		t.Fatal(err)
	}
	_, err = clickhouse.Migrate(t.Context(), db.DSN, false)
	var newer *migrations.NewerError
	if !errors.As(err, &newer) || newer.Have != res.From+1 || newer.Know != res.From {
		t.Errorf("got %v, want a NewerError for %d", err, res.From+1)
	}
}
