package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// spool keeps acknowledged batches on disk until ClickHouse has them.
//
// The committer alone appends and seals; the writer alone takes sealed segments and finishes them. Before open has
// succeeded there is nothing in it, and it takes nothing.
type spool struct {
	spoolOptions
	disk disk
	lock *os.File

	// Of the committer, without a lock.
	file file
	open *segment

	mu       sync.Mutex // guards all below, with the queue's members' path, size, notBefore and poison; never held across I/O
	usable   bool       // open has succeeded
	reserved bool       // the reserve is there
	uncut    bool       // the open segment ends in a record that failed and could not be cut off yet; the committer sets it
	queue    []*segment // sealed, the oldest first
	bytes    int64
	opened   time.Time // when the open segment began; zero without one
	seen     int64     // of the segments that are begun now
	openSeen int64     // of the open segment
	ready    chan struct{}

	quarantineBytes, quarantineFiles atomic.Int64
	lost                             func() // called when rows may not come to ClickHouse, or come late

	journal journal // of the writer
}

type spoolOptions struct {
	dir         string
	log         *slog.Logger
	maxSegment  int64         // bytes; a segment of this size is sealed
	maxSpans    int           // a segment of so many spans is sealed
	maxBytes    int64         // of all segments together
	maxAge      time.Duration // of what waits for ClickHouse, beyond which nothing is taken; 0 for no limit
	remembered  time.Duration // for how long receipts are kept
	reserveSize int64
}

// segment is a file of the spool.
type segment struct {
	id      segmentID
	created time.Time
	path    string
	size    int64 // bytes up to which it counts
	spans   int   // while it is open
	days    int   // at most so many days are in it, so many partitions of each table get a block of it; 0 when unknown
	torn    bool  // it may end in a torn write, which could not be cut off at the start
	seen    int64 // the generation of deletions that was known when it was begun; 0 when an earlier process did, see departed
	kept    bool  // it is damaged and lies in the quarantine as it was, but its whole records are not in its place yet

	// Of the writer.
	inserted   tableSet // acknowledged by ClickHouse
	attempts   int
	lastError  string
	unanswered int    // attempts that reached ClickHouse and got no answer
	unreadable int    // attempts to read it
	kills      int    // those of them since the last of which others were inserted
	firstTry   uint64 // value of writer.blocks when it was first tried
	lastTry    uint64 // value of writer.finished at the last unanswered attempt

	notBefore time.Time // guarded by spool.mu: others go first until then
	poison    bool      // guarded by spool.mu: it could not be inserted while others could be, as far as is known
}

func newSpool(d disk, o spoolOptions) *spool {
	return &spool{spoolOptions: o, disk: d, ready: make(chan struct{}, 1), lost: func() {},
		journal: journal{disk: d, dir: o.dir, length: o.remembered}}
}

// errInUse says that another process has the spool.
var errInUse = errors.New("another process uses it")

// start takes possession of the directory and brings it in order after a crash: a last segment that was being written is
// cut after its last whole record, damaged files are put aside with what is whole in them kept. It returns the receipts
// of the last minutes, the oldest first. After an error it may be called again.
func (s *spool) start(now time.Time) (_ []receipt, err error) {
	quarantine := filepath.Join(s.dir, quarantineDir)
	if err := s.disk.makeDir(quarantine); err != nil {
		return nil, fmt.Errorf("cannot create the spool: %w", err)
	}
	for _, made := range []string{s.dir, filepath.Dir(s.dir)} { // a directory that a crash forgets forgets its files
		if err := s.disk.syncDir(made); err != nil {
			return nil, fmt.Errorf("cannot create the spool: %w", err)
		}
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close()
			s.lock = nil
		}
	}()
	receipts, err := s.recover(now)
	if err != nil {
		return nil, err
	}
	if err := s.keepReserve(); err != nil { // no reason not to empty what is there
		s.log.Error("the spool takes nothing until its disk can be written", "error", err)
	}
	s.lookAtQuarantine()
	return receipts, nil
}

// use lets the spool be appended to and emptied, after the receipts of start are known.
func (s *spool) use() {
	s.mu.Lock()
	s.usable = true
	s.mu.Unlock()
	s.signal()
}

func (s *spool) isUsable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable
}

// takes says whether the spool's disk can be written, as far as is known.
func (s *spool) takes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable && s.reserved && !s.uncut
}

func (s *spool) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the spool's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("cannot use the spool %q: %w", s.dir, errInUse)
		}
		return fmt.Errorf("cannot lock the spool %q: %w", s.dir, err)
	}
	s.lock = f
	return nil
}

// spoolPause is how long clients are told to wait when the spool takes nothing.
const spoolPause = 10 * time.Second

// refusal says why the spool takes nothing now; nil when it does.
func (s *spool) refusal(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := ""
	switch {
	case !s.usable:
		why = "the spool's disk cannot be used"
	case !s.reserved || s.uncut:
		why = "the spool's disk is full or cannot be written"
	case s.bytes >= s.maxBytes:
		why = "the spool is full, because ClickHouse does not take data as fast as it comes"
	case s.maxAge > 0 && now.Sub(s.waitingSince(now)) > s.maxAge:
		why = "what is in the spool waits too long already, because ClickHouse does not take it"
	default:
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: spoolPause, Message: why}
}

// waitingSince returns when the oldest segment began that waits for ClickHouse and not for a person; now if there is none. The caller
// holds mu.
func (s *spool) waitingSince(now time.Time) time.Time {
	for _, q := range s.queue {
		if !q.poison {
			return q.created
		}
	}
	if !s.opened.IsZero() {
		return s.opened
	}
	return now
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

// housekeepEvery is how often housekeep should be called.
const housekeepEvery = reservePause

// housekeep puts back the reserve, and removes what is too old from the quarantine if keep is not 0.
func (s *spool) housekeep(keep time.Duration, now time.Time) {
	if err := s.keepReserve(); err != nil {
		metrics.spoolErrors.Inc()
		s.log.Error("the spool takes nothing until its disk can be written", "error", err)
	}
	if keep > 0 {
		s.purgeQuarantine(keep, now)
	}
	s.lookAtQuarantine()
}

// release gives the directory up. Nothing may be appended after.
func (s *spool) release() {
	s.journal.close()
	if s.file != nil {
		_ = s.file.Close() // of a segment that could not be cut: the next start does
	}
	if s.lock != nil {
		_ = s.lock.Close() // and with it the lock
	}
}
