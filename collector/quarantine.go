package collector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The quarantine is a directory of the spool for what could not be inserted. Nothing in it is read again, and nothing is
// removed unless the operator said after how long. What lies in it (docs/reliability.md tells what to do with each):
//
//	TIME-ID.seg            a segment that ClickHouse refused, or that a newer headroom wrote. Moved back into the spool's
//	                       directory, it is inserted at the next start. Its name goes on with the tables that have it already
//	TIME-ID.seg.damaged    a damaged file as it was; its whole records were inserted from a copy
//	any other *.seg        a file that is none of ours
const (
	quarantineDir = "quarantine"
	damagedSuffix = ".damaged"
)

// putAside moves a segment that cannot be inserted to the quarantine, for a person to look at. Its requests are still
// known when they are sent again: they may come to ClickHouse from there.
func (s *spool) putAside(seg *segment, why string, receipts []receipt, now time.Time) error {
	if err := s.remember(receipts, now); err != nil {
		return err
	}
	to := filepath.Join(s.dir, quarantineDir, segmentName(seg.id, seg.created, seg.inserted))
	if err := s.moveTo(seg, to); err != nil {
		return fmt.Errorf("cannot quarantine spool segment: %w", err)
	}
	s.wasPutAside(to, now)
	s.log.Error("spool segment put aside; it is not in ClickHouse", "file", to, "bytes", seg.size, "reason", why)
	s.drop(seg)
	return errors.Join(s.disk.syncDir(filepath.Join(s.dir, quarantineDir)), s.disk.syncDir(s.dir))
}

// putForeignAside moves a file that is not a segment out of the way.
func (s *spool) putForeignAside(name string, why error, now time.Time) {
	from := filepath.Join(s.dir, name)
	to, err := s.freeName(filepath.Join(s.dir, quarantineDir, name))
	if err == nil {
		err = s.disk.rename(from, to)
	}
	if err != nil {
		s.log.Error("cannot quarantine a file of the spool that is not one; it stays where it is", "file", from, "error", err)
		return
	}
	s.wasPutAside(to, now)
	s.log.Error("file put aside that is no spool segment", "file", to, "reason", why)
}

// keepDamaged keeps a damaged file in the quarantine, as it is: by a link, or as a copy where there are no links.
func (s *spool) keepDamaged(path string) (string, error) {
	to, err := s.freeName(filepath.Join(s.dir, quarantineDir, filepath.Base(path)+damagedSuffix))
	if err != nil {
		return "", err
	}
	if err := s.disk.link(path, to); err != nil {
		src, readErr := s.readAll(path)
		if readErr != nil {
			return "", fmt.Errorf("cannot quarantine damaged spool segment: %w", errors.Join(err, readErr))
		}
		if err := writeWhole(s.disk, to, src); err != nil {
			return "", fmt.Errorf("cannot quarantine damaged spool segment: %w", err)
		}
	}
	if err := s.disk.syncDir(filepath.Dir(to)); err != nil { // the next attempt makes another
		return "", fmt.Errorf("cannot quarantine damaged spool segment: %w", errors.Join(err, s.disk.remove(to)))
	}
	return to, nil
}

// freeName returns path, or path with a number where that exists.
func (s *spool) freeName(path string) (string, error) {
	entries, err := s.disk.list(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("cannot list the quarantine: %w", err)
	}
	taken := map[string]bool{}
	for _, e := range entries {
		taken[e.Name()] = true
	}
	free := path
	for n := 2; taken[filepath.Base(free)]; n++ {
		free = fmt.Sprintf("%s.%d", path, n)
	}
	return free, nil
}

func (s *spool) readAll(path string) ([]byte, error) {
	f, err := s.disk.open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

// wasPutAside counts a file of the quarantine, and lets its age begin now.
func (s *spool) wasPutAside(path string, now time.Time) {
	if err := s.disk.touch(path, now); err != nil {
		s.log.Warn("a file in the quarantine looks older than it is", "file", path, "error", err)
	}
	metrics.quarantined.Inc()
	s.lost()
	s.lookAtQuarantine()
}

// lookAtQuarantine counts what lies in the quarantine, for the gauges.
func (s *spool) lookAtQuarantine() {
	entries, err := s.disk.list(filepath.Join(s.dir, quarantineDir))
	if err != nil {
		return // the gauges keep their values
	}
	var bytes, files int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
			files++
		}
	}
	s.quarantineBytes.Store(bytes)
	s.quarantineFiles.Store(files)
}

// purgeQuarantine removes what has lain in the quarantine for longer than keep. It is called only when the operator set
// keep, because it is the one place where acknowledged data is thrown away.
func (s *spool) purgeQuarantine(keep time.Duration, now time.Time) {
	dir := filepath.Join(s.dir, quarantineDir)
	entries, err := s.disk.list(dir)
	if err != nil {
		s.log.Error("cannot list the quarantine", "error", err)
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) <= keep {
			continue
		}
		if err := s.disk.remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("cannot remove a file from the quarantine", "error", err)
			continue
		}
		metrics.purged.Inc()
		s.log.Warn("removed a file from the quarantine, because it lay there for too long", "file", e.Name(), "bytes", info.Size(), "keep", keep)
	}
	s.lookAtQuarantine()
}
