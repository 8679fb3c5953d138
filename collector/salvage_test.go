package collector

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// makeDamaged puts a segment of three records into the directory, the second of which is damaged, and returns its path.
func makeDamaged(t *testing.T, dir string, now time.Time) (path string, src []byte) {
	t.Helper()
	id := segmentID{7}
	src = appendSegmentHeader(nil, id, now)
	for i := range 3 {
		if i == 1 {
			defer func(at int) { src[at+recordHeader+5] ^= 1; writeFile(t, path, src) }(len(src))
		}
		src = appendRecord(src, []receipt{{digest: digest{byte(i)}, at: now.Unix()}}, []block{{table: tableRequests, rows: 1, raw: 1, data: []byte{byte(i)}}})
	}
	src = appendEnd(src)
	return filepath.Join(dir, segmentName(id, now, 0)), src
}

// Whatever step fails while a damaged file is put aside and its whole records take its place, once or for ever: the file as
// it was is never lost, nor its whole records, and in the end it lies in the quarantine once.
func TestFailingSalvageLosesNothing(t *testing.T) {
	f := func(step, times int) (reached bool) {
		dir, now := t.TempDir(), time.Now()
		path, src := makeDamaged(t, dir, now)
		n := 0
		d := newTestDisk(func(string, string) error {
			if n++; n >= step && n < step+times {
				return syscall.EIO
			}
			return nil
		})
		name := fmt.Sprintf("step %d fails %d times", step, times)
		intact := func(when string) {
			t.Helper()
			original, whole := false, false
			files, _ := filepath.Glob(filepath.Join(dir, "*"))
			for _, file := range append(files, quarantined(t, dir)...) {
				if got, err := os.ReadFile(file); err == nil && filepath.Base(file) != "lock" {
					original = original || bytes.Equal(got, src)
					whole = whole || len(parseSegment(got).records) == 2
				}
			}
			if !original || !whole {
				t.Fatalf("%s, %s: the file as it was is there: %t, its whole records: %t", name, when, original, whole)
			}
		}
		s := newSpool(d, spoolOptions{dir: dir, log: testLogger(t), maxBytes: 1 << 20, remembered: time.Minute, reserveSize: 1})
		_, err := s.start(now)
		for attempt := 0; err != nil && attempt <= times; attempt++ {
			_, err = s.start(now)
		}
		intact("after the start")
		if err == nil {
			s.use()
		}
		for range times { // as the writer tries it again
			if seg, _ := s.next(now); seg != nil {
				if _, c, err := s.load(seg, nil); err == nil && (c.damaged != "" || int64(c.intact) < seg.size) {
					_ = s.mend(seg, c, now)
				}
			}
			intact("later")
		}
		s.release()

		again := newSpool(osDisk{}, s.spoolOptions)
		if _, err := again.start(now); err != nil {
			t.Fatal(err)
		}
		defer again.release()
		intact("after another start")
		if c := parseSegment(readFile(t, path)); len(c.records) != 2 || c.damaged != "" || !c.sealed {
			t.Errorf("%s: in the spool are %d whole records, damaged %q", name, len(c.records), c.damaged)
		}
		// A failure for ever may leave a link that the next start does not know of.
		if aside := quarantined(t, dir); len(aside) == 0 || len(aside) > 1 && times == 1 || !strings.Contains(aside[0], damagedSuffix) {
			t.Errorf("%s: in the quarantine: %v", name, aside)
		}
		return n >= step
	}
	for _, times := range []int{1, 2, 3, 20} {
		for step := 1; f(step, times); step++ {
		}
	}
}
