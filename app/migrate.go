package app

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// Migrated is what Migrate did.
type Migrated struct {
	Databases []migrations.Result
	Schemas   tenant.SchemaReport

	// SchemasErr says which tenants' schemas are not at this binary's version. Their tenants can be served as before.
	SchemasErr error
}

// Migrate brings both databases and then the schemas of tenants to this binary's version, one starter at a time; with
// check it changes nothing and returns an error that says what is to do (see migrations.Up). The pool is the owner's.
func Migrate(ctx context.Context, owner *pgxpool.Pool, clickHouseDSN string, check bool) (m Migrated, err error) {
	run := func(ctx context.Context) error {
		pg, pgErr := postgres.Migrate(ctx, owner, check)
		m.Databases = append(m.Databases, pg)
		if pgErr != nil && !check {
			return pgErr
		}
		ch, chErr := clickhouse.Migrate(ctx, clickHouseDSN, check)
		m.Databases = append(m.Databases, ch)
		if pgErr != nil || chErr != nil {
			return errors.Join(pgErr, chErr)
		}
		m.Schemas, m.SchemasErr = tenant.MigrateSchemas(ctx, owner, check)
		var newer *migrations.NewerError
		if errors.As(m.SchemasErr, &newer) {
			return newer
		}
		return ctx.Err()
	}
	if check {
		err = run(ctx)
		return m, err
	}
	err = postgres.WithMigrationLock(ctx, owner, run)
	return m, err
}
