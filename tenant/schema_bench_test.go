package tenant

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// benchIDs creates tenants with a schema and a member each, several at a time.
func benchIDs(b *testing.B, pg *testenv.Postgres, n int) (*Members, []ID) {
	b.Helper()
	m := newMembers(b, pg)
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = ID(fmt.Sprintf("tenant-%04d", i))
	}
	err := postgres.AcrossTenants(b.Context(), pg.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(b.Context(), `INSERT INTO control.tenants (id) SELECT unnest($1::text[])`, ids)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	next := make(chan ID)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for id := range next {
				if err := m.Put(b.Context(), operator, id, Member{Email: "a@example.com", Role: "viewer"}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	wg.Wait()
	return m, ids
}

// BenchmarkThousandSchemas makes 1,000 schemas, each with its first row, and migrates them by one step.
func BenchmarkThousandSchemas(b *testing.B) {
	for b.Loop() {
		pg := testenv.NewPostgres(b)
		began := time.Now()
		benchIDs(b, pg, 1000)
		made := time.Since(began)
		files, _ := steps(b, `ALTER TABLE members ADD COLUMN phone text NOT NULL DEFAULT ''; CREATE TABLE extra (n int PRIMARY KEY)`)
		r, err := migrateSchemas(b.Context(), pg.Owner, files, false)
		if err != nil || r.Migrated != 1000 {
			b.Fatalf("got %+v, %v", r, err)
		}
		b.ReportMetric(made.Seconds(), "s/making")
		b.ReportMetric(r.Took.Seconds(), "s/migrating")
	}
}

// BenchmarkTenantRequest reads one tenant's members: with one schema in the database, with a thousand, and with a thousand of
// which each request reads another. They take turns, so that all meet the same machine; what is reported are medians.
func BenchmarkTenantRequest(b *testing.B) {
	type kind struct {
		name    string
		members *Members
		ids     []ID
		took    []time.Duration
	}
	oneMembers, oneID := benchIDs(b, testenv.NewPostgres(b), 1)
	db := testenv.NewPostgres(b)
	members, ids := benchIDs(b, db, 1000)
	// Connections of its own, on which no other tenant was asked for.
	apart, err := postgres.OpenServing(b.Context(), db.DSN, false)
	if err != nil {
		b.Fatal(err)
	}
	defer apart.Close()
	kinds := []*kind{{name: "µs/of-1", members: oneMembers, ids: oneID}, {name: "µs/of-1000", members: NewMembers(&Schemas{pool: apart}), ids: ids[:1]},
		{name: "µs/of-1000-in-turn", members: members, ids: ids}}
	request := func(k *kind, i int) time.Duration {
		began := time.Now()
		if list, err := k.members.List(b.Context(), k.ids[i%len(k.ids)]); err != nil || len(list) != 1 {
			b.Fatalf("got %v, %v", list, err)
		}
		return time.Since(began)
	}
	for i := range ids { // what a connection reads of the catalogue once
		for _, k := range kinds {
			request(k, i)
		}
	}
	i := 0
	for b.Loop() {
		for _, k := range kinds {
			k.took = append(k.took, request(k, i))
		}
		i++
	}
	for _, k := range kinds {
		slices.Sort(k.took)
		b.ReportMetric(float64(k.took[len(k.took)/2].Nanoseconds())/1000, k.name)
	}
	b.ReportMetric(0, "ns/op") // of all three together: says nothing
}
