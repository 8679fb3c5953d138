package collector

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// spool keeps acknowledged batches on disk until ClickHouse has them.
//
// The committer alone appends and seals; the writer alone takes sealed segments and finishes them.
type spool struct {
	dir        string
	log        *slog.Logger
	maxSegment int64 // bytes; a segment of this size is sealed
	maxSpans   int   // a segment of so many spans is sealed
	maxBytes   int64 // of all segments together

	lock *os.File

	// Of the committer, without a lock.
	file *os.File
	open *segment

	mu     sync.Mutex // guards queue with its members' notBefore, bytes and opened; never held across I/O
	queue  []*segment // sealed, the oldest first
	bytes  int64
	opened time.Time // when the open segment began; zero without one
	ready  chan struct{}

	journal journal // of the writer
}

// segment is a file of the spool.
type segment struct {
	id      segmentID
	created time.Time
	path    string
	size    int64 // bytes up to which it counts
	spans   int   // while it is open

	// Of the writer.
	inserted [tables]bool // acknowledged by ClickHouse in this process
	attempts int
	firstTry uint64 // value of writer.finished when it was first tried

	notBefore time.Time // guarded by spool.mu: others go first until then
}

const quarantineDir = "quarantine"

// openSpool takes possession of dir and brings it in order after a crash: a last segment that was being written is cut
// after its last whole record, damaged files are put aside with what is whole in them kept. It returns the receipts of
// the last minutes, the oldest first.
func openSpool(dir string, maxSegment int64, maxSpans int, maxBytes int64, remember time.Duration, log *slog.Logger, now time.Time) (*spool, []receipt, error) {
	if err := os.MkdirAll(filepath.Join(dir, quarantineDir), 0o700); err != nil {
		return nil, nil, fmt.Errorf("cannot create the spool: %w", err)
	}
	s := &spool{dir: dir, log: log, maxSegment: maxSegment, maxSpans: maxSpans, maxBytes: maxBytes, ready: make(chan struct{}, 1)}
	s.journal = journal{dir: dir, length: remember}
	if err := s.takeLock(); err != nil {
		return nil, nil, err
	}
	receipts, err := s.recover(now, remember)
	if err != nil {
		return nil, nil, errors.Join(err, s.lock.Close())
	}
	return s, receipts, nil
}

func (s *spool) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the spool's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("cannot use the spool %q: another process uses it: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

// append writes a record of so many spans to the open segment and returns when it is durable. After an error nothing of
// it counts.
func (s *spool) append(rec []byte, spans int, now time.Time) error {
	if s.open == nil {
		if err := s.create(now); err != nil {
			metrics.spoolErrors.Inc()
			return err
		}
	}
	_, err := s.file.Write(rec)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		metrics.spoolErrors.Inc()
		s.undo()
		return fmt.Errorf("cannot write to the spool: %w", err)
	}
	s.open.size += int64(len(rec))
	s.open.spans += spans
	s.mu.Lock()
	s.bytes += int64(len(rec))
	s.mu.Unlock()
	if s.open.size >= s.maxSegment || s.open.spans >= s.maxSpans {
		s.seal()
	}
	return nil
}

// undo cuts off a record that could not be written whole. After a failed sync nobody knows what is on disk, so the
// segment is closed either way; it counts up to what was synced before.
func (s *spool) undo() {
	err := s.file.Truncate(s.open.size)
	if err == nil {
		err = s.file.Sync() // else a crash of the machine may bring the record back
	}
	if err != nil {
		s.log.Error("cannot cut a record that was not acknowledged off the spool; after a crash it may count", "segment", s.open.path, "error", err)
	}
	s.close()
}

func (s *spool) create(now time.Time) error {
	seg := &segment{created: now}
	_, _ = rand.Read(seg.id[:]) // never fails
	seg.path = filepath.Join(s.dir, segmentName(seg.id, now))
	f, err := os.OpenFile(seg.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create a spool segment: %w", err)
	}
	header := appendSegmentHeader(nil, seg.id, now)
	if _, err = f.Write(header); err == nil {
		err = syncDir(s.dir) // the file itself is synced with its first record
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot create a spool segment: %w", err), f.Close(), os.Remove(seg.path))
	}
	seg.size = int64(len(header))
	s.file, s.open = f, seg
	s.mu.Lock()
	s.bytes += seg.size
	s.opened = now
	s.mu.Unlock()
	return nil
}

// seal ends the open segment, if there is one, and hands it to the writer.
func (s *spool) seal() {
	if s.open == nil {
		return
	}
	// Not synced and not counted: a segment without its end is whole as well, only damage is harder to tell from a torn
	// write then.
	_, _ = s.file.Write(appendEnd(nil))
	s.close()
}

func (s *spool) close() {
	_ = s.file.Close() // everything that counts is synced
	seg := s.open
	s.file, s.open = nil, nil
	empty := seg.size == headerSize
	if empty {
		_ = os.Remove(seg.path) // recovery removes it if this fails
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

func (s *spool) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// maxPostponed is how many segments may be postponed before age no longer seals: if there are so many, ClickHouse
// refuses everything.
const maxPostponed = 16

// sealDue says whether the open segment should be sealed: it is old enough, and the writer has nothing else to do. While
// the writer is behind, segments grow to their full size, so that ClickHouse gets few large inserts. Segments that are
// postponed keep nobody waiting.
func (s *spool) sealDue(now time.Time, after time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened.IsZero() || now.Sub(s.opened) < after || len(s.queue) > maxPostponed {
		return false
	}
	return !slices.ContainsFunc(s.queue, func(q *segment) bool { return !q.notBefore.After(now) })
}

// postpone lets the other segments go first until then.
func (s *spool) postpone(seg *segment, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.notBefore = until
}

// full says whether the spool may take no more.
func (s *spool) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes >= s.maxBytes
}

// next returns the sealed segment whose turn it is; else when to look again, zero for when ready is signalled. It is the
// oldest one's turn, but one that was postponed stands behind those that were there by the time to which it was.
func (s *spool) next(now time.Time) (seg *segment, later time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// load reads a segment into buf and parses it; the contents alias what is returned.
func (s *spool) load(seg *segment, buf []byte) ([]byte, contents, error) {
	f, err := os.Open(seg.path)
	if err != nil {
		return buf, contents{}, fmt.Errorf("cannot open spool segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	if int64(cap(buf)) < seg.size {
		buf = make([]byte, 0, seg.size+seg.size/4)
	}
	buf = buf[:seg.size]
	if _, err := io.ReadFull(f, buf); err != nil {
		return buf, contents{}, fmt.Errorf("cannot read spool segment %q: %w", seg.path, err)
	}
	return buf, parseSegment(buf), nil
}

// finish removes a segment that ClickHouse has, after its receipts are safe.
func (s *spool) finish(seg *segment, c contents, now time.Time) error {
	var rs []receipt
	for _, r := range c.records {
		rs = append(rs, r.receipts...)
	}
	if err := s.journal.add(rs, now); err != nil {
		return err
	}
	// Should the removal be lost in a crash, the segment is inserted again and ClickHouse knows its tokens.
	if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove spool segment: %w", err)
	}
	s.drop(seg)
	return nil
}

// putAside moves a segment that cannot be inserted to the quarantine, for a person to look at.
func (s *spool) putAside(seg *segment, why string) error {
	to := filepath.Join(s.dir, quarantineDir, filepath.Base(seg.path))
	if err := os.Rename(seg.path, to); err != nil {
		return fmt.Errorf("cannot quarantine spool segment: %w", err)
	}
	metrics.quarantined.Inc()
	s.log.Error("spool segment put aside; its spans are not in ClickHouse", "file", to, "bytes", seg.size, "reason", why)
	s.drop(seg)
	return syncDir(s.dir)
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

// backlog returns how much waits, and since when.
func (s *spool) backlog() (bytes int64, segments int, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest = s.opened
	segments = len(s.queue)
	if segments > 0 {
		oldest = s.queue[0].created
	}
	if !s.opened.IsZero() {
		segments++
	}
	return s.bytes, segments, oldest
}

// release gives the directory up. Nothing may be appended after.
func (s *spool) release() {
	s.journal.close()
	_ = s.lock.Close() // and with it the lock
}
