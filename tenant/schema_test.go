package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
)

func TestSchemaName(t *testing.T) {
	f := func(id ID, want string) {
		t.Helper()
		if got := SchemaName(id); got != want {
			t.Errorf("SchemaName(%q) = %q, want %q", id, got, want)
		}
	}
	f("acme", "t_acme")
	f("Acme", "t__41cme")
	f("a_b", "t_a_5fb")
	f("a__b", "t_a_5f_5fb")
	f("5f0c1f2e-9d0a-4a57-8d6e-3f0f4f6f8a10", "t_5f0c1f2e_2d9d0a_2d4a57_2d8d6e_2d3f0f4f6f8a10")
	f("ø", "t__c3_b8")
	f(ID(strings.Repeat("x", 61)), "t_"+strings.Repeat("x", 61))
	f(ID(strings.Repeat("x", 62)), "t_"+strings.Repeat("x", 35)+"__eeqq7fsey37gws3w5wil2sfj")
}

// TestSchemaNamesDiffer holds what names are for against ids made to collide: of few letters, with what names escape by.
func TestSchemaNamesDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab5f_A-]{1,6}([5f_]{54,58}|)[5f_A]{0,6}`), 2, 40, rapid.ID).Draw(t, "ids")
		taken := map[string]string{}
		for _, id := range ids {
			name := SchemaName(ID(id))
			if other, ok := taken[name]; ok {
				t.Fatalf("%q and %q are both %q", id, other, name)
			}
			taken[name] = id
			if len(name) > maxIdentifier || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Fatalf("%q is %q: too long, or to be quoted", id, name)
			}
		}
	})
}

func create(t testing.TB, pg *testenv.Postgres, ids ...ID) {
	t.Helper()
	store := NewStore(pg.Pool)
	for _, id := range ids {
		if err := store.Put(t.Context(), "owner", Tenant{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
}

// operator may change every member.
var operator = Identity{Name: "owner", Scopes: []Scope{ScopeAdmin}}

func newMembers(t testing.TB, pg *testenv.Postgres) *Members {
	t.Helper()
	s, err := NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	return NewMembers(s)
}

func TestMembersAreTheTenantsOwn(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	m := newMembers(t, pg)
	odd := ID(`Møss'grove"; \ Foods/7`)
	create(t, pg, "acme", odd)
	if list, err := m.List(t.Context(), "acme"); err != nil || len(list) != 0 {
		t.Fatalf("before there is a schema: got %v, %v", list, err)
	}
	if err := m.Remove(t.Context(), operator, "acme", "a@example.com"); !fault.Is(err, fault.NotFound) {
		t.Errorf("removing from no schema: got %v", err)
	}
	var wg sync.WaitGroup
	for i := range 4 { // the first data of a tenant may come from several processes at once
		wg.Go(func() {
			if err := m.Put(t.Context(), operator, "acme", Member{Email: fmt.Sprintf("A%d@example.com", i), Role: "viewer"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := m.Put(t.Context(), operator, odd, Member{Email: "b@example.com", Name: "Bea", Role: "owner"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(t.Context(), operator, "acme", Member{Email: "a0@example.com", Role: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(t.Context(), operator, "acme", "a1@EXAMPLE.com"); err != nil {
		t.Fatal(err)
	}
	list, err := m.List(t.Context(), "acme")
	if err != nil || len(list) != 3 || list[0].Email != "a0@example.com" || list[0].Role != "admin" || list[1].Email != "a2@example.com" {
		t.Errorf("acme's: got %+v, %v", list, err)
	}
	list, err = m.List(t.Context(), odd)
	if err != nil || len(list) != 1 || list[0].Name != "Bea" {
		t.Errorf("the other's: got %+v, %v", list, err)
	}
	if err := m.Put(t.Context(), operator, "nobody", Member{Email: "a@example.com", Role: "viewer"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a tenant that nobody created: got %v, want NotFound", err)
	}
	refused := func(id ID, p Member, field string) {
		t.Helper()
		if err := m.Put(t.Context(), operator, id, p); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: got %v, want Invalid for %s", p, err, field)
		}
	}
	refused("acme", Member{Email: "Ada <a@example.com>", Role: "viewer"}, "email")
	refused("acme", Member{Email: "a@example.com", Role: "king"}, "role")
	refused("acme", Member{Email: "a@example.com", Role: "viewer", Name: strings.Repeat("x", 201)}, "name")
	refused(Untagged, Member{Email: "a@example.com", Role: "viewer"}, "tenant")
}

// TestSecondWallBehindTheSchema takes the first wall away: the transaction of one tenant looks into the other's schema.
func TestSecondWallBehindTheSchema(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	m := newMembers(t, pg)
	create(t, pg, "acme", "zeta")
	for _, id := range []ID{"acme", "zeta"} {
		if err := m.Put(t.Context(), operator, id, Member{Email: string(id) + "@example.com", Role: "owner"}); err != nil {
			t.Fatal(err)
		}
	}
	err := postgres.InTenantSchema(t.Context(), pg.Pool, ID("acme"), SchemaName("zeta"), func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM members`).Scan(&n); err != nil || n != 0 {
			t.Errorf("acme sees %d members of zeta, %v", n, err)
		}
		tag, err := tx.Exec(t.Context(), `UPDATE members SET role = 'viewer'`)
		if err != nil || tag.RowsAffected() != 0 {
			t.Errorf("acme changed %d members of zeta, %v", tag.RowsAffected(), err)
		}
		_, err = tx.Exec(t.Context(), `INSERT INTO members (email, role, added_by) VALUES ('x@example.com', 'owner', 'x')`)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "row-level security") {
		t.Errorf("acme adds a member to zeta: got %v, want a refusal", err)
	}
}

// steps returns this binary's migrations and one more, and how many the binary has.
func steps(t testing.TB, more string) (files fstest.MapFS, known int) {
	t.Helper()
	files = fstest.MapFS{}
	names, err := fs.Glob(migrations.Tenant(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(migrations.Tenant(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	files[fmt.Sprintf("%05d_more.sql", len(names)+1)] = &fstest.MapFile{Data: []byte(more)}
	return files, len(names)
}

// TestTenantsMigrateEachForItself lets one tenant's data refuse a migration: the others go on, that one works as before,
// and the next run finishes it.
func TestTenantsMigrateEachForItself(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	m := newMembers(t, pg)
	ids := []ID{"acme", "bolt", "corto", "delta", "zeta"}
	create(t, pg, ids...)
	for _, id := range ids {
		if err := m.Put(t.Context(), operator, id, Member{Email: "a@example.com", Role: "viewer"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Put(t.Context(), operator, "corto", Member{Email: "b@example.com", Role: "viewer"}); err != nil {
		t.Fatal(err)
	}
	files, known := steps(t, `CREATE TABLE extra (n int); INSERT INTO extra VALUES (1); CREATE UNIQUE INDEX one_viewer ON members (role);`)
	r, err := migrateSchemas(t.Context(), pg.Owner, files, true)
	var pending *migrations.PendingError
	if !errors.As(err, &pending) || r.Pending != 5 || pending.Have != int64(known) || pending.Want != int64(known+1) {
		t.Errorf("check: got %+v, %v", r, err)
	}
	r, err = migrateSchemas(t.Context(), pg.Owner, files, false)
	if err == nil || !strings.Contains(err.Error(), `1 of 5 tenants, the first of them "corto"`) || !strings.Contains(err.Error(), "_more.sql") ||
		r.Migrated != 4 || len(r.Failed) != 1 || r.Failed[0].Tenant != "corto" || r.Failed[0].Schema != "t_corto" {
		t.Errorf("the first run: got %+v, %v", r, err)
	}
	for _, id := range ids {
		want := 1
		if id == "corto" {
			want = 2
		}
		if list, err := m.List(t.Context(), id); err != nil || len(list) != want {
			t.Errorf("members of %q between the runs: got %v, %v", id, list, err)
		}
	}
	if err := m.Put(t.Context(), operator, "corto", Member{Email: "b@example.com", Role: "admin"}); err != nil {
		t.Fatal(err)
	}
	r, err = migrateSchemas(t.Context(), pg.Owner, files, false)
	if err != nil || r.Migrated != 1 || r.Schemas != 5 || r.Version != int64(known+1) {
		t.Errorf("the second run: got %+v, %v", r, err)
	}
	// The new table has its wall, though its migration did not speak of one.
	err = postgres.InTenantSchema(t.Context(), pg.Pool, ID("acme"), "t_zeta", func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM extra`).Scan(&n); err != nil || n != 0 {
			t.Errorf("acme sees %d rows of zeta's new table, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	_, err = MigrateSchemas(t.Context(), pg.Owner, false)
	var newer *migrations.NewerError
	if !errors.As(err, &newer) || newer.Have != int64(known+1) || newer.Know != int64(known) {
		t.Errorf("an older headroom: got %v, want a NewerError", err)
	}
}

func TestInterruptedMigrationGoesOn(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	m := newMembers(t, pg)
	for i := range 8 {
		id := ID(fmt.Sprint("tenant-", i))
		create(t, pg, id)
		if err := m.schemas.Ensure(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// One tenant's table is in use, so its migration waits; the others are done meanwhile. Then the run is interrupted.
	busy, err := pg.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := busy.Exec(t.Context(), `LOCK TABLE t_tenant_2d3.members IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	files, known := steps(t, `ALTER TABLE members ADD COLUMN phone text NOT NULL DEFAULT ''`)
	done := make(chan error, 1)
	go func() {
		_, err := migrateSchemas(ctx, pg.Owner, files, false)
		done <- err
	}()
	behind := 8
	for behind > 1 {
		if err := pg.Owner.QueryRow(t.Context(), `SELECT count(*) FROM control.tenant_schemas WHERE version <= $1`, known).Scan(&behind); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v", err)
	}
	if err := busy.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := migrateSchemas(t.Context(), pg.Owner, files, false)
	if err != nil || r.Migrated != 1 || r.Schemas != 8 {
		t.Errorf("the next run: got %+v, %v", r, err)
	}
}
