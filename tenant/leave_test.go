package tenant

import (
	"context"
	"log/slog"
	"strings"
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
		NewOnboarding(store, schemas, keys)}
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

// join makes a person a viewer of a tenant, of which no entry of the audit log tells.
func (l *leaving) join(t *testing.T, id ID, email string) {
	t.Helper()
	l.exec(t, `INSERT INTO `+SchemaName(id)+`.members (email, role, added_by) VALUES ($1, 'viewer', 'ops')`, email)
	l.exec(t, `INSERT INTO control.memberships (email, tenant, role) VALUES ($1, $2, 'viewer')`, email, id)
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

// TestPeopleLeaveWithTheirTenant deletes a tenant with three people: one is its member only, one of another tenant too, and one is
// the operator's.
func TestPeopleLeaveWithTheirTenant(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	ctx := t.Context()
	l.create(t, "acme")
	l.create(t, "zeta")
	for _, email := range []string{"ada@example.com", "both@example.com", "grace@example.com"} {
		l.join(t, "acme", email)
		l.exec(t, `INSERT INTO control.users (email, created_by) VALUES ($1, 'ops')`, email)
	}
	l.join(t, "zeta", "both@example.com")
	l.exec(t, `INSERT INTO control.grants (user_id, role, source, granted_by) SELECT id, 'viewer', 'person', 'ops' FROM control.users WHERE email = 'grace@example.com'`)
	for i, tenant := range []any{"acme", "zeta"} {
		l.exec(t, `INSERT INTO control.sessions (hash, user_id, tenant, method, privilege, csrf_token, expires_at)
			SELECT sha256($1), id, $2, 'password', '', '', now() + interval '1 day' FROM control.users WHERE email = 'both@example.com'`, []byte{byte(i)}, tenant)
	}

	if _, err := l.departures.Delete(ctx, "ops", "acme"); err != nil {
		t.Fatal(err)
	}
	if n := l.count(t, `SELECT count(*) FROM control.sessions`); n != 1 {
		t.Errorf("after the call there are %d sessions, want the one in the other tenant", n)
	}
	if n := l.count(t, `SELECT count(*) FROM control.memberships`); n != 1 {
		t.Errorf("after the call there are %d memberships, want the one in the other tenant", n)
	}
	if err := l.departures.workAll(ctx); err != nil {
		t.Fatal(err)
	}
	var left string
	if err := l.pg.Owner.QueryRow(ctx, `SELECT string_agg(email, ' ' ORDER BY email) FROM control.users`).Scan(&left); err != nil || left != "both@example.com grace@example.com" {
		t.Errorf("left are %q, %v", left, err)
	}
	if n := l.count(t, `SELECT count(*) FROM control.audit_log WHERE action = 'user.delete' AND tenant IS NULL`); n != 1 {
		t.Errorf("%d entries of users who were removed, want 1", n)
	}
	if n := l.count(t, `SELECT count(*) FROM control.audit_log WHERE to_jsonb(audit_log)::text LIKE '%ada@%'`); n != 0 {
		t.Errorf("%d entries name the one who is gone", n)
	}
}

// TestStuckDeletionHoldsUpNoOther breaks one of two deletions.
func TestStuckDeletionHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	l := newLeaving(t)
	for _, id := range []ID{"acme", "zeta"} {
		l.create(t, id)
		if _, err := l.departures.Delete(t.Context(), "ops", id); err != nil {
			t.Fatal(err)
		}
	}
	l.exec(t, `
		CREATE FUNCTION control.stick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it sticks'; END $$;
		CREATE TRIGGER stick BEFORE DELETE ON control.tenants FOR EACH ROW WHEN (OLD.id = 'acme') EXECUTE FUNCTION control.stick()`)
	if err := l.departures.workAll(t.Context()); err == nil || !strings.Contains(err.Error(), `cannot delete tenant "acme"`) || !strings.Contains(err.Error(), "it sticks") {
		t.Errorf("got %v, want the error of acme", err)
	}
	if is, err := l.departures.Status(t.Context(), "zeta"); err != nil || is.State != deletionDone {
		t.Errorf("the other is %+v, %v", is, err)
	}
}
