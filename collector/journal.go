package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// journal keeps the receipts of segments that are inserted and deleted, for as long as a client may send their
// requests again. A file holds the segments finished in one minute, each as frames: size and CRC of what follows, then
// receipts. Old files are removed. Only the writer uses it.
type journal struct {
	disk   disk
	dir    string
	length time.Duration
	file   file
	minute int64
	size   int64 // of file, as far as it counts
	buf    []byte
}

const (
	journalSuffix = ".receipts"
	frameHeader   = 8
	nextFrame     = 1 << 20  // of receipts, after which the next begins
	maxFrame      = 16 << 20 // that is read: former versions had one for each segment
)

// load returns the receipts of all files among the directory's entries, the oldest first. A torn end is ignored: the segment it was about to record is
// still there. The error names files that could not be read, or not all of them; the other receipts are returned with it.
func (j *journal) load(entries []fs.DirEntry, now time.Time) ([]receipt, error) {
	var (
		all    []receipt
		unread error
	)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), journalSuffix) {
			continue
		}
		path := filepath.Join(j.dir, e.Name())
		src, err := j.read(path)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("cannot read receipts: %w", err))
			continue
		}
		rs, damaged := parseReceipts(src)
		if damaged > 0 {
			metrics.damagedReceipts.Inc()
			unread = errors.Join(unread, fmt.Errorf("cannot read %d bytes of the receipts in %q: they are damaged", damaged, path))
		}
		for _, r := range rs {
			if now.Unix()-r.at < int64(j.length/time.Second) {
				all = append(all, r)
			}
		}
	}
	return all, unread
}

func (j *journal) read(path string) (src []byte, err error) {
	for range readAttempts {
		if src, err = j.readOnce(path); err == nil {
			break
		}
	}
	return src, err
}

func (j *journal) readOnce(path string) ([]byte, error) {
	f, err := j.disk.open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

// parseReceipts returns the receipts of all whole frames, and how many bytes before the last of them are damaged. What
// is behind the last whole frame is torn.
func parseReceipts(src []byte) (rs []receipt, damaged int) {
	skipped := 0
	for len(src) >= frameHeader {
		n := int(binary.LittleEndian.Uint32(src))
		if n == 0 || n > min(len(src)-frameHeader, maxFrame) ||
			crc32.Checksum(src[frameHeader:frameHeader+n], castagnoli) != binary.LittleEndian.Uint32(src[4:]) {
			src = src[1:]
			skipped++
			continue
		}
		damaged, skipped = damaged+skipped, 0
		c := cursor{buf: src[frameHeader : frameHeader+n]}
		for len(c.buf) > 0 && !c.bad {
			if r := c.receipt(); !c.bad {
				rs = append(rs, r)
			}
		}
		src = src[frameHeader+n:]
	}
	return rs, damaged
}

// add stores receipts durably. Those that are too old to matter need no room, and of a segment's only the first
// maxMessages keep their message: so they fit into the reserve, however many of its requests were refused in part.
func (j *journal) add(rs []receipt, now time.Time) error {
	j.buf = j.buf[:0]
	frame, messages := 0, 0
	for _, r := range rs {
		if now.Unix()-r.at >= int64(j.length/time.Second) {
			continue
		}
		if r.answer = r.answer.brief(); r.answer.message != "" { // those of a former version are long
			if messages++; messages > maxMessages {
				r.answer.message = ""
			}
		}
		if len(j.buf) == 0 || len(j.buf)-frame > nextFrame {
			sealFrame(j.buf[frame:])
			frame = len(j.buf)
			j.buf = append(j.buf, make([]byte, frameHeader)...)
		}
		j.buf = appendReceipt(j.buf, r)
	}
	if len(j.buf) == 0 {
		return nil
	}
	sealFrame(j.buf[frame:])
	if err := j.rotate(now); err != nil {
		return err
	}
	_, err := j.file.Write(j.buf)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_ = j.file.Truncate(j.size) // a torn frame harms nobody, but for the room that it takes
		j.close()                   // the next add begins a new file, behind no torn frame
		return fmt.Errorf("cannot write receipts: %w", err)
	}
	j.size += int64(len(j.buf))
	return nil
}

// sealFrame fills in the header of a frame that is complete.
func sealFrame(frame []byte) {
	if len(frame) == 0 {
		return
	}
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-frameHeader))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[frameHeader:], castagnoli))
}

func (j *journal) rotate(now time.Time) error {
	minute := now.Unix() / 60
	if j.file != nil && j.minute == minute {
		return nil
	}
	j.close()
	j.removeOld(now) // first: it may be what makes room
	name := filepath.Join(j.dir, fmt.Sprintf("%020d%s", now.UnixNano(), journalSuffix))
	f, err := j.disk.open(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY) // if it is there, it is from an attempt at the same time, which failed
	if err != nil {
		return fmt.Errorf("cannot create receipts: %w", err)
	}
	if err := j.disk.syncDir(j.dir); err != nil {
		_ = f.Close()
		return err
	}
	j.file, j.minute, j.size = f, minute, 0
	return nil
}

// removeOld is only tidying: a file that stays is read again at the next start and ignored.
func (j *journal) removeOld(now time.Time) {
	entries, _ := j.disk.list(j.dir)
	for _, e := range entries {
		stamp, ours := strings.CutSuffix(e.Name(), journalSuffix)
		ns, err := strconv.ParseInt(stamp, 10, 64)
		if ours && err == nil && now.Sub(time.Unix(0, ns)) > j.length+2*time.Minute {
			_ = j.disk.remove(filepath.Join(j.dir, e.Name()))
		}
	}
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // everything that counts is synced
		j.file = nil
	}
}
