package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
)

func TestMigrateRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Owner
	res, err := postgres.Migrate(t.Context(), pool, true)
	if err != nil {
		t.Fatalf("a migrated database is not up to date: %v", err)
	}
	if _, err := pool.Exec(t.Context(), "INSERT INTO control.goose_db_version (version_id, is_applied) VALUES ($1, true)", res.From+1); err != nil {
		t.Fatal(err)
	}
	for _, check := range []bool{true, false} {
		_, err = postgres.Migrate(t.Context(), pool, check)
		var newer *migrations.NewerError
		if !errors.As(err, &newer) || newer.Have != res.From+1 || newer.Know != res.From {
			t.Errorf("check %v: got %v, want a NewerError for %d", check, err, res.From+1)
		}
	}
}

func TestCheckFindsWhatIsToDo(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Owner
	pending := func(when string) {
		t.Helper()
		_, err := postgres.Migrate(t.Context(), pool, true)
		var p *migrations.PendingError
		if !errors.As(err, &p) {
			t.Errorf("%s: got %v, want a PendingError", when, err)
		}
	}
	if _, err := postgres.Migrate(t.Context(), pool, true); err != nil {
		t.Errorf("up to date: %v", err)
	}
	if _, err := pool.Exec(t.Context(), "DELETE FROM river.river_migration WHERE version = (SELECT max(version) FROM river.river_migration)"); err != nil {
		t.Fatal(err)
	}
	pending("the job queue one behind")
	if _, err := pool.Exec(t.Context(), "DELETE FROM control.goose_db_version WHERE version_id = (SELECT max(version_id) FROM control.goose_db_version)"); err != nil {
		t.Fatal(err)
	}
	pending("one behind")
	if _, err := pool.Exec(t.Context(), "DROP SCHEMA control CASCADE"); err != nil {
		t.Fatal(err)
	}
	pending("an empty database")
	if _, err := postgres.Migrate(t.Context(), pool, false); err != nil {
		t.Errorf("migrating the empty database: %v", err)
	}
}

// TestMigrationLockKeepsTheOtherStarterOut lets two starters in at once and counts how many are inside.
func TestMigrationLockKeepsTheOtherStarterOut(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Owner
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := postgres.WithMigrationLock(t.Context(), pool, func(ctx context.Context) error {
				if !mu.TryLock() {
					t.Error("two starters are inside at once")
					return nil
				}
				defer mu.Unlock()
				_, err := postgres.Migrate(ctx, pool, false)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	// A starter that is stuck must not hold the next one for ever: the caller's deadline counts.
	err := postgres.WithMigrationLock(t.Context(), pool, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		return postgres.WithMigrationLock(ctx, pool, func(context.Context) error { t.Error("got in"); return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: got %v, want the deadline", err)
	}
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Owner
	f := func(want fault.Kind, sql string) {
		t.Helper()
		err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), sql)
			return err
		})
		if err == nil || fault.KindOf(err) != want {
			t.Errorf("%s: got %v, want %v", sql, err, want)
		}
	}
	f(fault.Conflict, `INSERT INTO control.tenants (id) VALUES ('a'), ('a')`)
	f(fault.Invalid, `INSERT INTO control.tenants (id, plan) VALUES ('a', 'platinum')`)
	f(fault.Conflict, `INSERT INTO control.grants (user_id, role, source, granted_by) VALUES (1, 'viewer', 'person', 'x')`)
	f(fault.Invalid, `SELECT convert_from('\x00'::bytea, 'UTF8')`)
	f(fault.Invalid, `SELECT '"\u0000"'::jsonb`)
	f(fault.Unavailable, `SELECT pg_terminate_backend(pg_backend_pid())`)
	f(fault.Internal, `SELECT 1/0`)
	var n int
	if err := postgres.Translate(pool.QueryRow(t.Context(), "SELECT 1 WHERE false").Scan(&n)); !fault.Is(err, fault.NotFound) {
		t.Errorf("no rows: got %v", err)
	}
	if postgres.Translate(nil) != nil {
		t.Error("nil became an error")
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pool.Exec(soon, "SELECT pg_sleep(10)"); !fault.Is(postgres.Translate(err), fault.Unavailable) {
		t.Errorf("no answer in time: got %v", err)
	}
	if err := postgres.Translate(fmt.Errorf("receive message failed: %w", io.ErrUnexpectedEOF)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a connection that broke: got %v", err)
	}
	down, err := postgres.Open(t.Context(), "postgres://u:p@127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	defer down.Close()
	if err := postgres.Translate(down.Ping(t.Context())); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a server that is away: got %v", err)
	}
}
