package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// TestEveryTableOfTenantsHasItsWall looks at all tables that there are, so that a new one is covered by being made.
func TestEveryTableOfTenantsHasItsWall(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	twoTenants(t, pg)
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.Ensure(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	type table struct {
		Name   string
		Walled bool
		Owner  string
	}
	rows, err := pg.Owner.Query(t.Context(), `
		SELECT c.oid::regclass::text, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid),
			pg_get_userbyid(c.relowner)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' AND (
			n.nspname LIKE 't\_%'
			OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attname IN ('tenant', 'tenant_id'))
			OR c.oid = 'control.tenants'::regclass
			OR EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.confrelid = 'control.tenants'::regclass))
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, tb := range tables {
		found[tb.Name] = true
		if !tb.Walled {
			t.Errorf("table %s holds what belongs to tenants, and has no forced row-level security with a policy: see 00006_isolation.sql", tb.Name)
		}
		if tb.Owner == postgres.AppRole {
			t.Errorf("table %s belongs to %s", tb.Name, tb.Owner)
		}
	}
	for _, name := range []string{"control.tenants", "control.alert_tenants", "control.tenant_schemas", "t_acme.members"} {
		if !found[name] {
			t.Errorf("the search did not find %s among %v", name, tables)
		}
	}
}

// twoTenants makes acme and zeta, each hurt by the same alert.
func twoTenants(t testing.TB, pg *testenv.Postgres) {
	t.Helper()
	_, err := pg.Owner.Exec(t.Context(), `
		INSERT INTO control.tenants (id) VALUES ('acme'), ('zeta');
		INSERT INTO control.alerts (id, rule, severity, title, product, bad_is, state, started_at, opened_at, observed_at, version, urgent_version, notified_at)
		VALUES ('a-1', 'checkout', 'page', '', '', 'failed', 'firing', now(), now(), now(), 1, 1, now());
		INSERT INTO control.alert_tenants (alert_id, tenant, state, started_at, burn, peak_rate, budget_before)
		SELECT 'a-1', x, 'firing', now(), '{}', 1, 1 FROM unnest(ARRAY['acme', 'zeta', '']) x`)
	if err != nil {
		t.Fatal(err)
	}
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const allTenants = `SELECT coalesce(string_agg(tenant, ',' ORDER BY tenant), 'none') FROM control.alert_tenants`

// TestSecondWall leaves the condition out of every query: what comes back is decided by the transaction alone.
func TestSecondWall(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	twoTenants(t, pg)
	ctx := t.Context()
	see := func(q queryer, want, when string) {
		t.Helper()
		var got string
		if err := q.QueryRow(ctx, allTenants).Scan(&got); err != nil || got != want {
			t.Errorf("%s: sees %q, %v; want %q", when, got, err, want)
		}
	}
	see(pg.Pool, "none", "nothing set")
	// One connection, so that whatever a transaction leaves behind meets the next one.
	cfg := pg.Pool.Config()
	cfg.MaxConns = 1
	one, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	in := func(id tenant.ID, f func(tx pgx.Tx) error) error { return postgres.InTenant(ctx, one, id, f) }
	for range 2 {
		for _, id := range []tenant.ID{"acme", "zeta", "nobody", `'; DROP SCHEMA control CASCADE; --`, `\'`, "ø"} {
			want := "none"
			if id == "acme" || id == "zeta" {
				want = string(id)
			}
			if err := in(id, func(tx pgx.Tx) error { see(tx, want, string(id)); return nil }); err != nil {
				t.Error(err)
			}
			see(one, "none", "after "+string(id))
		}
		err := postgres.AcrossTenants(ctx, one, func(tx pgx.Tx) error { see(tx, ",acme,zeta", "across"); return nil })
		if err != nil {
			t.Error(err)
		}
		see(one, "none", "after crossing")
		_ = in("acme", func(pgx.Tx) error { return errors.New("rolled back") })
		see(one, "none", "after a transaction that failed")
		if err := postgres.InTx(ctx, one, func(tx pgx.Tx) error { see(tx, "none", "a plain transaction"); return nil }); err != nil {
			t.Error(err)
		}
	}
	if err := in("", func(pgx.Tx) error { t.Error("somebody acts as untagged"); return nil }); !fault.Is(err, fault.Invalid) {
		t.Errorf("the empty tenant: got %v, want Invalid", err)
	}
}

// TestSecondWallStopsWrites writes for another tenant, with every statement that could.
func TestSecondWallStopsWrites(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	twoTenants(t, pg)
	ctx := t.Context()
	refused := func(sql string) {
		t.Helper()
		err := postgres.InTenant(ctx, pg.Pool, tenant.ID("acme"), func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err })
		if err == nil || !strings.Contains(err.Error(), "row-level security") && !strings.Contains(err.Error(), "permission denied") &&
			!strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: got %v, want a refusal", sql, err)
		}
	}
	untouched := func(sql string) {
		t.Helper()
		err := postgres.InTenant(ctx, pg.Pool, tenant.ID("acme"), func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, sql)
			if tag.RowsAffected() != 0 {
				t.Errorf("%s: changed %d rows", sql, tag.RowsAffected())
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	refused(`INSERT INTO control.tenants (id) VALUES ('other')`)
	refused(`INSERT INTO control.tenants (id, name) VALUES ('zeta', 'Mine') ON CONFLICT (id) DO UPDATE SET name = excluded.name`)
	refused(`UPDATE control.tenants SET id = 'other'`)
	refused(`UPDATE control.alert_tenants SET tenant = 'other'`)
	untouched(`UPDATE control.tenants SET name = 'Mine' WHERE id <> 'acme'`)
	untouched(`DELETE FROM control.alert_tenants WHERE tenant <> 'acme'`)
	// The application's role can take no wall down, and history stays.
	refused(`ALTER TABLE control.tenants DISABLE ROW LEVEL SECURITY`)
	refused(`DROP POLICY tenant ON control.tenants`)
	refused(`TRUNCATE control.alert_tenants`)
	refused(`DELETE FROM control.audit_log`)
	refused(`UPDATE control.audit_log SET actor = 'x'`)
	refused(`UPDATE control.goose_db_version SET version_id = 1`)
	refused(`CREATE TABLE control.mine (n int)`)
}

// TestOwnerIsHeldToo shows what FORCE is for: who owns the tables sees no more than others.
func TestOwnerIsHeldToo(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	twoTenants(t, pg)
	owner, err := postgres.Open(t.Context(), pg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	var got string
	if err := owner.QueryRow(t.Context(), allTenants).Scan(&got); err != nil || got != "none" {
		t.Errorf("the owner without a setting sees %q, %v", got, err)
	}
}

func TestCheckServing(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	if err := postgres.CheckServing(t.Context(), pg.Pool); err != nil {
		t.Errorf("the application's role: %v", err)
	}
	err := postgres.CheckServing(t.Context(), pg.Owner)
	if err == nil || !strings.Contains(err.Error(), "owns table control.") || !strings.Contains(err.Error(), "--postgres-owner") {
		t.Errorf("the owner: got %v", err)
	}
	// A user that is only a member, as behind PgBouncer; then each thing that makes it unsafe.
	user := testenv.NewPostgresUser(t, pg, "")
	check := func(want string) {
		t.Helper()
		pool, err := postgres.OpenServing(t.Context(), user.DSN, true)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		err = postgres.CheckServing(t.Context(), pool)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := pg.Owner.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	check("is no member of headroom_app")
	exec("GRANT headroom_app TO " + user.Name)
	check("")
	exec("GRANT CREATE ON SCHEMA control TO " + user.Name)
	exec("ALTER TABLE control.components OWNER TO " + user.Name)
	check("owns table control.components")
}
