package collector

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// startWithBadSegment runs a collector whose first segment cannot be inserted, for as long as bad says so, and returns
// it when that segment has failed once.
func startWithBadSegment(t *testing.T, db *testenv.ClickHouse, dir string, spoil func(path string), bad func() error) *running {
	t.Helper()
	c, err := New(Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), Linger: time.Millisecond,
		SealAfter: 10 * time.Millisecond, StopTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		token string
		tried = make(chan struct{})
	)
	insert := c.writer.insert
	c.writer.insert = func(ctx context.Context, tb table, of string, blocks [][]byte) error {
		mu.Lock()
		first := token == ""
		if first {
			token = of[:32] // the segment's id
		}
		mine := strings.HasPrefix(of, token)
		mu.Unlock()
		if first {
			segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
			spoil(segments[0])
			defer close(tried)
		}
		if mine {
			if err := bad(); err != nil {
				return err
			}
		}
		return insert(ctx, tb, of, blocks)
	}
	r := run(t, c)
	r.send(t, mixed(8, 1)...)
	<-tried
	return r
}

// While ClickHouse refuses one segment, what comes after it is there as soon as ever: it does not wait until a segment
// is full.
func TestRefusedSegmentDoesNotDelayOthers(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := startWithBadSegment(t, db, t.TempDir(), func(string) {}, func() error {
		return &refusedError{status: http.StatusBadRequest, code: "117", text: "no"}
	})
	for n := range 3 {
		r.send(t, mixed(8, 1)...)
		awaitCounts(t, db, wantMixed(8*uint64(n+1)))
	}
}

// The same holds for a segment whose file is gone.
func TestVanishedSegmentLetsOthersPass(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := startWithBadSegment(t, db, t.TempDir(), func(path string) {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Error(err)
		}
	}, func() error { return errInjected })
	for n := range 3 {
		r.send(t, mixed(8, 1)...)
		awaitCounts(t, db, wantMixed(8*uint64(n+1)))
	}
}

// The same holds for one that the disk does not give back, whose reading or opening fails: it is neither given up nor put
// aside, and goes in when the disk gives it back.
func TestUnreadableSegmentLetsOthersPass(t *testing.T) {
	for step, because := range map[string]error{"open": syscall.EACCES, "read": syscall.EINTR} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			dir := t.TempDir()
			var (
				unreadable atomic.Pointer[string]
				failures   atomic.Int64
			)
			d := newTestDisk(func(name, path string) error {
				if bad := unreadable.Load(); name == step && bad != nil && path == *bad {
					failures.Add(1)
					return because
				}
				return nil
			})
			var away atomic.Bool
			away.Store(true)
			r := faulty(t, db, dir, func(_ table, insert func() error) error {
				if away.Load() {
					return errInjected
				}
				return insert()
			}, func(o *Options) { o.disk = d })
			r.send(t, mixed(8, 1)...)
			awaitIdle(t, r) // it was tried, so it is sealed
			segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
			unreadable.Store(&segments[0])
			away.Store(false)
			for n := range 3 {
				r.send(t, mixed(8, 1)...)
				awaitCounts(t, db, wantMixed(8*uint64(n+1)))
			}
			if failures.Load() == 0 || len(quarantined(t, dir)) > 0 {
				t.Errorf("it was tried %d times; in the quarantine: %v", failures.Load(), quarantined(t, dir))
			}
			unreadable.Store(nil)
			awaitCounts(t, db, wantMixed(32))
		})
	}
}

func awaitCounts(t *testing.T, db *testenv.ClickHouse, want counts) {
	t.Helper()
	deadline := time.After(30 * time.Second) // starved rows never come, so the bound only says how long a failure takes
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got := countAll(t, db)
		if got == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("counts:\n got %+v\nwant %+v", got, want)
		case <-tick.C:
		}
	}
}
