package collector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexis-limited/headroom/clickhouse"
)

// roundTripper is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// ClickHouse may answer before it has read an insert, and a RoundTripper may go on reading it after that. What it reads must
// not be another segment, which takes the place of the first one in memory.
func TestAnsweredInsertReadsItsBlocksNoMore(t *testing.T) {
	cfg, err := clickhouse.ParseDSN("clickhouse://u:p@localhost:1/db")
	if err != nil {
		t.Fatal(err)
	}
	in := newInserter(cfg)
	var body io.Reader
	in.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		body = r.Body
		got := make([]byte, 4)
		if _, err := io.ReadFull(body, got); err != nil || string(got) != "abcd" || r.ContentLength != 8 {
			t.Errorf("read %q of %d bytes, %v", got, r.ContentLength, err)
		}
		return &http.Response{StatusCode: http.StatusInternalServerError, Header: http.Header{"X-Clickhouse-Exception-Code": {"241"}}, Body: io.NopCloser(strings.NewReader("no"))}, nil
	})
	blocks := [][]byte{[]byte("ab"), nil, []byte("cde"), []byte("fgh")}
	err = in.insert(t.Context(), tableSpans, "token", blocks)
	if refused := (*refusedError)(nil); !errors.As(err, &refused) || !refused.busy() {
		t.Errorf("got %v", err)
	}
	if rest, _ := io.ReadAll(body); len(rest) > 0 {
		t.Errorf("%q was read after the insert", rest)
	}
	if string(bytes.Join(blocks, nil)) != "abcdefgh" {
		t.Errorf("the blocks are %q now", blocks)
	}
}

// sealedSegment returns a writer over a spool with one segment, of rows of three tables, and the segment. Its disk is d.
func sealedSegment(t *testing.T, d disk, insert func(t table) error) (*writer, *segment) {
	t.Helper()
	s := newSpool(d, spoolOptions{dir: t.TempDir(), log: testLogger(t), maxBytes: 1 << 20, maxSegment: 1 << 20, maxSpans: 1000,
		remembered: time.Minute, reserveSize: 1})
	now := time.Now()
	if _, err := s.start(now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.release)
	s.use()
	var blocks []block
	for _, tb := range []table{tableRequests, tableSpans, tableLoad} {
		blocks = append(blocks, block{table: tb, rows: 1, raw: 1, data: []byte{1}})
	}
	if err := s.append(appendRecord(nil, []receipt{{at: now.Unix()}}, blocks), 1, 3, now); err != nil {
		t.Fatal(err)
	}
	s.seal()
	seg, _ := s.next(now)
	return &writer{spool: s, timeout: time.Minute, log: testLogger(t), tokenLife: tokenLife, maxDays: 33,
		insert: func(_ context.Context, tb table, _ string, _ [][]byte) error { return insert(tb) }}, seg
}

func refusedWith(code string) error { return &refusedError{status: 500, code: code, text: code} }

// When the inserts of several tables end in different ways, it is decided by what says most, whatever the order.
func TestBlame(t *testing.T) {
	away, silent, refused, busy := errors.New("away"), &unansweredError{errors.New("silent")}, refusedWith("117"), refusedWith("241")
	f := func(want blame, errs ...error) {
		t.Helper()
		for range errs {
			errs = append(errs[1:], errs[0])
			w, seg := sealedSegment(t, osDisk{}, nil)
			if got := w.blame(seg, joinFailures(errs)); got != want {
				t.Errorf("%v: blamed %d, want %d", errs, got, want)
			}
		}
	}
	f(nobody, away)
	f(nobody, away, refused, busy)
	f(nobody, silent, away, refused)
	f(theServer, busy, refused, nil)
	f(theSegment, refused, nil, refused)
	w, seg := sealedSegment(t, osDisk{}, nil)
	for n, want := range []blame{nobody, nobody, theServer, theServer} {
		if got := w.blame(seg, joinFailures([]error{refused, silent, silent})); got != want || seg.unanswered != n+1 {
			t.Errorf("silence %d: blamed %d after %d unanswered attempts, want %d", n+1, got, seg.unanswered, want)
		}
	}
	if seg.kills != 0 {
		t.Errorf("%d kills, though nothing else was inserted", seg.kills)
	}
}

// What ClickHouse cannot take side by side, for want of memory, it gets table by table.
func TestFailedSegmentGoesInTableByTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, begun atomic.Int64
		w, seg := sealedSegment(t, osDisk{}, func(table) error {
			defer inFlight.Add(-1)
			alone, nth := inFlight.Add(1) == 1, begun.Add(1)
			time.Sleep(time.Second) // of the bubble
			if !alone || begun.Load() > nth {
				return refusedWith("241")
			}
			return nil
		})
		w.work(t.Context(), seg)
		if seg.inserted != 0 {
			t.Errorf("inserted at first: %b", seg.inserted)
		}
		w.work(t.Context(), seg)
		if _, n, _ := w.spool.backlog(); n > 0 {
			t.Error("it is still in the spool")
		}
	})
}

// What tables took is noted when another one does not answer, so that no restart makes them take it anew after ClickHouse
// has forgotten it.
func TestInsertedTablesAreNoted(t *testing.T) {
	w, seg := sealedSegment(t, osDisk{}, func(tb table) error {
		if tb == tableSpans {
			return &unansweredError{errors.New("silence")}
		}
		return nil
	})
	if err := w.insertSegment(t.Context(), seg); err == nil {
		t.Fatal("it was inserted")
	}
	_, _, noted, err := parseSegmentName(seg.path)
	if err != nil || noted == 0 || noted != seg.inserted || noted.has(tableSpans) {
		t.Errorf("%q notes tables %b, want %b", seg.path, noted, seg.inserted)
	}
}

// A segment that ClickHouse has, and that cannot be removed, is not inserted again, uses up nobody's tokens, and does not go
// to the quarantine.
func TestInsertedSegmentThatCannotBeRemoved(t *testing.T) {
	var broken atomic.Bool
	inserts := 0
	w, seg := sealedSegment(t, newTestDisk(func(step, _ string) error {
		if step == "remove" && broken.Load() {
			return syscall.EROFS
		}
		return nil
	}), func(table) error { inserts++; return nil })
	seg.attempts = 1 // one by one, so that inserts need no lock
	w.tokenLife = 100
	broken.Store(true)
	for range 100 {
		if err := w.insertSegment(t.Context(), seg); err == nil {
			t.Fatal("it was removed")
		}
	}
	if w.blocks != 3 || w.finished != 1 || inserts != 3 {
		t.Errorf("%d blocks of %d segments count, after %d inserts; want 3, 1, 3", w.blocks, w.finished, inserts)
	}
	w.blocks += 1000 // of others
	broken.Store(false)
	if err := w.insertSegment(t.Context(), seg); err != nil {
		t.Error(err)
	}
	if q := quarantined(t, w.spool.dir); len(q) > 0 {
		t.Errorf("in the quarantine: %v", q)
	}
}
