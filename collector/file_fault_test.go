package collector

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func writeFile(t *testing.T, path string, src []byte) {
	t.Helper()
	if err := os.WriteFile(path, src, 0o600); err != nil {
		t.Fatal(err)
	}
}

// resealed returns a segment's bytes with the headers of the file and of its first record made valid again.
func resealed(src []byte) []byte {
	binary.LittleEndian.PutUint32(src[headerSize-4:], crc32.Checksum(src[:headerSize-4], castagnoli))
	rec := src[headerSize:]
	n := int(binary.LittleEndian.Uint32(rec[8:]))
	binary.LittleEndian.PutUint32(rec[12:], crc32.Checksum(rec[recordHeader:recordHeader+n], castagnoli))
	binary.LittleEndian.PutUint32(rec[16:], crc32.Checksum(rec[:16], castagnoli))
	return src
}

// A file that could neither be made durable nor removed, before the machine crashed, is no damaged one: it never had a record.
func TestFileThatNeverHadARecord(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	fillSpool(t, db, dir, 1)
	at := time.Unix(1, 0) // older than the other
	src := appendSegmentHeader(nil, segmentID{1}, at)
	clear(src[headerSize/2:])
	path := filepath.Join(dir, segmentName(segmentID{1}, at, 0))
	writeFile(t, path, src)
	r := start(t, db, dir)
	r.awaitEmptySpool(t)
	r.stop()
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if aside := quarantined(t, dir); len(aside) > 0 {
		t.Errorf("in the quarantine: %v", aside)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// What a newer headroom wrote is inserted as far as it is known; the rest waits in the quarantine for that version, which
// inserts nothing twice.
func TestFileOfANewerVersion(t *testing.T) {
	f := func(name string, known bool, change func(src []byte, c contents) []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testenv.NewClickHouse(t)
			dir := t.TempDir()
			path := fillSpool(t, db, dir, 1)
			old := readFile(t, path)
			writeFile(t, path, resealed(change(bytes.Clone(old), parseSegment(bytes.Clone(old)))))

			r := start(t, db, dir)
			r.send(t, mixed(8, 1)...)
			r.awaitEmptySpool(t)
			r.stop()
			want := wantMixed(8)
			if known {
				want = wantMixed(16)
			}
			if got := countAll(t, db); got != want {
				t.Errorf("counts:\n got %+v\nwant %+v", got, want)
			}
			aside := quarantined(t, dir)
			if len(aside) != 1 || strings.HasSuffix(aside[0], damagedSuffix) {
				t.Fatalf("in the quarantine: %v", aside)
			}
			// The newer version, for which the file is like any other, gets it back.
			writeFile(t, aside[0], old)
			if err := os.Rename(aside[0], filepath.Join(dir, filepath.Base(aside[0]))); err != nil {
				t.Fatal(err)
			}
			r = start(t, db, dir)
			r.awaitEmptySpool(t)
			if got, want := countAll(t, db), wantMixed(16); got != want {
				t.Errorf("counts after the upgrade:\n got %+v\nwant %+v", got, want)
			}
		})
	}
	f("format", false, func(src []byte, _ contents) []byte {
		src[len(segmentMagic)]++
		return src
	})
	f("kind of record", false, func(src []byte, c contents) []byte {
		src[c.records[0].offset+4] = 77
		return src
	})
	f("table", true, func(src []byte, c contents) []byte {
		blocks := append(c.records[0].blocks, block{table: 200, rows: 1, raw: 5, data: []byte("hello")})
		return appendEnd(append(src[:headerSize:headerSize], appendRecord(nil, c.records[0].receipts, blocks)...))
	})
}

// A file that lost its end is not taken for one that a crash tore: it is inserted as far as it goes, and reported.
func TestTruncatedSegment(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	path := fillSpool(t, db, dir, 3)
	c := parseSegment(readFile(t, path))
	if err := os.Truncate(path, int64(c.records[2].offset+50)); err != nil {
		t.Fatal(err)
	}
	// There is a newer one, so a crash cannot have torn it.
	newer := faulty(t, db, dir, func(table, func() error) error { return errInjected })
	newer.stop()
	truncated := metrics.truncated.Get()
	if err := os.Truncate(path, int64(c.records[2].offset)); err != nil {
		t.Fatal(err)
	}
	newer = faulty(t, db, dir, func(table, func() error) error { return errInjected })
	newer.send(t, mixed(8, 1)...)
	newer.stop()
	if err := os.Truncate(path, int64(c.records[2].offset-1)); err != nil {
		t.Fatal(err)
	}
	r := start(t, db, dir)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(16); got != want { // a record of the truncated file, and the newer one
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if metrics.truncated.Get() == truncated {
		t.Error("the truncated file was not reported")
	}
}

// The same while it waits: its whole records are inserted, and the file is kept.
func TestTruncatedWhileWaiting(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	path := fillSpool(t, db, dir, 3)
	c := parseSegment(readFile(t, path))
	var away atomic.Bool
	away.Store(true)
	r := faulty(t, db, dir, func(_ table, insert func() error) error {
		if away.Load() {
			return errInjected
		}
		return insert()
	})
	awaitIdle(t, r)
	if err := os.Truncate(path, int64(c.records[1].offset+50)); err != nil {
		t.Fatal(err)
	}
	away.Store(false)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if aside := quarantined(t, dir); len(aside) != 1 || !strings.HasSuffix(aside[0], damagedSuffix) {
		t.Errorf("in the quarantine: %v", aside)
	}
}

// A file that somebody removed is reported, and nothing waits for it.
func TestVanishedSegment(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	path := fillSpool(t, db, dir, 1)
	var away atomic.Bool
	away.Store(true)
	r := faulty(t, db, dir, func(_ table, insert func() error) error {
		if away.Load() {
			return errInjected
		}
		return insert()
	})
	awaitIdle(t, r)
	vanished := metrics.vanished.Get()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	away.Store(false)
	r.send(t, mixed(8, 1)...)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if metrics.vanished.Get() != vanished+1 {
		t.Error("the file that is gone was not reported")
	}
}

// badSector is a disk that does not give back one place of a file.
type badSector struct {
	osDisk
	at, size int64 // of the file, which the one that takes its place has not
}

func (d badSector) open(path string, flag int) (file, error) {
	f, err := d.osDisk.open(path, flag)
	if err != nil || flag != os.O_RDONLY || !strings.HasSuffix(path, segmentSuffix) {
		return f, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != d.size {
		return f, err
	}
	return &badFile{f, d.at}, nil
}

type badFile struct {
	file
	at int64
}

func (f *badFile) Read([]byte) (int, error) { return 0, &fs.PathError{Op: "read", Err: syscall.EIO} }

func (f *badFile) ReadAt(p []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(p)) {
		return 0, &fs.PathError{Op: "read", Err: syscall.EIO}
	}
	return f.file.ReadAt(p, off)
}

// A sector that the disk does not give back costs the records in it, not the others of the file.
func TestBadSector(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	r := faulty(t, db, dir, func(table, func() error) error { return errInjected }, func(o *Options) { o.SealAfter = time.Hour })
	for range 3 {
		r.send(t, mixed(800, 1)...)
	}
	r.stop()
	segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	src := readFile(t, segments[0])
	c := parseSegment(src)
	if n := len(c.records[1].raw); n < 3*4096 {
		t.Fatalf("a record has %d bytes, too few to be in one sector alone", n)
	}
	r = start(t, db, dir, func(o *Options) { o.disk = badSector{at: int64(c.records[1].offset + 6000), size: int64(len(src))} })
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(1600); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// Damage in the receipts costs those of the segments that it hits, and is reported.
func TestDamagedReceipts(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	r := start(t, db, dir)
	var bodies [][]byte
	for range 3 {
		bodies = append(bodies, encode(t, export(mixed(8, 1)...)))
		r.sendBody(t, bodies[len(bodies)-1])
		r.awaitEmptySpool(t)
	}
	r.stop()
	files, _ := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	src := readFile(t, files[0])
	src[frameHeader+3] ^= 1 // of the first frame
	writeFile(t, files[0], src)
	damaged := metrics.damagedReceipts.Get()
	r = start(t, db, dir)
	for _, body := range bodies[1:] {
		r.sendBody(t, body)
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(24); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	if metrics.damagedReceipts.Get() == damaged {
		t.Error("the damage was not reported")
	}
}

func FuzzParseReceipts(f *testing.F) {
	f.Add(append([]byte{24, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 24)...))
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, damaged := parseReceipts(src); damaged > len(src) {
			t.Fatalf("%d bytes damaged of %d", damaged, len(src))
		}
	})
}

// The quarantine is counted, and emptied only when the operator said after how long.
func TestQuarantineIsKeptUnlessToldOtherwise(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(osDisk{}, spoolOptions{dir: dir, log: testLogger(t), reserveSize: 1})
	if err := os.MkdirAll(filepath.Join(dir, quarantineDir), 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, age := range map[string]time.Duration{"old.seg": 49 * time.Hour, "new.seg": 47 * time.Hour} {
		path := filepath.Join(dir, quarantineDir, name)
		writeFile(t, path, []byte("hello"))
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	s.housekeep(0, now)
	if bytes, files := s.quarantineBytes.Load(), s.quarantineFiles.Load(); bytes != 10 || files != 2 {
		t.Errorf("%d bytes in %d files, want 10 in 2", bytes, files)
	}
	s.housekeep(48*time.Hour, now)
	if left := quarantined(t, dir); len(left) != 1 || filepath.Base(left[0]) != "new.seg" {
		t.Errorf("left: %v", left)
	}
}
