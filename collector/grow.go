package collector

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The part of the spool that grows: the open segment. Only the committer uses it.

var errNotUsable = errors.New("cannot write to the spool: it is not open")

// append writes a record of so many spans over at most so many days to the open segment and returns when it is durable. After an error nothing of
// it counts, not even after a crash.
func (s *spool) append(rec []byte, spans, days int, now time.Time) error {
	err := s.write(rec, now)
	if err != nil {
		metrics.spoolErrors.Inc()
		return fmt.Errorf("cannot write to the spool: %w", err)
	}
	s.open.size += int64(len(rec))
	s.open.spans += spans
	s.open.days = max(s.open.days, days)
	s.mu.Lock()
	s.bytes += int64(len(rec))
	s.mu.Unlock()
	return nil
}

func (s *spool) write(rec []byte, now time.Time) error {
	if !s.isUsable() {
		return errNotUsable
	}
	if len(rec) > recordHeader+maxRecordSize { // nobody could read it again
		return fmt.Errorf("a record of %d bytes is more than %d", len(rec), maxRecordSize)
	}
	// As long as a record that got a 503 may come back after a crash, its requests must not be acknowledged elsewhere.
	if s.uncut {
		if err := s.cut(); err != nil {
			return err
		}
	}
	if s.open == nil {
		if err := s.create(now); err != nil {
			return err
		}
	}
	_, err := s.file.Write(rec)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.undo()
	}
	return err
}

// undo takes back a record that could not be written whole. After a failed sync nobody knows what is on disk, so the
// segment ends either way; it counts up to what was synced before.
func (s *spool) undo() {
	s.setUncut(true)
	if err := s.cut(); err != nil {
		s.log.Error("cannot cut a record that was not acknowledged off the spool; nothing is taken until that succeeds",
			"segment", s.open.path, "error", err)
	}
}

// cut shortens the open segment to what counts, durably, and seals it. Until that has succeeded, the segment stays open,
// so that nobody else touches its file; when that is gone, so is the record.
func (s *spool) cut() error {
	if err := cutFile(s.disk, s.open.path, s.open.size, nil); err != nil && !s.isGone(err) {
		return err
	}
	s.setUncut(false)
	s.seal()
	return nil
}

func (s *spool) setUncut(to bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncut = to
}

// cutFile shortens a file to size, when it is longer, and appends the end to it, durably, so that a second crash finds
// the same contents.
func cutFile(d disk, path string, size int64, end []byte) error {
	f, err := d.open(path, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("cannot open a torn spool segment: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() > size {
		err = f.Truncate(size)
	}
	if err == nil && len(end) > 0 {
		_, err = f.Write(end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot cut a torn spool segment: %w", err)
	}
	return nil
}

func (s *spool) create(now time.Time) error {
	seg := &segment{created: now}
	_, _ = rand.Read(seg.id[:]) // never fails
	seg.path = filepath.Join(s.dir, segmentName(seg.id, now, 0))
	f, err := s.disk.open(seg.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("cannot create a spool segment: %w", err)
	}
	header := appendSegmentHeader(nil, seg.id, now)
	if _, err = f.Write(header); err == nil {
		err = s.disk.syncDir(s.dir) // the file itself is synced with its first record
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot create a spool segment: %w", err), f.Close(), s.disk.remove(seg.path))
	}
	seg.size = int64(len(header))
	s.file, s.open = f, seg
	s.mu.Lock()
	s.bytes += seg.size
	s.opened = now
	seg.seen, s.openSeen = s.seen, s.seen
	s.mu.Unlock()
	return nil
}

// begins notes which deletions of tenants are known when a segment is begun from now on.
func (s *spool) begins(seen int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = seen
}

// seal ends the open segment, if there is one, and hands it to the writer; one that could not be cut, once it can be. The
// end is synced: a file without one that is not the newest was cut by something else than a crash.
func (s *spool) seal() {
	if s.open == nil {
		return
	}
	if s.uncut {
		_ = s.cut() // undo has logged why not
		return
	}
	if s.open.size == headerSize {
		s.close()
		return
	}
	end := appendEnd(nil)
	_, err := s.file.Write(end)
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil {
		s.open.size += int64(len(end))
		s.mu.Lock()
		s.bytes += int64(len(end))
		s.mu.Unlock()
	} else { // it is whole without it
		metrics.spoolErrors.Inc()
		_ = s.file.Truncate(s.open.size)
	}
	s.close()
}

func (s *spool) close() {
	_ = s.file.Close() // everything that counts is synced
	seg := s.open
	s.file, s.open = nil, nil
	empty := seg.size == headerSize
	if empty {
		_ = s.disk.remove(seg.path) // recovery removes it if this fails
	}
	s.mu.Lock()
	s.opened = time.Time{}
	if empty {
		s.bytes -= seg.size
	} else {
		s.queue = append(s.queue, seg)
	}
	s.mu.Unlock()
	s.signal()
}

// sealDue says whether the open segment should be sealed: it is large, or it is old enough and the writer has nothing
// else to do. While the writer is behind, segments grow to their full size, so that ClickHouse gets few large inserts.
// Segments that are postponed keep nobody waiting. One that could not be cut is tried again each time.
func (s *spool) sealDue(now time.Time, after time.Duration) bool {
	if s.open != nil && (s.uncut || s.open.size >= s.maxSegment || s.open.spans >= s.maxSpans) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened.IsZero() || now.Sub(s.opened) < after || len(s.queue) > maxPostponed {
		return false
	}
	for _, q := range s.queue {
		if !q.notBefore.After(now) {
			return false
		}
	}
	return true
}

// maxPostponed is how many segments may be postponed before age no longer seals: if there are so many, ClickHouse
// refuses everything.
const maxPostponed = 16
