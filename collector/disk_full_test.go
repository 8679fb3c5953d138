//go:build mounts

package collector

import (
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// awaitAccepted sends body until it gets its 200.
func (r *running) awaitAccepted(t *testing.T, body []byte) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		resp := r.post(t, "/v1/traces", body)
		if resp.status == http.StatusOK {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still refused: %d %q", resp.status, resp.body)
		case <-tick.C:
		}
	}
}

func (r *running) wantUnavailable(t *testing.T, body []byte) {
	t.Helper()
	if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
		t.Fatalf("status %d with Retry-After %q, want 503: %s", resp.status, resp.header.Get("Retry-After"), resp.body)
	}
}

// While ClickHouse is away, the spool fills its disk, and something else takes the rest, to the last byte. When ClickHouse
// is back, the spool empties without a byte being freed for it, and takes requests again.
func TestDiskFills(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	small := newSmallDisk(t, 2)
	var away atomic.Bool
	away.Store(true)
	r := faulty(t, db, filepath.Join(small.dir, "spool"), func(_ table, insert func() error) error {
		if away.Load() {
			return errInjected
		}
		return insert()
	}, func(o *Options) { o.reserveSize, o.MaxSegment = 128<<10, 256<<10 })
	accepted := uint64(0)
	var refused []byte
	const spans = 2000
	for refused == nil {
		body := encode(t, export(mixed(spans, 1)...))
		switch resp := r.post(t, "/v1/traces", body); resp.status {
		case http.StatusOK:
			accepted++
		case http.StatusServiceUnavailable:
			refused = body
		default:
			t.Fatalf("status %d: %s", resp.status, resp.body)
		}
	}
	free := small.fill(t)
	r.wantUnavailable(t, refused)
	t.Logf("%d requests of %d spans filled the disk", accepted, spans)

	away.Store(false)
	r.awaitEmptySpool(t)
	r.awaitAccepted(t, refused) // in the room that the spool itself had taken
	free()
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed((accepted+1)*spans); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// A disk that is full or read-only at the start is no reason not to start: every request gets a 503 until the disk can be
// written, and then its 200. What was in the spool is inserted once.
func TestDiskThatCannotBeWrittenAtTheStart(t *testing.T) {
	f := func(name string, breakDisk func(t *testing.T, d *smallDisk) (mend func())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			small := newSmallDisk(t, 4)
			dir := filepath.Join(small.dir, "spool")
			reserve := func(o *Options) { o.reserveSize = 256 << 10 }
			before := faulty(t, db, dir, func(table, func() error) error { return errInjected }, reserve)
			sent := encode(t, export(mixed(8, 1)...))
			before.sendBody(t, sent)
			before.stop()
			if err := os.Remove(filepath.Join(dir, reserveName)); err != nil {
				t.Fatal(err)
			}

			mend := breakDisk(t, small)
			r := start(t, db, dir, reserve)
			body := encode(t, export(mixed(8, 1)...))
			r.wantUnavailable(t, body)
			mend()
			r.awaitAccepted(t, body)
			r.sendBody(t, sent) // is known from before
			r.awaitEmptySpool(t)
			if got, want := countAll(t, db), wantMixed(16); got != want {
				t.Errorf("counts:\n got %+v\nwant %+v", got, want)
			}
		})
	}
	f("full", func(t *testing.T, d *smallDisk) func() { return d.fill(t) })
	f("read-only", func(t *testing.T, d *smallDisk) func() {
		d.remount(t, "ro")
		return func() { d.remount(t, "rw") }
	})
	f("no directory", func(t *testing.T, d *smallDisk) func() {
		dir, away := filepath.Join(d.dir, "spool"), filepath.Join(d.dir, "away")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Rename(away, dir+".back"); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir+".back", dir); err != nil {
				t.Fatal(err)
			}
		}
	})
}
