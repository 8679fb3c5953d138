package collector

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// between puts a proxy between the collector and ClickHouse. fault may answer, or cut the connection by a panic with
// http.ErrAbortHandler; else ClickHouse gets the request. It returns the DSN that leads through the proxy.
func between(t *testing.T, db *testenv.ClickHouse, fault func(w http.ResponseWriter, r *http.Request) (answered bool)) string {
	t.Helper()
	cfg, err := clickhouse.ParseDSN(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	real := httputil.NewSingleHostReverseProxy(cfg.HTTP)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fault(w, r) {
			real.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("http_port", at.Port())
	u.Host, u.RawQuery = at.Hostname()+":"+u.Port(), q.Encode()
	return u.String()
}

// firstSegment recognizes the inserts of the first segment that it sees.
type firstSegment struct {
	mu sync.Mutex
	id string
}

func (f *firstSegment) is(token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token == "" {
		return false // no insert
	}
	if f.id == "" {
		f.id = token[:32]
	}
	return strings.HasPrefix(token, f.id)
}

func (f *firstSegment) tried() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id != ""
}

func runSQL(t *testing.T, db *testenv.ClickHouse, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := db.Owner.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func quarantined(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, quarantineDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A segment over which ClickHouse ends each time does not block those behind it, and is put aside when it did so too
// often. Moved back, it is inserted at the next start.
func TestSegmentThatEndsClickHouse(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	var (
		first  firstSegment
		others atomic.Bool  // were inserted since the last kill
		kills  atomic.Int64 // after others
	)
	dsn := between(t, db, func(_ http.ResponseWriter, r *http.Request) bool {
		token := r.URL.Query().Get("insert_deduplication_token")
		if first.is(token) {
			if others.Swap(false) {
				kills.Add(1)
			}
			panic(http.ErrAbortHandler)
		}
		if token != "" {
			others.Store(true)
		}
		return false
	})
	r := start(t, db, dir, func(o *Options) { o.ClickHouseDSN = dsn })
	r.send(t, mixed(8, 1)...)
	await(t, first.tried) // or what comes next is in it
	deadline := time.Now().Add(time.Minute)
	sent := uint64(0)
	for len(quarantined(t, dir)) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("not put aside after %d kills", kills.Load())
		}
		r.send(t, mixed(8, 1)...)
		sent++
		awaitCounts(t, db, wantMixed(8*sent)) // the others do not wait for it to be put aside
	}
	if n := kills.Load(); n != maxKills {
		t.Errorf("ClickHouse ended %d times over one segment, after others, want %d", n, maxKills)
	}
	r.awaitEmptySpool(t)
	r.stop()

	aside := quarantined(t, dir)
	if len(aside) != 1 {
		t.Fatalf("in the quarantine: %v", aside)
	}
	if err := os.Rename(aside[0], filepath.Join(dir, filepath.Base(aside[0]))); err != nil {
		t.Fatal(err)
	}
	r = start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8*(sent+1)); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// A table that refuses a segment for good keeps it neither from the other tables nor from the quarantine, in the end. The
// tables that have it do not get it again from there, though they have forgotten its token; the other does once it takes it.
func TestTableThatRefusesASegmentForGood(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	runSQL(t, db, "ALTER TABLE trace_spans ADD CONSTRAINT trap CHECK span_id != unhex('0123456789abcdef')",
		"ALTER TABLE requests MODIFY SETTING non_replicated_deduplication_window = 1",
		"ALTER TABLE load_1m MODIFY SETTING non_replicated_deduplication_window = 1")
	c, err := New(Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), Linger: time.Millisecond,
		SealAfter: time.Millisecond, StopTimeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c.writer.tokenLife = 12
	r := run(t, c)
	poison := mixed(8, 1)
	poison[3].SpanId = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	body := encode(t, export(poison...))
	r.sendBody(t, body)
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	sent := uint64(0)
	deadline := time.Now().Add(time.Minute)
	for len(quarantined(t, dir)) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("not put aside; at first in the spool: %v", segments)
		}
		r.send(t, mixed(8, 1)...)
		sent++
		want := wantMixed(8 * (sent + 1))
		want.spans -= 8
		awaitCounts(t, db, want)
	}
	r.awaitEmptySpool(t)
	r.stop()
	aside := quarantined(t, dir)
	if len(aside) != 1 || !strings.HasSuffix(aside[0], "-requests-load_1m-ingest_1m"+segmentSuffix) {
		t.Fatalf("in the quarantine: %v", aside)
	}

	if err := os.Rename(aside[0], filepath.Join(dir, filepath.Base(aside[0]))); err != nil {
		t.Fatal(err)
	}
	runSQL(t, db, "ALTER TABLE trace_spans DROP CONSTRAINT trap")
	r = start(t, db, dir)
	r.awaitEmptySpool(t)
	r.sendBody(t, body) // is still known
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8*(sent+1)); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// What a table has of a segment that another refuses is known after a restart too.
func TestRestartKnowsWhichTablesHaveASegment(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	runSQL(t, db, "ALTER TABLE requests MODIFY SETTING non_replicated_deduplication_window = 1",
		"ALTER TABLE trace_spans RENAME COLUMN exception TO another")
	for range 3 {
		r := start(t, db, dir, func(o *Options) { o.StopTimeout = time.Millisecond })
		r.send(t, mixed(8, 1)...)
		awaitIdle(t, r)
		r.stop()
	}
	runSQL(t, db, "ALTER TABLE trace_spans RENAME COLUMN another TO exception")
	r := start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(24); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// Too many parts, a table that may only be read, or what else keeps ClickHouse from taking anything: nothing goes to the
// quarantine, and everything in when that is over.
func TestClickHouseThatTakesNothing(t *testing.T) {
	f := func(name string, refuse, mend []string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			dir := t.TempDir()
			r := start(t, db, dir)
			r.send(t, mixed(8, 1)...)
			r.awaitEmptySpool(t)
			runSQL(t, db, refuse...)
			for range 5 {
				r.send(t, mixed(8, 1)...)
			}
			awaitIdle(t, r)
			if s := r.Stats(); s.InsertError == "" {
				t.Fatalf("ClickHouse took everything: %+v", s)
			}
			runSQL(t, db, mend...)
			r.awaitEmptySpool(t)
			if got, want := countAll(t, db), wantMixed(48); got != want {
				t.Errorf("counts:\n got %+v\nwant %+v", got, want)
			}
			if q := quarantined(t, dir); len(q) != 0 {
				t.Errorf("in the quarantine: %v", q)
			}
		})
	}
	f("too many parts",
		[]string{"SYSTEM STOP MERGES requests", "ALTER TABLE requests MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1, max_delay_to_insert = 1"},
		[]string{"ALTER TABLE requests RESET SETTING parts_to_throw_insert, parts_to_delay_insert, max_delay_to_insert", "SYSTEM START MERGES requests"})
	f("table away", []string{"RENAME TABLE trace_spans TO spans_away"}, []string{"RENAME TABLE spans_away TO trace_spans"})
	f("read-only", []string{"ALTER TABLE requests MODIFY SETTING table_readonly = 1"}, []string{"ALTER TABLE requests MODIFY SETTING table_readonly = 0"})
}

// What answers in ClickHouse's place, while that is away, does not pass for it.
func TestSomethingElseAnswers(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	var answers atomic.Int64
	dsn := between(t, db, func(w http.ResponseWriter, _ *http.Request) bool {
		switch n := answers.Add(1); {
		case n <= 2:
			_, _ = w.Write([]byte("<h1>We will be back soon</h1>"))
		case n <= 4:
			http.Error(w, "no upstream", http.StatusBadGateway)
		default:
			return false
		}
		return true
	})
	r := start(t, db, t.TempDir(), func(o *Options) { o.ClickHouseDSN = dsn })
	r.send(t, mixed(8, 1)...)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// An insert that takes longer than it may is repeated, with more time, until ClickHouse has answered.
func TestClickHouseAnswersSlowly(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	const takes = 500 * time.Millisecond
	var late atomic.Int64
	dsn := between(t, db, func(_ http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body) // before that, nobody sees that a client is gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		<-time.After(takes)
		if r.Context().Err() != nil {
			late.Add(1)
		}
		return false
	})
	r := start(t, db, t.TempDir(), func(o *Options) { o.ClickHouseDSN, o.InsertTimeout = dsn, takes/4 })
	r.send(t, mixed(8, 1)...)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if late.Load() == 0 {
		t.Error("no insert took too long")
	}
}
