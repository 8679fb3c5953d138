package collector

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// A segment that ClickHouse refuses waits longer and longer; those behind it do not wait for it.
func TestRefusedSegmentLetsOthersPass(t *testing.T) {
	db := testenv.NewClickHouse(t)
	var (
		mu      sync.Mutex
		refused string
	)
	dir := t.TempDir()
	o := Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), Linger: time.Millisecond, SealAfter: time.Millisecond, StopTimeout: time.Millisecond}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	insert := c.writer.insert
	first := make(chan struct{})
	c.writer.insert = func(ctx context.Context, tb table, token string, blocks [][]byte) error {
		mu.Lock()
		if refused == "" {
			refused = token[:32] // the segment's id
			close(first)
		}
		refuse := strings.HasPrefix(token, refused)
		mu.Unlock()
		if refuse {
			return &refusedError{status: http.StatusBadRequest, code: "117", text: "no"}
		}
		return insert(ctx, tb, token, blocks)
	}
	c.spool.maxSpans = 1 // every record is a segment
	r := run(t, c)
	r.send(t, mixed(8, 1)...)
	<-first
	for range 3 {
		r.send(t, mixed(8, 1)...)
	}
	deadline := time.Now().Add(30 * time.Second)
	for countAll(t, db) != wantMixed(24) || r.Stats().BacklogFiles != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("the others wait: %+v, %+v", countAll(t, db), r.Stats())
		}
	}
	r.stop()

	// It is not lost: the next start inserts it.
	r = start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(32); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

func TestBackoff(t *testing.T) {
	f := func(attempts int, want time.Duration) {
		t.Helper()
		if got := backoff(attempts, longPause); got != want {
			t.Errorf("backoff(%d) = %s, want %s", attempts, got, want)
		}
	}
	f(1, 50*time.Millisecond)
	f(2, 100*time.Millisecond)
	f(7, 3200*time.Millisecond)
	f(8, longPause)
	f(1_000_000, longPause)
}

// What was accepted before the end is stored by it; what comes later is told to come again.
func TestStop(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	c, err := New(Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), SealAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	body := encode(t, export(mixed(8, 1)...))
	d := digestOf("/v1/traces", 1, body)
	c.window.begin(d, time.Now())
	b, _, err := c.committer.add(request{signal: traces, body: body}, d, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	<-b.done
	cancel()
	if err := <-done; err != nil || b.err != nil {
		t.Fatal(err, b.err)
	}
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts after the stop:\n got %+v\nwant %+v", got, want)
	}
	if _, _, err := c.committer.add(request{signal: traces, body: body}, d, time.Now()); err != errStopping { //nolint:errorlint // the very one
		t.Errorf("a request after the stop got %v", err)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rate
		for range 20 {
			r.add(100, time.Now())
			time.Sleep(time.Second) // of the bubble
		}
		if got := r.perSecond(time.Now()); got != 100 {
			t.Errorf("rate %g, want 100", got)
		}
		time.Sleep(5 * time.Second)
		if got := r.perSecond(time.Now()); got != 50 {
			t.Errorf("rate %g after 5 s of silence, want 50", got)
		}
		time.Sleep(time.Minute)
		if got := r.perSecond(time.Now()); got != 0 {
			t.Errorf("rate %g after a minute of silence, want 0", got)
		}
	})
}
