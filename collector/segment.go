package collector

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A segment is a file of the spool:
//
//	header   magic, id, time of creation, CRC
//	records  each a batch of requests that were acknowledged together: header with CRCs, receipts, blocks of the tables
//	end      a record of its own kind, written when the segment is sealed; a crash leaves it out
//
// All blocks of one table in one segment are one insert, whose deduplication token is the segment's id and the table's
// name. So a segment must never change once it was offered to ClickHouse: only the newest one grows, only before its
// first insert, and one that a crash left unsealed is cut after its last whole record before anything else.

const (
	segmentMagic  = "HRSPOOL" // and the version
	segmentFormat = 1
	headerSize    = 8 + 16 + 8 + 4
	recordMagic   = uint32(0x48525243)
	recordHeader  = 5 * 4 // magic, kind, payload size, payload CRC, CRC of the header before
	recordBatch   = uint32(1)
	recordEnd     = uint32(2)
	maxRecordSize = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentID names a segment for ever. It is random, so that no two installations or lifetimes of a spool share a token.
type segmentID [16]byte

func (id segmentID) token(t table) string { return hex.EncodeToString(id[:]) + "-" + tableNames[t] }

// tableSet is a set of tables.
type tableSet uint64

func (s tableSet) has(t table) bool      { return s&(1<<t) != 0 }
func (s tableSet) with(t table) tableSet { return s | 1<<t }
func tableNamed(name string) (table, bool) {
	i := slices.Index(tableNames[:], name)
	return table(max(i, 0)), i >= 0
}

// segmentName returns the file's name: names sort by age. The tables that have the segment already, while others refuse
// it, stand in it, so that they do not get it again when their tokens are long forgotten.
func segmentName(id segmentID, created time.Time, inserted tableSet) string {
	name := fmt.Sprintf("%020d-%s", created.UnixNano(), hex.EncodeToString(id[:]))
	for t := range tables {
		if inserted.has(t) {
			name += "-" + tableNames[t]
		}
	}
	return name + segmentSuffix
}

const segmentSuffix = ".seg"

// parseSegmentName reads what segmentName wrote. The id stands in the name too, so that a file whose header is damaged
// keeps its tokens.
func parseSegmentName(path string) (id segmentID, created time.Time, inserted tableSet, err error) {
	parts := strings.Split(strings.TrimSuffix(filepath.Base(path), segmentSuffix), "-")
	ns, numErr := strconv.ParseInt(parts[0], 10, 64)
	if len(parts) < 2 || numErr != nil {
		return id, created, inserted, errSegmentName
	}
	raw, hexErr := hex.DecodeString(parts[1])
	if hexErr != nil || len(raw) != len(id) {
		return id, created, inserted, errSegmentName
	}
	copy(id[:], raw)
	for _, name := range parts[2:] {
		t, known := tableNamed(name)
		if !known {
			return id, created, inserted, fmt.Errorf("its name says that table %q has it, which is unknown", name)
		}
		inserted = inserted.with(t)
	}
	return id, time.Unix(0, ns), inserted, nil
}

var errSegmentName = errors.New("its name is not TIME-ID" + segmentSuffix)

func appendSegmentHeader(dst []byte, id segmentID, created time.Time) []byte {
	start := len(dst)
	dst = append(append(dst, segmentMagic...), segmentFormat)
	dst = append(dst, id[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(created.UnixNano()))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// block is the rows of one table in one record: LZ4 frames of one Native block.
type block struct {
	table table
	rows  int
	raw   int // bytes when uncompressed
	data  []byte
}

// appendRecord appends a record of the receipts and blocks to dst.
func appendRecord(dst []byte, receipts []receipt, blocks []block) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHeader)...)
	meta := len(dst)
	dst = append(dst, 0, 0, 0, 0) // size of what follows before the blocks' data
	dst = binary.AppendUvarint(dst, uint64(len(receipts)))
	for _, r := range receipts {
		dst = appendReceipt(dst, r)
	}
	dst = binary.AppendUvarint(dst, uint64(len(blocks)))
	for _, b := range blocks {
		dst = append(dst, byte(b.table))
		dst = binary.AppendUvarint(dst, uint64(b.rows))
		dst = binary.AppendUvarint(dst, uint64(b.raw))
		dst = binary.AppendUvarint(dst, uint64(len(b.data)))
	}
	binary.LittleEndian.PutUint32(dst[meta:], uint32(len(dst)-meta-4))
	for _, b := range blocks {
		dst = append(dst, b.data...)
	}
	putRecordHeader(dst[start:], recordBatch)
	return dst
}

func appendEnd(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHeader)...)
	putRecordHeader(dst[start:], recordEnd)
	return dst
}

func putRecordHeader(rec []byte, kind uint32) {
	payload := rec[recordHeader:]
	binary.LittleEndian.PutUint32(rec[0:], recordMagic)
	binary.LittleEndian.PutUint32(rec[4:], kind)
	binary.LittleEndian.PutUint32(rec[8:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(rec[12:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(rec[16:], crc32.Checksum(rec[:16], castagnoli))
}

func appendReceipt(dst []byte, r receipt) []byte {
	dst = append(dst, r.digest[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.at))
	dst = binary.AppendUvarint(dst, uint64(r.answer.rejected))
	dst = binary.AppendUvarint(dst, uint64(len(r.answer.message)))
	return append(dst, r.answer.message...)
}

// record is a parsed record; it aliases the file's bytes.
type record struct {
	offset   int    // in the file
	raw      []byte // with its header
	receipts []receipt
	blocks   []block
}

// contents is what a segment's bytes hold.
type contents struct {
	records []record
	sealed  bool
	// intact is how many bytes from the start are whole; beyond lies damage or the rest of a write that a crash cut.
	intact int
	// damaged says that something was lost that had been whole: a bad header, or a bad place with good records or the
	// end behind it. A torn last record, which nobody got an answer for, is not damage.
	damaged string
	// newer says what of a later version of headroom stands in it. All that is known can be inserted, the rest waits for
	// that version.
	newer string
}

// parseSegment reads a segment's bytes. It never fails: what it cannot read it reports.
func parseSegment(src []byte) contents {
	var c contents
	at := headerSize
	if len(src) < headerSize {
		return c // made, but no record was ever acknowledged in it
	}
	switch {
	case !bytes.HasPrefix(src, []byte(segmentMagic)) ||
		crc32.Checksum(src[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(src[headerSize-4:]):
		c.damaged = "bad header"
	case src[len(segmentMagic)] != segmentFormat:
		return contents{newer: fmt.Sprintf("format %d", src[len(segmentMagic)]), sealed: true, intact: len(src)}
	}
	bad := -1
	for at < len(src) {
		kind, size, ok := parseRecordHeader(src[at:])
		var rec record
		if ok && kind == recordBatch {
			var err error
			rec, err = parseBatch(src[at+recordHeader : at+size])
			ok = err == nil
		}
		if !ok {
			if bad < 0 {
				bad = at
			}
			at = nextRecord(src, at+1)
			continue
		}
		if bad >= 0 && c.damaged == "" {
			c.damaged = fmt.Sprintf("bad record at byte %d", bad)
		}
		rec.offset, rec.raw = at, src[at:at+size]
		switch kind {
		case recordBatch:
			c.records = append(c.records, rec)
			for _, b := range rec.blocks {
				if b.table >= tables {
					c.newer = fmt.Sprintf("table %d", b.table)
				}
			}
		case recordEnd:
			c.sealed = true
		default:
			c.records = append(c.records, rec)
			c.newer = fmt.Sprintf("a record of kind %d", kind)
		}
		at += size
	}
	c.intact = len(src)
	if bad >= 0 {
		c.intact = bad
	}
	return c
}

// parseRecordHeader returns kind and size with header of the record that src begins with, when its CRCs hold.
func parseRecordHeader(src []byte) (kind uint32, size int, ok bool) {
	if len(src) < recordHeader || binary.LittleEndian.Uint32(src) != recordMagic ||
		crc32.Checksum(src[:16], castagnoli) != binary.LittleEndian.Uint32(src[16:]) {
		return 0, 0, false
	}
	n := int(binary.LittleEndian.Uint32(src[8:]))
	if n > maxRecordSize || recordHeader+n > len(src) {
		return 0, 0, false
	}
	payload := src[recordHeader : recordHeader+n]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(src[12:]) {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(src[4:]), recordHeader + n, true
}

// nextRecord returns where the next record may begin at or after from.
func nextRecord(src []byte, from int) int {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], recordMagic)
	if i := bytes.Index(src[min(from, len(src)):], magic[:]); i >= 0 {
		return from + i
	}
	return len(src)
}

var errRecord = errors.New("malformed record")

func parseBatch(p []byte) (record, error) {
	var rec record
	if len(p) < 4 {
		return rec, errRecord
	}
	n := int(binary.LittleEndian.Uint32(p))
	if n > len(p)-4 {
		return rec, errRecord
	}
	meta, data := cursor{buf: p[4 : 4+n]}, p[4+n:]
	for range meta.count(len(digest{})) {
		rec.receipts = append(rec.receipts, meta.receipt())
	}
	for range meta.count(4) {
		b := block{table: table(meta.byte()), rows: meta.int(), raw: meta.int()}
		size := meta.int()
		if meta.bad || size > len(data) {
			return rec, errRecord
		}
		b.data, data = data[:size], data[size:]
		rec.blocks = append(rec.blocks, b)
	}
	if meta.bad || len(data) > 0 {
		return rec, errRecord
	}
	return rec, nil
}

// cursor reads from buf; once something is missing it is bad and returns zeros.
type cursor struct {
	buf []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.buf) {
		c.bad = true
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) int() int {
	v, n := binary.Uvarint(c.buf)
	if n <= 0 || v > maxRecordSize {
		c.bad = true
		return 0
	}
	c.take(n)
	return int(v)
}

// count reads how many members follow, each of at least size bytes.
func (c *cursor) count(size int) int {
	n := c.int()
	if n > len(c.buf)/size {
		c.bad = true
		return 0
	}
	return n
}

func (c *cursor) receipt() receipt {
	var r receipt
	copy(r.digest[:], c.take(len(r.digest)))
	if at := c.take(4); at != nil {
		r.at = int64(binary.LittleEndian.Uint32(at))
	}
	r.answer.rejected = int64(c.int())
	r.answer.message = string(c.take(c.int()))
	return r
}
