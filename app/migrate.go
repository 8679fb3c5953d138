package app

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
)

// Migrate brings both databases to this binary's version, one starter at a time; with check it changes nothing and
// returns an error that says what is to do (see migrations.Up).
func Migrate(ctx context.Context, pool *pgxpool.Pool, clickHouseDSN string, check bool) ([]migrations.Result, error) {
	var results []migrations.Result
	run := func(ctx context.Context) error {
		pg, pgErr := postgres.Migrate(ctx, pool, check)
		results = append(results, pg)
		if pgErr != nil && !check {
			return pgErr
		}
		ch, chErr := clickhouse.Migrate(ctx, clickHouseDSN, check)
		results = append(results, ch)
		return errors.Join(pgErr, chErr)
	}
	if check {
		return results, run(ctx)
	}
	err := postgres.WithMigrationLock(ctx, pool, run)
	return results, err
}
