//go:build peers

package tenant

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// TestBehindPgBouncer lets two tenants share the one connection that PgBouncer keeps to PostgreSQL, in turns of one
// transaction: neither sees the other's rows, and what one leaves behind nobody finds.
func TestBehindPgBouncer(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme", "zeta")
	user := testenv.NewPostgresUser(t, pg, postgres.AppRole)
	dsn := testenv.NewPgBouncer(t, user, 1)
	pool, err := postgres.OpenServing(t.Context(), dsn, true)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.CheckServing(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	schemas, err := NewSchemas(pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	members := NewMembers(schemas)
	var mu sync.Mutex
	backends := map[uint32]bool{}
	var wg sync.WaitGroup
	for client := range 8 {
		id := []ID{"acme", "zeta"}[client%2]
		wg.Go(func() {
			for i := range 40 {
				var seen []string
				var backend uint32
				err := postgres.InTenant(t.Context(), pool, id, func(tx pgx.Tx) error {
					return tx.QueryRow(t.Context(), `SELECT pg_backend_pid(), array_agg(id) FROM control.tenants WHERE $1::int = $1`, i).Scan(&backend, &seen)
				})
				if err != nil || len(seen) != 1 || seen[0] != string(id) {
					t.Errorf("%s sees %v, %v", id, seen, err)
				}
				mu.Lock()
				backends[backend] = true
				mu.Unlock()
				var n int
				if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM control.tenants WHERE $1::int = $1`, i).Scan(&n); err != nil || n != 0 {
					t.Errorf("without a tenant: %d rows, %v", n, err)
				}
				email := fmt.Sprintf("%d-%d@%s.example", client, i, id)
				if err := members.Put(t.Context(), operator, id, Member{Email: email, Role: "viewer"}); err != nil {
					t.Error(err)
				}
				list, err := members.List(t.Context(), id)
				if err != nil || len(list) == 0 {
					t.Errorf("members of %s: %d, %v", id, len(list), err)
				}
				for _, m := range list {
					if !strings.HasSuffix(m.Email, "@"+string(id)+".example") {
						t.Errorf("%s sees %s", id, m.Email)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(backends) != 1 {
		t.Errorf("%d connections to PostgreSQL, want one that all share", len(backends))
	}
	for _, id := range []ID{"acme", "zeta"} {
		if list, err := members.List(t.Context(), id); err != nil || len(list) != 160 {
			t.Errorf("members of %s: %d, %v; want 160", id, len(list), err)
		}
	}
}

// TestPgBouncerNeedsTheOwnersDSN starts as if there were no pooler.
func TestPgBouncerNeedsTheOwnersDSN(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	user := testenv.NewPostgresUser(t, pg, postgres.AppRole)
	pool, err := postgres.OpenServing(t.Context(), testenv.NewPgBouncer(t, user, 1), false)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.CheckServing(t.Context(), pool); err == nil || !strings.Contains(err.Error(), "--postgres-owner") {
		t.Errorf("got %v, want an error that says what to give", err)
	}
}
