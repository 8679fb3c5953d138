package collector

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The reserve is a file that does nothing but hold room on the disk. To empty the spool, its receipts have to be written
// first: on a disk that is full to the last byte the spool could never be emptied. So the reserve is given up then. As
// long as it cannot be put back, the spool takes nothing more.

const (
	reserveName = "reserve"
	// reserveSize is more than the receipts of one segment take: 23 bytes for each of its spans at most, and some messages.
	reserveSize  = 8 << 20
	reservePause = 2 * time.Second // between attempts to put it back
)

// keepReserve makes the reserve if it is missing. One goroutine at a time may call it.
func (s *spool) keepReserve() error {
	s.mu.Lock()
	has := s.reserved
	s.mu.Unlock()
	if has {
		return nil
	}
	path := filepath.Join(s.dir, reserveName)
	if f, err := s.disk.open(path, os.O_RDONLY); err == nil {
		info, err := f.Stat()
		_ = f.Close()
		if err == nil && info.Size() == s.reserveSize {
			s.setReserved(true)
			return nil
		}
	}
	room := make([]byte, s.reserveSize)
	_, _ = rand.Read(room) // never fails; zeros would take no room on a disk that compresses
	if err := writeWhole(s.disk, path, room); err != nil {
		return fmt.Errorf("cannot make the spool's reserve of %d bytes: %w", s.reserveSize, err)
	}
	s.setReserved(true)
	return nil
}

// spendReserve gives the reserve up, and says whether there was one.
func (s *spool) spendReserve() bool {
	s.mu.Lock()
	had := s.reserved
	s.reserved = false
	s.mu.Unlock()
	if !had {
		return false
	}
	if err := s.disk.remove(filepath.Join(s.dir, reserveName)); err != nil {
		s.log.Error("cannot give up the spool's reserve", "error", err)
		return false
	}
	s.log.Warn("the disk is full: the spool's reserve makes room for emptying the spool", "bytes", s.reserveSize)
	return true
}

func (s *spool) setReserved(to bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved = to
}
