package collector

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A segment of requests with one span each, all of them refused in part, as a former version wrote their messages, on a disk
// that is full: the reserve makes room for all of their receipts, and they are known after a restart.
func TestReceiptsOfTheLargestSegmentFitIntoTheReserve(t *testing.T) {
	const most = 250_000 + 10_000 // Options.MaxSegmentSpans, and what came with the last commit
	dir, now := t.TempDir(), time.Now()
	left := int64(1 << 40)
	d := newTestDisk(nil)
	full := &fullDisk{testDisk: d, left: &left}
	open := func() (*spool, []receipt) {
		t.Helper()
		s := newSpool(full, spoolOptions{dir: dir, log: testLogger(t), maxSegment: 1 << 30, maxSpans: most, maxBytes: 1 << 40,
			remembered: 10 * time.Minute, reserveSize: reserveSize})
		rs, err := s.start(now)
		if err != nil {
			t.Fatal(err)
		}
		s.use()
		return s, rs
	}
	s, _ := open()
	receipts := make([]receipt, most)
	for i := range receipts {
		receipts[i] = receipt{digestOf("/v1/traces", int64(i%5), fmt.Append(nil, i)), now.Unix(), answer{int64(i), strings.Repeat("é", 300)}}
	}
	if err := s.append(appendRecord(nil, receipts, nil), most, 1, now); err != nil {
		t.Fatal(err)
	}
	s.seal()
	seg, _ := s.next(now)
	_, c, err := s.load(seg, nil)
	if err != nil || len(c.receipts()) != most {
		t.Fatal(len(c.receipts()), err)
	}
	left = 0 // but for what the reserve held
	if err := s.finish(seg, c.receipts(), now); err != nil {
		t.Fatal(err)
	}
	if s.takes() {
		t.Error("the reserve was not needed")
	}
	left = 1 << 40
	s.release()
	files, _ := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	size := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > reserveSize {
		t.Errorf("the receipts take %d bytes of %d", size, reserveSize)
	}
	s, got := open()
	defer s.release()
	if len(got) != most {
		t.Fatalf("%d receipts are known after a restart, want %d", len(got), most)
	}
	for i, r := range got {
		want := receipts[i]
		if want.answer = want.answer.brief(); i >= maxMessages {
			want.answer.message = ""
		}
		if r != want {
			t.Fatalf("receipt %d is %+v, want %+v", i, r, want)
		}
	}
}

// fullDisk has so many bytes left, and those of the reserve when it is removed.
type fullDisk struct {
	*testDisk
	left *int64
}

type fullFile struct {
	file
	left *int64
}

func (d *fullDisk) open(path string, flag int) (file, error) {
	f, err := d.testDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return fullFile{f, d.left}, nil
}

func (d *fullDisk) remove(path string) error {
	if filepath.Base(path) == reserveName {
		*d.left += reserveSize
	}
	return d.testDisk.remove(path)
}

func (f fullFile) Write(p []byte) (int, error) {
	if int64(len(p)) > *f.left {
		return 0, syscall.ENOSPC
	}
	*f.left -= int64(len(p))
	return f.file.Write(p)
}

// What one frame holds is lost with it, and no more.
func TestDamagedFrameOfReceipts(t *testing.T) {
	now := time.Now()
	j := journal{disk: osDisk{}, dir: t.TempDir(), length: time.Minute}
	receipts := make([]receipt, 200_000)
	for i := range receipts {
		receipts[i] = receipt{digestOf("/", 1, fmt.Append(nil, i)), now.Unix(), answer{}}
	}
	if err := j.add(receipts, now); err != nil {
		t.Fatal(err)
	}
	j.close()
	src := append([]byte{}, j.buf...)
	src[len(src)/2] ^= 1
	rs, damaged := parseReceipts(src)
	if damaged < nextFrame || damaged > 2*nextFrame || len(rs) < 100_000 || len(rs) == len(receipts) || rs[len(rs)-1] != receipts[len(receipts)-1] {
		t.Errorf("%d of %d receipts are left, %d bytes are damaged", len(rs), len(receipts), damaged)
	}
}
