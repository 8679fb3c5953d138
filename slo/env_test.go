package slo

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// env is a store and a reader on databases of a test's own.
type env struct {
	ch     *testenv.ClickHouse
	pg     *testenv.Postgres
	store  *Store
	reader *Reader
	plans  fixedPlans
}

type fixedPlans map[tenant.ID]tenant.Plan

func (p fixedPlans) Plans(context.Context) (map[tenant.ID]tenant.Plan, error) { return p, nil }

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{ch: testenv.NewClickHouse(t), pg: testenv.NewPostgres(t), plans: fixedPlans{}}
	var err error
	e.store, err = NewStore(StoreOptions{Pool: e.pg.Pool, ClickHouse: e.ch.Conn, Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	e.reader, err = NewReader(ReaderOptions{ClickHouse: e.ch.Conn, Store: e.store, Plans: e.plans})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// apply parses and applies definitions.
func (e *env) apply(t testing.TB, src string) Changes {
	t.Helper()
	defs, err := Parse("test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := e.store.Apply(t.Context(), "tester", defs, false)
	if err != nil {
		t.Fatal(err)
	}
	if changes.Deferred {
		t.Fatal("the objectives did not reach ClickHouse")
	}
	return changes
}

// request is a row of requests.
type request struct {
	TS         time.Time `ch:"ts"`
	Product    string    `ch:"product"`
	Tenant     string    `ch:"tenant"`
	Service    string    `ch:"service"`
	Route      string    `ch:"route"`
	Method     string    `ch:"method"`
	Version    string    `ch:"version"`
	Status     uint16    `ch:"status"`
	Error      uint8     `ch:"error"`
	DurationNs uint64    `ch:"duration_ns"`
}

func (e *env) insert(t testing.TB, requests ...request) {
	t.Helper()
	batch, err := e.ch.Owner.PrepareBatch(t.Context(), "INSERT INTO requests")
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		if err := batch.AppendStruct(&requests[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}
