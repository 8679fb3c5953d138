package collector

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// recover looks through the spool at start. Segments that are sealed and too old to matter for the receipts are only
// queued: the writer checks what it reads. What cannot be mended now, because the disk is full or failing, is queued as
// it is and mended when its turn comes: only a directory that cannot be listed ends in an error.
func (s *spool) recover(now time.Time) ([]receipt, error) {
	entries, err := s.disk.list(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the spool: %w", err)
	}
	receipts, err := s.journal.load(entries, now)
	if err != nil { // no reason to accept nothing
		s.log.Error("requests of the last minutes that are sent again may be counted twice", "error", err)
	}
	s.forgetAll()
	var (
		segments []*segment
		found    []fs.DirEntry
	)
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), temporarySuffix):
			if err := s.disk.remove(filepath.Join(s.dir, e.Name())); err != nil {
				s.log.Warn("cannot remove a temporary spool file", "error", err)
			}
		case strings.HasSuffix(e.Name(), segmentSuffix) && e.Type().IsRegular():
			seg := &segment{path: filepath.Join(s.dir, e.Name())}
			if seg.id, seg.created, seg.inserted, err = parseSegmentName(e.Name()); err != nil {
				s.putForeignAside(e.Name(), err, now)
				continue
			}
			segments, found = append(segments, seg), append(found, e)
		}
	}
	var buf []byte
	for i, seg := range segments { // by age
		receipts = append(receipts, s.recoverSegment(seg, found[i], i == len(segments)-1, &buf, now)...)
	}
	if bytes, n, _ := s.backlog(); n > 0 {
		s.log.Info("replaying the spool", "segments", n, "bytes", bytes)
	}
	return receipts, nil
}

// forgetAll empties the queue that an earlier, failed start has filled.
func (s *spool) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.bytes = nil, 0
}

// recoverSegment queues a file, and returns the receipts in it if they may still matter.
func (s *spool) recoverSegment(seg *segment, e fs.DirEntry, newest bool, buf *[]byte, now time.Time) (rs []receipt) {
	info, err := e.Info()
	if err != nil {
		s.log.Error("cannot look at a spool segment; it is inserted after another start", "segment", seg.path, "error", err)
		return nil
	}
	seg.size = info.Size()
	if now.Sub(info.ModTime()) > s.remembered && s.endsSealed(seg) {
		s.enqueue(seg)
		return nil
	}
	mem, c, err := s.load(seg, *buf)
	for err != nil && seg.unreadable > 0 && seg.unreadable < readAttempts { // its receipts are needed before anything is taken
		mem, c, err = s.load(seg, mem)
	}
	*buf = reuse(mem)
	if err != nil {
		seg.torn = newest
		s.log.Error("cannot read a spool segment now; it is tried again", "segment", seg.path, "error", err)
		s.enqueue(seg)
		return nil
	}
	// One that is not the newest may have been left behind when it could neither be made nor removed; it has no record then.
	if (newest || seg.size <= headerSize) && neverSynced(mem, c) {
		metrics.torn.Inc()
		c.damaged = ""
	}
	if c.damaged == "" && !c.sealed && !newest {
		metrics.truncated.Inc()
		s.log.Error("a spool segment has lost its end, and maybe records that were acknowledged; its whole records are inserted",
			"segment", seg.path, "bytes", seg.size, "records", len(c.records))
	}
	seg.torn = !c.sealed
	if len(c.records) == 0 && c.newer == "" && c.damaged == "" {
		if err := s.disk.remove(seg.path); err != nil {
			s.log.Warn("cannot remove an empty spool segment", "error", err)
		}
		return nil
	}
	if err := s.mend(seg, c, now); err != nil {
		s.log.Error("cannot mend a spool segment now; it is tried again", "segment", seg.path, "error", err)
	}
	if seg.size > 0 {
		s.enqueue(seg)
	}
	return c.receipts()
}

// neverSynced says whether a file looks as if a crash of the machine had kept its size and lost its bytes from within the
// header on: then no record of it was ever acknowledged.
func neverSynced(src []byte, c contents) bool {
	if len(c.records) > 0 || c.sealed || c.damaged == "" {
		return false
	}
	for _, b := range src[min(headerSize, len(src)):] {
		if b != 0 {
			return false
		}
	}
	return true
}

func (c *contents) receipts() (rs []receipt) {
	for _, r := range c.records {
		rs = append(rs, r.receipts...)
	}
	return rs
}

// mend brings the file of a segment that is not in the queue, or is the writer's, into the shape in which it may be
// inserted: a torn write is cut off, and of a damaged file the whole records are kept. It sets seg.size; 0 says that
// nothing is left of it.
func (s *spool) mend(seg *segment, c contents, now time.Time) error {
	if c.damaged != "" || !seg.torn {
		if c.damaged == "" && int64(c.intact) == seg.size {
			return nil
		}
		return s.salvage(seg, c, now)
	}
	if torn := seg.size - int64(c.intact); torn > 0 {
		metrics.torn.Inc()
		s.log.Warn("cut a torn write off a spool segment; it was never acknowledged", "segment", seg.path, "bytes", torn)
	}
	end := appendEnd(nil)
	if err := cutFile(s.disk, seg.path, int64(c.intact), end); err != nil {
		if !isFull(err) || int64(c.intact) < seg.size {
			return err
		}
		end = nil // there was nothing to cut: it is whole without the end
	}
	seg.torn = false
	s.resize(seg, int64(c.intact+len(end)))
	return nil
}

// salvage keeps the damaged file in the quarantine and puts a file with its whole records in its place, under the same
// id: whatever ClickHouse has of it already, it knows by its tokens.
func (s *spool) salvage(seg *segment, c contents, now time.Time) error {
	out := appendSegmentHeader(nil, seg.id, seg.created)
	lost := seg.size - int64(len(out))
	for _, r := range c.records {
		out = append(out, r.raw...)
		lost -= int64(len(r.raw))
	}
	if !seg.kept { // the file as it was; after that, a failure may leave either of the two under its name
		if c.damaged == "" {
			c.damaged = fmt.Sprintf("bad record at byte %d", c.intact)
		}
		aside, err := s.keepDamaged(seg.path)
		if err != nil {
			return err
		}
		seg.kept = true
		s.wasPutAside(aside, now)
		metrics.damagedBytes.Add(int(max(0, lost)))
		s.log.Error("damaged spool segment put aside; its whole records are kept and inserted", "file", aside,
			"reason", c.damaged, "records_kept", len(c.records), "bytes_lost", max(0, lost))
	}
	var err error
	if len(c.records) == 0 {
		err, out = s.disk.remove(seg.path), nil
	} else {
		out = appendEnd(out)
		err = writeWhole(s.disk, seg.path, out)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the whole records of a damaged spool segment: %w", err)
	}
	seg.torn, seg.kept = false, false
	s.resize(seg, int64(len(out)))
	return nil
}

// resize notes the size of a segment that was mended, in the queue or before it gets there.
func (s *spool) resize(seg *segment, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queue {
		if q == seg {
			s.bytes += size - seg.size
		}
	}
	seg.size = size
}

// endsSealed says whether the file ends with the record that seals a segment.
func (s *spool) endsSealed(seg *segment) bool {
	if seg.size < headerSize+recordHeader {
		return false
	}
	f, err := s.disk.open(seg.path, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var tail [recordHeader]byte
	if _, err := f.ReadAt(tail[:], seg.size-recordHeader); err != nil {
		return false
	}
	kind, _, ok := parseRecordHeader(tail[:])
	return ok && kind == recordEnd
}
