package collector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// faulty runs a collector whose inserts go through fault, which gets the real insert to call or not.
func faulty(t *testing.T, db *testenv.ClickHouse, dir string, fault func(t table, insert func() error) error, set ...func(*Options)) *running {
	t.Helper()
	o := Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), Linger: time.Millisecond, SealAfter: time.Millisecond,
		StopTimeout: 10 * time.Millisecond}
	for _, f := range set {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	real := c.writer.insert
	c.writer.insert = func(ctx context.Context, tb table, token string, blocks [][]byte) error {
		return fault(tb, func() error { return real(ctx, tb, token, blocks) })
	}
	return run(t, c)
}

var errInjected = errors.New("injected")

// mixed returns n spans: of each four a good request, a failed one, a database call and an inner span, over days days.
func mixed(n, days int) []*tracepb.Span {
	var spans []*tracepb.Span
	for i := range n {
		var s *tracepb.Span
		switch i % 4 {
		case 0:
			s = server("GET /a", text("http.route", "/a"), number("http.response.status_code", 200))
		case 1:
			s = server("GET /b", text("http.route", "/b"), number("http.response.status_code", 500))
		case 2:
			s = span("GET k", tracepb.Span_SPAN_KIND_CLIENT, text("db.system.name", "redis"), text("server.address", "cache1"))
		default:
			s = span("work", tracepb.Span_SPAN_KIND_INTERNAL)
		}
		back := uint64(i/4%days) * uint64(24*time.Hour)
		s.StartTimeUnixNano -= back
		s.EndTimeUnixNano -= back
		spans = append(spans, s)
	}
	return spans
}

// wantMixed returns the counts of n spans of mixed, n a multiple of 4.
func wantMixed(n uint64) counts { return want(n, n/2, n/4, n/4) }

// eachFailure runs push once for each of the tables with a collector whose first inserts into that one fail, before they
// reached ClickHouse or after.
func eachFailure(t *testing.T, of []table, push func(t *testing.T, db *testenv.ClickHouse, r *running)) {
	for _, at := range of {
		for _, reached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_reached_%t", tableNames[at], reached), func(t *testing.T) {
				t.Parallel()
				db := testenv.NewClickHouse(t)
				failures := 3
				r := faulty(t, db, t.TempDir(), func(tb table, insert func() error) error {
					if tb != at || failures == 0 {
						return insert()
					}
					failures--
					if reached {
						if err := insert(); err != nil {
							t.Error(err)
						}
					}
					return errInjected
				})
				push(t, db, r)
				if failures > 0 {
					t.Error("nothing was inserted into the table, so nothing failed")
				}
			})
		}
	}
}

// Whatever step of an insert fails, everything is counted once.
func TestFailureAtEachStepCountsOnce(t *testing.T) {
	eachFailure(t, []table{tableRequests, tableSpans, tableLoad, tableIngest}, func(t *testing.T, db *testenv.ClickHouse, r *running) {
		r.send(t, mixed(400, 3)...)
		r.awaitEmptySpool(t)
		if got, want := countAll(t, db), wantMixed(400); got != want {
			t.Errorf("counts:\n got %+v\nwant %+v", got, want)
		}
	})
}

// A view that fails leaves the raw rows in and its target without: the repetition must add to the second only.
func TestFailingViewCountsOnce(t *testing.T) {
	for _, source := range []string{"requests", "latency_1m"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			exec := func(sql string) {
				t.Helper()
				if err := db.Owner.Exec(context.Background(), sql); err != nil {
					t.Fatal(err)
				}
			}
			exec("CREATE TABLE sink (x UInt8) ENGINE = Null")
			exec("CREATE MATERIALIZED VIEW trap TO sink AS SELECT toUInt8(throwIf(1)) AS x FROM " + source)
			var once sync.Once
			r := faulty(t, db, t.TempDir(), func(tb table, insert func() error) error {
				err := insert()
				if tb == tableRequests {
					once.Do(func() {
						if refused := (*refusedError)(nil); !errors.As(err, &refused) {
							t.Errorf("insert into requests with a failing view: %v", err)
						}
						exec("DROP VIEW trap")
					})
				}
				return err
			})
			r.send(t, mixed(400, 2)...)
			r.awaitEmptySpool(t)
			if got, want := countAll(t, db), wantMixed(400); got != want {
				t.Errorf("counts:\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

// A crash after ClickHouse took a segment and before it was deleted replays it.
func TestSegmentReplayedTwiceCountsOnce(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	down := faulty(t, db, dir, func(table, func() error) error { return errInjected })
	for range 5 {
		down.send(t, mixed(40, 2)...)
	}
	down.stop()
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if len(segments) == 0 {
		t.Fatal("no segment in the spool")
	}
	saved := map[string][]byte{}
	for _, s := range segments {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		saved[s] = b
	}
	for range 3 {
		for name, b := range saved {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := start(t, db, dir)
		r.awaitEmptySpool(t)
		r.stop()
		if got, want := countAll(t, db), wantMixed(200); got != want {
			t.Fatalf("counts:\n got %+v\nwant %+v", got, want)
		}
	}
}

// However small the batches come, ClickHouse gets one block a partition for each segment.
func TestManySmallBatchesMakeOneBlock(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	r := start(t, db, dir, func(o *Options) { o.SealAfter = time.Hour })
	if err := db.Owner.Exec(t.Context(), "SYSTEM STOP MERGES requests"); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		r.send(t, mixed(8, 1)...)
	}
	r.stop()
	var parts, rows uint64
	if err := db.Owner.QueryRow(t.Context(), `SELECT count(), sum(rows) FROM system.parts
		WHERE database = currentDatabase() AND table = 'requests' AND level = 0`).Scan(&parts, &rows); err != nil {
		t.Fatal(err)
	}
	if rows != 200 || parts > 2 { // 2 around midnight
		t.Errorf("got %d rows in %d parts, want 200 in 1", rows, parts)
	}
}

// Many clients, an insert that fails at random before or after it took effect, and restarts in between.
func TestRandomFailuresAndRestartsCountExactly(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	var (
		mu  sync.Mutex
		rng = rand.New(rand.NewPCG(1, 2))
	)
	chance := func(percent int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(100) < percent
	}
	const rounds, clients, sends, size = 4, 4, 10, 20
	for range rounds {
		r := faulty(t, db, dir, func(_ table, insert func() error) error {
			if chance(20) {
				return errInjected
			}
			err := insert()
			if chance(20) {
				return errInjected
			}
			return err
		}, func(o *Options) { o.MaxSegment = 20_000 })
		var wg sync.WaitGroup
		for range clients {
			var bodies [][]byte
			for range sends {
				bodies = append(bodies, encode(t, export(mixed(size, 2)...)))
			}
			wg.Go(func() {
				for _, b := range bodies {
					r.sendBody(t, b)
					if chance(30) {
						r.sendBody(t, b) // and some again
					}
				}
			})
		}
		wg.Wait()
		r.stop()
	}
	r := start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(rounds*clients*sends*size); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}
