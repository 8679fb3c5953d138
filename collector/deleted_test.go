package collector

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// leaving is what tenants come and go by, in a database of its own.
type leaving struct {
	deleted    *tenant.Deleted
	departures *tenant.Departures
	onboarding *tenant.Onboarding
}

func newLeaving(t *testing.T, db *testenv.ClickHouse) *leaving {
	t.Helper()
	pg := testenv.NewPostgres(t)
	ch, err := clickhouse.OpenHTTP(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ch.Close)
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	store, keys := tenant.NewStore(pg.Pool), tenant.NewKeys(pg.Pool)
	l := &leaving{tenant.NewDeleted(pg.Pool), tenant.NewDepartures(pg.Pool, pg.Owner, ch, store, keys, testLogger(t)),
		tenant.NewOnboarding(store, schemas, keys)}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = l.deleted.Run(ctx, testLogger(t), pg.Owner) })
	parts.Go(func() { _ = l.departures.Run(ctx) })
	t.Cleanup(func() { cancel(); parts.Wait() })
	return l
}

func (l *leaving) of(o *Options) { o.Deleted = l.deleted }

func (l *leaving) create(t *testing.T, id tenant.ID) {
	t.Helper()
	if _, err := l.onboarding.Create(t.Context(), "ops", tenant.NewTenant{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// awaitDone waits for the end of a deletion, and that nothing is left by its proof.
func (l *leaving) awaitDone(t *testing.T, id tenant.ID) tenant.Deletion {
	t.Helper()
	for {
		is, err := l.departures.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if is.State == "done" {
			for _, table := range is.Tables {
				if table.Left != 0 {
					t.Errorf("%s.%s has %d rows left", table.Database, table.Table, table.Left)
				}
			}
			return is
		}
		pause(t)
	}
}

// pause lets time pass in a loop that waits for something.
func pause(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("it takes too long")
	case <-time.After(20 * time.Millisecond):
	}
}

// sendKnown sends spans until the collector knows who was deleted.
func (r *running) sendKnown(t *testing.T, spans ...*tracepb.Span) {
	t.Helper()
	for body := encode(t, export(spans...)); ; pause(t) {
		res := r.post(t, "/v1/traces", body)
		if res.status == 200 {
			return
		}
		if res.status != 503 {
			t.Fatalf("got %d %s", res.status, res.body)
		}
	}
}

// spansOf returns n good requests of the tenant, half of them days old.
func spansOf(id string, n int) []*tracepb.Span {
	spans := make([]*tracepb.Span, n)
	for i := range spans {
		spans[i] = server("GET /a", text("http.route", "/a"), text("tenant.id", id))
		if i%2 == 1 {
			spans[i].StartTimeUnixNano -= uint64(48 * time.Hour)
			spans[i].EndTimeUnixNano -= uint64(48 * time.Hour)
		}
	}
	return spans
}

// awaitRows waits until the raw tables and a rollup hold so many requests of the tenant.
func awaitRows(t *testing.T, db *testenv.ClickHouse, id string, want uint64) {
	t.Helper()
	for {
		var spans, requests, rollup uint64
		if err := db.Owner.QueryRow(t.Context(), `SELECT (SELECT count() FROM trace_spans WHERE tenant = $1), (SELECT count() FROM requests WHERE tenant = $1),
			(SELECT sum(requests) FROM latency_1h WHERE tenant = $1)`, id).Scan(&spans, &requests, &rollup); err != nil {
			t.Fatal(err)
		}
		if spans == want && requests == want && rollup == want {
			return
		}
		if spans > want || requests > want || rollup > want {
			t.Fatalf("tenant %q has %d spans, %d requests, %d in the rollup; want %d", id, spans, requests, rollup, want)
		}
		pause(t)
	}
}

// TestDeletedTenantLeavesTheSpool deletes a tenant whose spans wait in the spool together with others', after ClickHouse took
// some of the tables and nobody heard of it.
func TestDeletedTenantLeavesTheSpool(t *testing.T) {
	t.Parallel()
	for _, reached := range []bool{false, true} {
		t.Run(fmt.Sprintf("reached_%t", reached), func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			l := newLeaving(t, db)
			var broken atomic.Bool
			broken.Store(true)
			r := faulty(t, db, t.TempDir(), func(_ table, insert func() error) error {
				if !broken.Load() {
					return insert()
				}
				if reached {
					_ = insert()
				}
				return errInjected
			}, l.of)
			gone := `it's "gone" \ `
			l.create(t, tenant.ID(gone))
			r.sendKnown(t, spansOf(gone, 10)...)
			r.sendKnown(t, append(spansOf("zeta", 7), spansOf(gone, 3)...)...)
			if _, err := l.departures.Delete(t.Context(), "ops", tenant.ID(gone)); err != nil {
				t.Fatal(err)
			}
			// It is refused within a second or so, each span by itself, while the others' are taken.
			zeta := uint64(7)
			for {
				p := r.send(t, append(spansOf("zeta", 1), spansOf(gone, 1)...)...)
				zeta++
				if p.GetRejectedSpans() == 1 {
					if !strings.Contains(p.GetErrorMessage(), "was deleted") {
						t.Errorf("it says %q", p.GetErrorMessage())
					}
					break
				}
				pause(t)
			}
			broken.Store(false)
			is := l.awaitDone(t, tenant.ID(gone))
			if len(is.Tables) < 10 {
				t.Errorf("it looked at %+v only", is.Tables)
			}
			awaitRows(t, db, "zeta", zeta)
			awaitRows(t, db, gone, 0)

			l.create(t, tenant.ID(gone))
			taken := uint64(0)
			for taken < 2 {
				if p := r.send(t, spansOf(gone, 1)...); p.GetRejectedSpans() == 0 {
					taken++
				}
				pause(t)
			}
			awaitRows(t, db, gone, taken)
			awaitRows(t, db, "zeta", zeta)
		})
	}
}

// TestDeadCollectorDropsWhoWasDeletedMeanwhile lets a collector die with a tenant's spans in its spool; the tenant is deleted,
// and taken on again, before another process finds them.
func TestDeadCollectorDropsWhoWasDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	l := newLeaving(t, db)
	dir := t.TempDir()
	l.create(t, "acme")
	r := faulty(t, db, dir, func(table, func() error) error { return errInjected }, l.of)
	r.sendKnown(t, append(spansOf("acme", 5), spansOf("zeta", 5)...)...)
	r.stop()
	if _, err := l.departures.Delete(t.Context(), "ops", "acme"); err != nil {
		t.Fatal(err)
	}
	if is := l.awaitDone(t, "acme"); len(is.Awaited) != 1 {
		t.Errorf("it waits for %v, want the collector that does not run", is.Awaited)
	}
	l.create(t, "acme")
	r = start(t, db, dir, l.of)
	awaitRows(t, db, "zeta", 5)
	taken := uint64(0)
	for taken < 2 {
		res := r.post(t, "/v1/traces", encode(t, export(spansOf("acme", 1)...)))
		if res.status == 200 && len(res.body) == 0 {
			taken++
		}
		pause(t)
	}
	awaitRows(t, db, "acme", taken)
}
