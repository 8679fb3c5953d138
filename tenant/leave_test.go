package tenant

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// leaving is what tenants come and go by.
type leaving struct {
	pg         *testenv.Postgres
	ch         *clickhouse.HTTP
	departures *Departures
	onboarding *Onboarding
	members    *Members
}

func newLeaving(t *testing.T) *leaving {
	t.Helper()
	db, pg := testenv.NewClickHouse(t), testenv.NewPostgres(t)
	ch, err := clickhouse.OpenHTTP(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ch.Close)
	schemas, err := NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	store, keys := NewStore(pg.Pool), NewKeys(pg.Pool)
	return &leaving{pg, ch, NewDepartures(pg.Pool, pg.Owner, ch, store, keys, slog.New(slog.NewTextHandler(t.Output(), nil))),
		NewOnboarding(store, schemas, keys), NewMembers(schemas)}
}

func (l *leaving) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := l.pg.Owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func (l *leaving) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := l.pg.Owner.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (l *leaving) create(t *testing.T, id ID) {
	t.Helper()
	if _, err := l.onboarding.Create(t.Context(), "ops", NewTenant{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// remove deletes a tenant to the end.
func (l *leaving) remove(t *testing.T, id ID) {
	t.Helper()
	if _, err := l.departures.Delete(t.Context(), "ops", id); err != nil {
		t.Fatal(err)
	}
	if err := l.departures.workAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is, err := l.departures.Status(t.Context(), id); err != nil || is.State != deletionDone {
		t.Fatalf("the deletion of %s is %+v, %v", id, is, err)
	}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s takes too long", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestCreationWaitsForTheSweep creates a tenant again while somebody who read that it is gone erases what came late of it.
func TestCreationWaitsForTheSweep(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	ctx := t.Context()
	l.create(t, "acme")
	l.remove(t, "acme")
	l.exec(t, `UPDATE control.deleted_tenants SET done_at = now() - interval '1 minute'`)
	if err := l.departures.ch.Exec(ctx, clickhouse.Statement{SQL: `INSERT INTO requests (tenant, ts) VALUES ('acme', now64())`}); err != nil {
		t.Fatal(err)
	}

	// A table that only the sweep reads holds it up after it has seen that the tenant is gone.
	held, err := l.pg.Owner.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := held.Exec(ctx, `LOCK TABLE control.alert_tenants IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	swept := make(chan error, 1)
	go func() { swept <- l.departures.workAll(ctx) }()
	await(t, "the sweep", func() bool {
		return l.count(t, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'control.alert_tenants'::regclass`) > 0
	})
	if _, err := l.onboarding.Create(ctx, "ops", NewTenant{ID: "acme"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("while it is swept: got %v, want Conflict", err)
	}
	if err := held.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-swept; err != nil {
		t.Fatal(err)
	}
	if n := l.count(t, `SELECT count(*) FROM control.audit_log WHERE action = 'tenant.erase' AND after ? 'late_rows'`); n != 1 {
		t.Errorf("%d entries say that something came late, want 1", n)
	}

	l.create(t, "acme")
	if err := l.departures.workAll(ctx); err != nil {
		t.Fatal(err)
	}
	if n := l.count(t, `SELECT count(*) FROM control.tenants t JOIN control.api_keys k ON k.tenant = t.id AND k.revoked_at IS NULL
		JOIN pg_namespace n ON n.nspname = $1 WHERE t.id = 'acme'`, SchemaName("acme")); n != 1 {
		t.Errorf("of the tenant that came back there are %d with key and schema, want 1", n)
	}
}
