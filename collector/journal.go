package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// journal keeps the receipts of segments that are inserted and deleted, for as long as a client may send their
// requests again. A file holds the segments finished in one minute; old files are removed. Only the writer uses it.
type journal struct {
	dir    string
	length time.Duration
	file   *os.File
	minute int64
	buf    []byte
}

const journalSuffix = ".receipts"

// load returns the receipts of all files, the oldest first. A torn end is ignored: the segment it was about to record is
// still there. The error names files that could not be read; the receipts of the others are returned with it.
func (j *journal) load(now time.Time) ([]receipt, error) {
	names, err := filepath.Glob(filepath.Join(j.dir, "*"+journalSuffix)) // sorted
	if err != nil {
		return nil, fmt.Errorf("cannot list the receipts in %q: %w", j.dir, err)
	}
	var (
		all    []receipt
		unread error
	)
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("cannot read receipts: %w", err))
			continue
		}
		for len(src) >= 8 {
			n := int(binary.LittleEndian.Uint32(src))
			if n > len(src)-8 || crc32.Checksum(src[8:8+n], castagnoli) != binary.LittleEndian.Uint32(src[4:]) {
				break
			}
			c := cursor{buf: src[8 : 8+n]}
			for len(c.buf) > 0 && !c.bad {
				if r := c.receipt(); !c.bad && now.Unix()-r.at < int64(j.length/time.Second) {
					all = append(all, r)
				}
			}
			src = src[8+n:]
		}
	}
	return all, unread
}

// add stores receipts durably.
func (j *journal) add(rs []receipt, now time.Time) error {
	if err := j.rotate(now); err != nil {
		return err
	}
	j.buf = append(j.buf[:0], make([]byte, 8)...)
	for _, r := range rs {
		if now.Unix()-r.at < int64(j.length/time.Second) {
			j.buf = appendReceipt(j.buf, r)
		}
	}
	if len(j.buf) == 8 {
		return nil
	}
	binary.LittleEndian.PutUint32(j.buf, uint32(len(j.buf)-8))
	binary.LittleEndian.PutUint32(j.buf[4:], crc32.Checksum(j.buf[8:], castagnoli))
	if _, err := j.file.Write(j.buf); err != nil {
		j.close() // the next add begins a new file, behind no torn record
		return fmt.Errorf("cannot write receipts: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		j.close()
		return fmt.Errorf("cannot sync receipts: %w", err)
	}
	return nil
}

func (j *journal) rotate(now time.Time) error {
	minute := now.Unix() / 60
	if j.file != nil && j.minute == minute {
		return nil
	}
	j.close()
	name := filepath.Join(j.dir, fmt.Sprintf("%020d%s", now.UnixNano(), journalSuffix))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create receipts: %w", err)
	}
	if err := syncDir(j.dir); err != nil {
		_ = f.Close()
		return err
	}
	j.file, j.minute = f, minute
	j.removeOld(now)
	return nil
}

// removeOld is only tidying: a file that stays is read again at the next start and ignored.
func (j *journal) removeOld(now time.Time) {
	names, _ := filepath.Glob(filepath.Join(j.dir, "*"+journalSuffix))
	for _, name := range names {
		ns, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), journalSuffix), 10, 64)
		if err == nil && now.Sub(time.Unix(0, ns)) > j.length+2*time.Minute {
			_ = os.Remove(name)
		}
	}
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // everything that counts is synced
		j.file = nil
	}
}

// syncDir makes the creation, renaming and removal of files in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("cannot sync directory %q: %w", dir, err)
	}
	return nil
}
