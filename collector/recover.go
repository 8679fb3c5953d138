package collector

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// recover looks through the spool at start. Segments that are sealed and too old to matter for the receipts are only
// queued: the writer checks what it reads.
func (s *spool) recover(now time.Time, remember time.Duration) ([]receipt, error) {
	if err := s.removeTemporary(); err != nil {
		return nil, err
	}
	receipts, err := s.journal.load(now)
	if err != nil { // no reason to accept nothing
		s.log.Error("requests of the last minutes that are sent again may be counted twice", "error", err)
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+segmentSuffix)) // sorted, so by age
	if err != nil {
		return nil, fmt.Errorf("cannot list the spool: %w", err)
	}
	var replayed int
	for _, name := range names {
		rs, kept, err := s.recoverSegment(name, now, remember)
		if err != nil {
			return nil, err
		}
		receipts = append(receipts, rs...)
		if kept {
			replayed++
		}
	}
	if replayed > 0 {
		s.log.Info("replaying the spool", "segments", replayed, "bytes", s.bytes)
	}
	return receipts, nil
}

func (s *spool) recoverSegment(path string, now time.Time, remember time.Duration) (rs []receipt, kept bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, fmt.Errorf("cannot look at spool segment: %w", err)
	}
	seg := &segment{path: path, size: info.Size()}
	if seg.id, seg.created, err = parseSegmentName(path); err != nil {
		return nil, false, s.putAside(seg, err.Error())
	}
	if now.Sub(info.ModTime()) > remember && endsSealed(path, info.Size()) {
		s.enqueue(seg)
		return nil, true, nil
	}
	_, c, err := s.load(seg, nil)
	if err != nil {
		s.log.Error("cannot read a spool segment now; it is tried again", "segment", path, "error", err)
		s.enqueue(seg)
		return nil, true, nil
	}
	switch {
	case c.damaged != "":
		if err := s.salvage(seg, c); err != nil {
			return nil, false, err
		}
	case !c.sealed:
		if torn := seg.size - int64(c.intact); torn > 0 {
			metrics.torn.Inc()
			s.log.Warn("cut a torn write off a spool segment; it was never acknowledged", "segment", path, "bytes", torn)
		}
		seg.size = int64(c.intact)
		if err := cutFile(path, seg.size); err != nil {
			return nil, false, err
		}
	}
	for _, r := range c.records {
		rs = append(rs, r.receipts...)
	}
	if len(c.records) == 0 {
		if err := os.Remove(path); err != nil {
			return nil, false, fmt.Errorf("cannot remove an empty spool segment: %w", err)
		}
		return nil, false, nil
	}
	s.enqueue(seg)
	return rs, true, nil
}

func (s *spool) enqueue(seg *segment) {
	s.queue = append(s.queue, seg)
	s.bytes += seg.size
	s.signal()
}

// salvage keeps the damaged file in the quarantine and puts a file with its whole records in its place, under the same
// id: whatever ClickHouse has of it already, it knows by its tokens. On return seg describes that file.
func (s *spool) salvage(seg *segment, c contents) error {
	src, err := os.ReadFile(seg.path)
	if err != nil {
		return fmt.Errorf("cannot read damaged spool segment: %w", err)
	}
	aside := filepath.Join(s.dir, quarantineDir, filepath.Base(seg.path))
	if err := os.Link(seg.path, aside); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot quarantine damaged spool segment: %w", err)
	}
	out := appendSegmentHeader(nil, seg.id, seg.created)
	lost := len(src) - len(out)
	for _, r := range c.records {
		out = append(out, src[r.offset:r.offset+r.size]...)
		lost -= r.size
	}
	out = appendEnd(out)
	if err := writeWhole(seg.path, out); err != nil {
		return err
	}
	metrics.quarantined.Inc()
	metrics.damagedBytes.Add(max(0, lost))
	s.log.Error("damaged spool segment put aside; its whole records are kept and inserted", "file", aside,
		"reason", c.damaged, "records_kept", len(c.records), "bytes_lost", max(0, lost))
	seg.size = int64(len(out))
	return nil
}

// repair salvages a segment of the queue that was damaged while it lay there. It is tried again then.
func (s *spool) repair(seg *segment, c contents) error {
	before := seg.size
	if c.damaged == "" {
		c.damaged = fmt.Sprintf("bad record at byte %d", c.intact)
	}
	if err := s.salvage(seg, c); err != nil {
		return err
	}
	s.mu.Lock()
	s.bytes += seg.size - before
	s.mu.Unlock()
	return fmt.Errorf("cannot insert spool segment %q as it was: %s", seg.path, c.damaged)
}

const temporarySuffix = ".tmp"

// writeWhole replaces path by a file of the given bytes, durably and at once.
func writeWhole(path string, data []byte) error {
	f, err := os.OpenFile(path+temporarySuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create a spool file: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot write a spool file: %w", err)
	}
	if err := os.Rename(path+temporarySuffix, path); err != nil {
		return fmt.Errorf("cannot replace a spool file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// cutFile shortens a file durably, so that a second crash finds the same contents.
func cutFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot open a torn spool segment: %w", err)
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot cut a torn spool segment: %w", err)
	}
	return nil
}

// endsSealed says whether the file ends with the record that seals a segment.
func endsSealed(path string, size int64) bool {
	if size < headerSize+recordHeader {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var tail [recordHeader]byte
	if _, err := f.ReadAt(tail[:], size-recordHeader); err != nil {
		return false
	}
	kind, _, ok := parseRecordHeader(tail[:])
	return ok && kind == recordEnd
}

func (s *spool) removeTemporary() error {
	names, err := filepath.Glob(filepath.Join(s.dir, "*"+temporarySuffix))
	if err != nil {
		return fmt.Errorf("cannot list the spool: %w", err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("cannot remove a temporary spool file: %w", err)
		}
	}
	return nil
}
