package collector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The part of the spool that is emptied: the sealed segments. Only the writer uses it, but for enqueue.

func (s *spool) enqueue(seg *segment) {
	s.mu.Lock()
	s.queue = append(s.queue, seg)
	s.bytes += seg.size
	s.mu.Unlock()
	s.signal()
}

func (s *spool) signal() { notify(s.ready) }

// postpone lets the other segments go first until then. poison says that they can be expected to fare better.
func (s *spool) postpone(seg *segment, until time.Time, poison bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.notBefore, seg.poison = until, poison
}

// next returns the sealed segment whose turn it is; else when to look again, zero for when ready is signalled. It is the
// oldest one's turn, but one that was postponed stands behind those that were there by the time to which it was.
func (s *spool) next(now time.Time) (seg *segment, later time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable {
		return nil, time.Time{}
	}
	for _, q := range s.queue {
		switch {
		case q.notBefore.After(now):
			if later.IsZero() || q.notBefore.Before(later) {
				later = q.notBefore
			}
		case seg == nil || q.due().Before(seg.due()):
			seg = q
		}
	}
	return seg, later
}

// due returns since when it has been the segment's turn.
func (q *segment) due() time.Time {
	if q.notBefore.After(q.created) {
		return q.notBefore
	}
	return q.created
}

// load reads a segment into buf and parses it; the contents alias what is returned. A file that is shorter than it was
// is damaged.
func (s *spool) load(seg *segment, buf []byte) ([]byte, contents, error) {
	f, err := s.disk.open(seg.path, os.O_RDONLY)
	if err != nil {
		seg.unreadable++
		return buf, contents{}, fmt.Errorf("cannot open spool segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	if int64(cap(buf)) < seg.size {
		buf = make([]byte, 0, seg.size+seg.size/4)
	}
	buf = buf[:seg.size]
	n, err := io.ReadFull(f, buf)
	short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !short {
		if seg.unreadable++; seg.unreadable < readAttempts || !errors.Is(err, syscall.EIO) {
			return buf, contents{}, fmt.Errorf("cannot read spool segment %q: %w", seg.path, err)
		}
		n = readAround(f, buf)
	}
	c := parseSegment(buf[:n])
	if short && c.damaged == "" {
		c.damaged = fmt.Sprintf("%d of %d bytes are left of the file", n, seg.size)
	}
	return buf, c, nil
}

// readAttempts is how often a file is read that the disk does not give back, before its bad places count as lost.
const readAttempts = 5

// readAround reads what the disk gives of a file. What it does not give becomes zeros, which no record passes for.
func readAround(f io.ReaderAt, buf []byte) int {
	const sector = 4096
	clear(buf)
	for at := 0; at < len(buf); at += sector {
		part := buf[at:min(at+sector, len(buf))]
		if n, err := f.ReadAt(part, int64(at)); err != nil {
			clear(part[n:])
		}
	}
	return len(buf)
}

// isGone says whether err means that the segment's file is gone for good, and not the directory with it.
func (s *spool) isGone(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	is, err := os.Stat(filepath.Join(s.dir, "lock"))
	if err != nil {
		return false
	}
	was, err := s.lock.Stat()
	return err == nil && os.SameFile(is, was)
}

// forget drops a segment whose file somebody removed.
func (s *spool) forget(seg *segment, err error) {
	metrics.vanished.Inc()
	s.log.Error("a spool segment is gone, though nobody but headroom may remove it; what was acknowledged with it is lost unless it is brought back",
		"segment", seg.path, "bytes", seg.size, "error", err)
	s.lost() // names of series may have been in it
	s.drop(seg)
}

// finish removes a segment that ClickHouse has, after its receipts are safe.
func (s *spool) finish(seg *segment, receipts []receipt, now time.Time) error {
	if err := s.remember(receipts, now); err != nil {
		return err
	}
	// Should the removal be lost in a crash, the segment is inserted again and ClickHouse knows its tokens.
	if err := s.disk.remove(seg.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove spool segment: %w", err)
	}
	s.drop(seg)
	return nil
}

// remember stores receipts outside of their segment. On a full disk the reserve makes room for them.
func (s *spool) remember(receipts []receipt, now time.Time) error {
	err := s.journal.add(receipts, now)
	if isFull(err) && s.spendReserve() {
		err = s.journal.add(receipts, now)
	}
	return err
}

// moveTo renames a segment's file.
func (s *spool) moveTo(seg *segment, to string) error {
	if to == seg.path {
		return nil
	}
	if err := s.disk.rename(seg.path, to); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.path = to
	return nil
}

// noteInserted makes durable which tables have a segment that another table refuses.
func (s *spool) noteInserted(seg *segment) {
	err := s.moveTo(seg, filepath.Join(s.dir, segmentName(seg.id, seg.created, seg.inserted)))
	if err == nil {
		err = s.disk.syncDir(s.dir)
	}
	if err != nil { // the next attempt comes here again
		s.log.Warn("cannot note which tables have a spool segment", "segment", seg.path, "error", err)
	}
}

func (s *spool) drop(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.queue {
		if q == seg {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.bytes -= seg.size
			return
		}
	}
}
