package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/nexis-limited/headroom/migrations"
)

// RiverSchema is the schema of the job queue's tables.
const RiverSchema = "river"

// migrationLock is the key of the advisory lock that one starter holds while it migrates either database.
const migrationLock = 0x68656164726f6f6d // "headroom"

// WithMigrationLock runs f while it holds the advisory lock that keeps two starters from migrating at once. It waits
// for the other one as long as ctx allows. The lock belongs to a connection, so it is gone with a starter that dies.
func WithMigrationLock(ctx context.Context, pool *pgxpool.Pool, f func(ctx context.Context) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("cannot connect to PostgreSQL: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("cannot lock the migrations: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(migrationLock)); err != nil {
			_ = conn.Conn().Close(ctx) // a closed connection gives the lock back too
		}
	}()
	return f(ctx)
}

// Migrate brings schema control and the job queue's tables to this binary's version; see migrations.Up for check and
// the errors. The caller holds WithMigrationLock.
func Migrate(ctx context.Context, pool *pgxpool.Pool, check bool) (migrations.Result, error) {
	if !check {
		for _, schema := range []string{"control", RiverSchema} {
			if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
				return migrations.Result{}, fmt.Errorf("cannot create schema %q: %w", schema, err)
			}
		}
	} else if ok, err := hasControl(ctx, pool); err != nil || !ok {
		if err == nil {
			err = &migrations.PendingError{Database: "PostgreSQL"}
		}
		return migrations.Result{}, err
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }() // closes no connection of the pool
	res, err := migrations.Up(ctx, "PostgreSQL", goose.DialectPostgres, db, migrations.Control(), "control.goose_db_version", check)
	if err != nil {
		return res, err
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema})
	if err != nil {
		return res, fmt.Errorf("cannot read the job queue's migrations: %w", err)
	}
	if check {
		existing, err := m.ExistingVersions(ctx)
		if err != nil {
			return res, fmt.Errorf("cannot read the schema version of the job queue: %w", err)
		}
		const queue = "PostgreSQL's job queue"
		switch have, want := newest(existing), newest(m.AllVersions()); {
		case have > want:
			return res, &migrations.NewerError{Database: queue, Have: have, Know: want}
		case have < want:
			res.Pending++
			return res, &migrations.PendingError{Database: queue, Have: have, Want: want}
		}
		return res, nil
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return res, fmt.Errorf("cannot migrate the job queue's tables: %w", err)
	}
	return res, nil
}

func newest(versions []rivermigrate.Migration) (version int64) {
	for _, v := range versions {
		version = max(version, int64(v.Version))
	}
	return version
}

func hasControl(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var ok bool
	err := pool.QueryRow(ctx, "SELECT to_regclass('control.goose_db_version') IS NOT NULL").Scan(&ok)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			return false, fmt.Errorf("cannot read PostgreSQL's catalogue: %w", err)
		}
		return false, fmt.Errorf("cannot connect to PostgreSQL: %w", err)
	}
	return ok, nil
}
