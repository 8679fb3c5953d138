package collector

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// While ClickHouse is away, segments grow to their full size instead of being sealed by age; when it is back, they are
// inserted in the order in which they were acknowledged, in few parts, and in the memory of a few segments.
//
// It runs alone, for it measures memory.
func TestBacklog(t *testing.T) {
	db := testenv.NewClickHouse(t)
	const maxSegment, clients, spans, mostMemory = 64 << 10, 4, 200, 512 << 10
	requests := 100 * faultRounds(t, 4)
	var (
		away     atomic.Bool
		mu       sync.Mutex
		inserted []string // the segments, by the names of their files
		heap     uint64
		r        *running
	)
	away.Store(true)
	r = faulty(t, db, t.TempDir(), func(tb table, insert func() error) error {
		if away.Load() {
			return errInjected
		}
		if tb == tableRequests {
			seg, _ := r.spool.next(time.Now())
			mu.Lock()
			inserted = append(inserted, seg.path)
			mu.Unlock()
		}
		return insert()
	}, func(o *Options) { o.MaxSegment = maxSegment })
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range requests / clients {
				r.send(t, mixed(spans, 1)...)
			}
		})
	}
	wg.Wait()
	s := r.Stats()
	if most := int(s.BacklogBytes/maxSegment) + 2; s.BacklogFiles > most {
		t.Errorf("%d bytes wait in %d segments, want at most %d", s.BacklogBytes, s.BacklogFiles, most)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	away.Store(false)
	deadline := time.Now().Add(2 * time.Minute)
	for r.Stats().BacklogFiles > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the spool does not empty: %+v", r.Stats())
		}
		runtime.GC()
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapAlloc)
	}
	t.Logf("%d segments of %d bytes together; heap %d KiB before, at most %d KiB while they were inserted", s.BacklogFiles, s.BacklogBytes, before>>10, heap>>10)
	if s.BacklogBytes < 2*mostMemory {
		t.Errorf("a backlog of %d bytes says nothing about memory", s.BacklogBytes)
	}
	if heap > before+mostMemory {
		t.Errorf("emptying it took %d bytes of heap, want at most %d", heap-before, mostMemory)
	}
	if got, want := countAll(t, db), wantMixed(uint64(requests*spans)); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSorted(inserted) || len(inserted) < s.BacklogFiles {
		t.Errorf("%d segments were inserted in the order %v", len(inserted), inserted)
	}
}

// However requests arrive, no partition of a table comes near the number of parts at which ClickHouse delays inserts
// (1,000) or refuses them (3,000). Segments are sealed here 70 times as often as by default.
func TestPartsStayFew(t *testing.T) {
	const sealAfter, lasts, most = 10 * time.Millisecond, time.Second, 200
	f := func(name string, next func(i int) []*tracepb.Span) {
		t.Run(name, func(t *testing.T) {
			db := testenv.NewClickHouse(t)
			r := start(t, db, t.TempDir(), func(o *Options) { o.SealAfter = sealAfter })
			var highest uint64
			table, wanted, requests := "", uint64(0), 0
			for began := time.Now(); time.Since(began) < lasts; requests++ {
				batch := next(requests)
				r.send(t, batch...)
				wanted += uint64(len(batch)+2) / 4 * 2 // of four spans of mixed, the first two
				var (
					n  uint64
					of string
				)
				if err := db.Owner.QueryRow(t.Context(), `SELECT max(n), argMax(part, n) FROM (
					SELECT concat(table, ' ', partition) AS part, count() AS n FROM system.parts
					WHERE database = currentDatabase() AND active AND table NOT LIKE 'goose%' GROUP BY part)`).Scan(&n, &of); err != nil {
					t.Fatal(err)
				}
				if n > highest {
					highest, table = n, of
				}
			}
			r.awaitEmptySpool(t)
			t.Logf("%d requests: at most %d parts, of %s", requests, highest, table)
			if highest > most {
				t.Errorf("%d parts of %s at a time, want at most %d", highest, table, most)
			}
			if got := countAll(t, db); got.requests != wanted || got.hourRequests != wanted {
				t.Errorf("%d requests, %d in the rollup, want %d", got.requests, got.hourRequests, wanted)
			}
		})
	}
	f("few spans at a time", func(int) []*tracepb.Span { return mixed(2, 1) })
	f("a month of history in every request", func(int) []*tracepb.Span { return mixed(4*29, 29) })
	f("10,000 tenants", func(i int) []*tracepb.Span {
		spans := mixed(100, 1)
		for n, s := range spans {
			s.Attributes = append(s.Attributes, text("tenant.id", fmt.Sprint("tenant-", (i*100+n)%10_000)))
		}
		return spans
	})
}
