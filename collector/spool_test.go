package collector

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// fillSpool makes a spool with one segment of n records, 8 spans of mixed in each, and returns the segment's path.
func fillSpool(t *testing.T, db *testenv.ClickHouse, dir string, n int) string {
	t.Helper()
	r := faulty(t, db, dir, func(table, func() error) error { return errInjected }, func(o *Options) { o.SealAfter = time.Hour })
	for range n {
		r.send(t, mixed(8, 1)...)
	}
	r.stop()
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if len(segments) != 1 {
		t.Fatalf("%d segments, want 1", len(segments))
	}
	return segments[0]
}

// A write that a crash cut anywhere was never acknowledged: what was before it is stored, and nothing else is.
func TestTornSegment(t *testing.T) {
	db := testenv.NewClickHouse(t)
	whole, err := os.ReadFile(fillSpool(t, db, t.TempDir(), 3))
	if err != nil {
		t.Fatal(err)
	}
	records := parseSegment(whole).records
	last := records[2]
	for _, cut := range []int{last.offset + 1, last.offset + recordHeader, last.offset + len(last.raw)/2, last.offset + len(last.raw) - 1} {
		var zeroed []byte // a crash of the machine may leave the size and lose the bytes
		zeroed = append(append(zeroed, whole[:cut]...), make([]byte, last.offset+len(last.raw)-cut)...)
		for _, src := range [][]byte{whole[:cut], zeroed} {
			if len(src) > cut && bytes.Equal(src[cut:], whole[cut:len(src)]) {
				continue // the lost bytes were zeros
			}
			c := parseSegment(src)
			if len(c.records) != 2 || c.damaged != "" || c.intact != last.offset {
				t.Errorf("cut at %d: %d records, intact %d, damaged %q", cut, len(c.records), c.intact, c.damaged)
			}
		}
	}

	dir := t.TempDir()
	path := fillSpool(t, db, dir, 3)
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := parseSegment(src)
	if err := os.WriteFile(path, src[:c.records[2].offset+len(c.records[2].raw)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	torn := metrics.torn.Get()
	r := start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(16); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if metrics.torn.Get() == torn {
		t.Error("the torn write was not counted")
	}
}

// Damage costs the record it is in, and blocks neither the segment's others nor other segments.
func TestDamagedSegmentIsPutAside(t *testing.T) {
	f := func(name string, kept uint64, spoil func(src []byte, c contents)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			dir := t.TempDir()
			path := fillSpool(t, db, dir, 3)
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoil(src, parseSegment(bytes.Clone(src)))
			if err := os.WriteFile(path, src, 0o600); err != nil {
				t.Fatal(err)
			}
			r := start(t, db, dir)
			r.send(t, mixed(8, 1)...)
			r.awaitEmptySpool(t)
			if got, want := countAll(t, db), wantMixed(8*(kept+1)); got != want {
				t.Errorf("counts:\n got %+v\nwant %+v", got, want)
			}
			aside, err := os.ReadFile(filepath.Join(dir, quarantineDir, filepath.Base(path)+damagedSuffix))
			if err != nil || !bytes.Equal(aside, src) {
				t.Errorf("the damaged file is not in the quarantine as it was: %v", err)
			}
		})
	}
	f("payload of the first record", 2, func(src []byte, c contents) { src[c.records[0].offset+100] ^= 1 })
	f("header of the second record", 2, func(src []byte, c contents) { src[c.records[1].offset+8] ^= 1 })
	f("last record of a sealed segment", 2, func(src []byte, c contents) { src[c.records[2].offset+50] ^= 1 })
	f("header of the file", 3, func(src []byte, _ contents) { src[3] ^= 1 })
	f("everything", 0, func(src []byte, c contents) {
		for _, r := range c.records {
			src[r.offset+60] ^= 1
		}
	})
}

// Damage that comes while a segment waits is found before its bytes go to ClickHouse.
func TestDamageWhileWaiting(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	broken, tried := make(chan struct{}), make(chan struct{})
	var (
		once sync.Once
		r    *running
	)
	r = faulty(t, db, dir, func(_ table, insert func() error) error {
		if seg, _ := r.spool.next(time.Now()); seg.attempts > 0 {
			return insert()
		}
		once.Do(func() { close(tried) })
		<-broken
		return errInjected
	}, func(o *Options) { o.SealAfter, o.MaxSegmentSpans = time.Hour, 16 })
	r.send(t, mixed(8, 1)...)
	r.send(t, mixed(8, 1)...)
	<-tried
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	f, err := os.OpenFile(segments[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), headerSize+100); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	close(broken)
	r.awaitEmptySpool(t)
	if got := countAll(t, db); got.spans != 8 {
		t.Errorf("%d spans are stored, want the 8 of the whole record", got.spans)
	}
}

func TestForeignFileAndSecondProcess(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "what"+segmentSuffix), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, db, dir)
	if _, err := os.Stat(filepath.Join(dir, quarantineDir, "what"+segmentSuffix)); err != nil {
		t.Error(err)
	}
	_, err := New(Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}})
	if err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("a second collector over the same spool: %v", err)
	}
	r.send(t, mixed(8, 1)...)
	r.awaitEmptySpool(t)
}

// A disk that cannot be written gets the client a 503, and the next request that can be stored is.
func TestDiskError(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, db, dir)
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	body := encode(t, export(mixed(8, 1)...))
	if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
		t.Errorf("status %d, want 503", resp.status)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	r.sendBody(t, body)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// A write that fails half-way is taken back.
func TestFailedWriteLeavesNothing(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	r := start(t, db, dir, func(o *Options) { o.SealAfter = time.Hour })
	r.send(t, mixed(8, 1)...)
	var limit int64
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if info, err := os.Stat(segments[0]); err == nil {
		limit = info.Size()
	}
	// The committer is idle: it has acknowledged all, and nothing else is on its way.
	ro, err := os.Open(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	_ = r.spool.file.Close()
	r.spool.file = ro // every write to it fails
	body := encode(t, export(mixed(8, 1)...))
	if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", resp.status)
	}
	if info, err := os.Stat(segments[0]); err == nil && info.Size() != limit {
		t.Errorf("segment has %d bytes, want %d", info.Size(), limit)
	}
	r.sendBody(t, body)
	r.stop()
	if got, want := countAll(t, db), wantMixed(16); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// What an operator watches is in the document that /metrics serves, while the collector runs.
func TestMetricsAreExported(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	r.send(t, mixed(8, 1)...)
	var out bytes.Buffer
	vm.WritePrometheus(&out, false)
	for _, name := range []string{"spool_bytes", "spool_segments", "spool_oldest_age_seconds", "accepted_spans_total", "received_bytes_total",
		"duplicate_requests_total", `rejected_spans_total{reason="trace_id"}`, "quarantined_segments_total", "insert_errors_total"} {
		if !strings.Contains(out.String(), "headroom_collector_"+name+" ") {
			t.Errorf("no metric %q", name)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var receipts []receipt
		for range rapid.IntRange(0, 5).Draw(t, "receipts") {
			r := receipt{at: rapid.Int64Range(0, 1<<32-1).Draw(t, "at"),
				answer: answer{rapid.Int64Range(0, 1<<20).Draw(t, "rejected"), rapid.String().Draw(t, "message")}}
			copy(r.digest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
			receipts = append(receipts, r)
		}
		var blocks []block
		for range rapid.IntRange(0, 5).Draw(t, "blocks") {
			blocks = append(blocks, block{table(rapid.IntRange(0, int(tables)-1).Draw(t, "table")), rapid.IntRange(1, 1000).Draw(t, "rows"),
				rapid.IntRange(1, 1000).Draw(t, "raw"), rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "data")})
		}
		rec := appendRecord(nil, receipts, blocks)
		src := appendEnd(append(appendSegmentHeader(nil, segmentID{1}, time.Unix(1, 0)), rec...))
		c := parseSegment(src)
		if !c.sealed || c.damaged != "" || c.intact != len(src) || len(c.records) != 1 {
			t.Fatalf("contents %+v", c)
		}
		got := c.records[0]
		if len(got.receipts) != len(receipts) || len(got.blocks) != len(blocks) {
			t.Fatalf("got %d receipts and %d blocks", len(got.receipts), len(got.blocks))
		}
		for i, r := range got.receipts {
			if r != receipts[i] {
				t.Fatalf("receipt %d: %+v, want %+v", i, r, receipts[i])
			}
		}
		for i, b := range got.blocks {
			if w := blocks[i]; b.table != w.table || b.rows != w.rows || b.raw != w.raw || !bytes.Equal(b.data, w.data) {
				t.Fatalf("block %d: %+v, want %+v", i, b, w)
			}
		}
		// No single changed bit goes unnoticed.
		bit := rapid.IntRange(headerSize*8, len(src)*8-1).Draw(t, "bit")
		src[bit/8] ^= 1 << (bit % 8)
		if d := parseSegment(src); d.damaged == "" && d.intact == len(src) {
			t.Fatalf("bit %d flipped unnoticed", bit)
		}
	})
}

func FuzzParseSegment(f *testing.F) {
	f.Add(appendEnd(appendRecord(appendSegmentHeader(nil, segmentID{}, time.Unix(1, 0)), []receipt{{}}, []block{{table: 1, rows: 1, data: []byte("x")}})))
	f.Fuzz(func(t *testing.T, src []byte) {
		c := parseSegment(src)
		if c.intact > len(src) {
			t.Fatalf("%d bytes intact of %d", c.intact, len(src))
		}
		// Behind valid CRCs anything may stand.
		_, _ = parseBatch(src)
	})
}
