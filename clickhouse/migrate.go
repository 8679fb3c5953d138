package clickhouse

import (
	"context"
	"fmt"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	"github.com/nexis-limited/headroom/migrations"
)

// Migrate brings the telemetry database to this binary's version; see migrations.Up for check and the errors.
// ClickHouse has no lock to hold: the caller holds PostgreSQL's (postgres.WithMigrationLock).
func Migrate(ctx context.Context, dsn string, check bool) (migrations.Result, error) {
	cfg, err := ParseDSN(dsn)
	if err != nil {
		return migrations.Result{}, err
	}
	db := ch.OpenDB(cfg.Options)
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		return migrations.Result{}, fmt.Errorf("cannot connect to ClickHouse at %q: %w", cfg.HTTP.Hostname(), err)
	}
	return migrations.Up(ctx, "ClickHouse", goose.DialectClickHouse, db, migrations.ClickHouse(), "goose_db_version", check)
}
