package collector

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/ClickHouse/ch-go/proto"
)

// The columns below are ch-go columns (proto.ColInput) that take bytes as they lie in a request body and keep them
// encoded. ch-go's own ColLowCardinality wants a Go string a value and hashes all of them when a block is written.

// stringColumn is a String column, held as it goes over the wire: a length and the bytes, value after value.
type stringColumn struct {
	buf  []byte
	rows int
}

func (c *stringColumn) append(v []byte) {
	c.buf = binary.AppendUvarint(c.buf, uint64(len(v)))
	c.buf = append(c.buf, v...)
	c.rows++
}

func (c *stringColumn) cut(size, rows int) { c.buf, c.rows = c.buf[:size], rows }

// Type implements proto.ColInput.
func (c *stringColumn) Type() proto.ColumnType { return "String" }

// Rows implements proto.ColInput.
func (c *stringColumn) Rows() int { return c.rows }

// Reset implements proto.Resettable.
func (c *stringColumn) Reset() { c.cut(0, 0) }

// EncodeColumn implements proto.ColInput.
func (c *stringColumn) EncodeColumn(b *proto.Buffer) { b.Buf = append(b.Buf, c.buf...) }

// WriteColumn implements proto.ColInput.
func (c *stringColumn) WriteColumn(w *proto.Writer) { w.ChainWrite(c.buf) }

// dictColumn is a LowCardinality(String) column. Its dictionary grows as values come; a row is a key into it.
type dictColumn struct {
	keys   []uint32
	index  map[string]uint32
	values []string // by key
	// next[k] is the other key that followed key k the last time. Spans of one service look alike, so that the key before
	// or this one saves most of the lookups.
	next []uint32
	prev uint32
	size int // bytes of values
}

// key returns the key of v, which may alias a request body. Invalid UTF-8 is replaced.
func (c *dictColumn) key(v []byte) uint32 {
	k, ok := c.find(v)
	switch {
	case ok:
		return k
	case !utf8.Valid(v):
		return c.key(bytes.ToValidUTF8(v, []byte(replacement)))
	}
	return c.add(string(v))
}

// keyOf returns the key of v, whatever its bytes are.
func (c *dictColumn) keyOf(v []byte) uint32 {
	if k, ok := c.find(v); ok {
		return k
	}
	return c.add(string(v))
}

// keyOfText is keyOf of a string that comes again: strings at the same address are compared by that.
func (c *dictColumn) keyOfText(s string) uint32 {
	if k, ok := c.find(viewBytes(s)); ok {
		return k
	}
	return c.add(s)
}

func (c *dictColumn) find(v []byte) (uint32, bool) {
	if len(c.values) > 0 {
		if c.values[c.prev] == string(v) {
			return c.prev, true
		}
		if guess := c.next[c.prev]; c.values[guess] == string(v) {
			c.prev = guess
			return guess, true
		}
	}
	k, ok := c.index[string(v)]
	if ok {
		c.next[c.prev] = k
		c.prev = k
	}
	return k, ok
}

func (c *dictColumn) add(s string) uint32 {
	if c.index == nil {
		c.index = make(map[string]uint32)
	}
	k := uint32(len(c.values))
	c.index[s] = k
	c.values = append(c.values, s)
	c.size += len(s)
	c.next = append(c.next, k)
	c.next[c.prev] = k
	c.prev = k
	return k
}

func (c *dictColumn) append(v []byte) { c.keys = append(c.keys, c.key(v)) }

// cut forgets rows; what they added to the dictionary stays and does no harm.
func (c *dictColumn) cut(rows int) { c.keys = c.keys[:rows] }

// Type implements proto.ColInput.
func (c *dictColumn) Type() proto.ColumnType { return "LowCardinality(String)" }

// Rows implements proto.ColInput.
func (c *dictColumn) Rows() int { return len(c.keys) }

// maxKeptValues bounds the dictionaries that are kept for reuse: to clear a map takes as long as it ever was large.
const maxKeptValues = 1 << 15

// Reset implements proto.Resettable.
func (c *dictColumn) Reset() {
	if len(c.values) > maxKeptValues {
		*c = dictColumn{}
		return
	}
	c.keys = c.keys[:0]
	clear(c.index)
	clear(c.values)
	c.values, c.next, c.prev, c.size = c.values[:0], c.next[:0], 0, 0
}

// The format of a LowCardinality column, as ch-go's col_low_cardinality.go has it: a version in the state, then flags
// with the width of a key, the dictionary, the keys.
const (
	dictVersion = 1
	dictFlags   = 1<<9 | 1<<10 // the dictionary comes with the block and replaces the one before
)

// EncodeState implements proto.StateEncoder.
func (c *dictColumn) EncodeState(b *proto.Buffer) { b.PutInt64(dictVersion) }

// EncodeColumn implements proto.ColInput.
func (c *dictColumn) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	width := proto.KeyUInt8
	switch n := len(c.values); {
	case n > 1<<16:
		width = proto.KeyUInt32
	case n > 1<<8:
		width = proto.KeyUInt16
	}
	b.PutInt64(dictFlags | int64(width))
	b.PutInt64(int64(len(c.values)))
	for _, v := range c.values {
		b.PutString(v)
	}
	b.PutInt64(int64(len(c.keys)))
	switch width {
	case proto.KeyUInt8:
		for _, k := range c.keys {
			b.Buf = append(b.Buf, byte(k))
		}
	case proto.KeyUInt16:
		for _, k := range c.keys {
			b.Buf = binary.LittleEndian.AppendUint16(b.Buf, uint16(k))
		}
	default:
		for _, k := range c.keys {
			b.Buf = binary.LittleEndian.AppendUint32(b.Buf, k)
		}
	}
}

// WriteColumn implements proto.ColInput.
func (c *dictColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// mapColumn is a Map(LowCardinality(String), String) column.
type mapColumn struct {
	ends   proto.ColUInt64 // by row: how many entries it and all rows before it have
	keys   dictColumn
	values stringColumn
}

// endRow ends a row: the entries since the last one are its own.
func (c *mapColumn) endRow() { c.ends = append(c.ends, uint64(len(c.keys.keys))) }

// Type implements proto.ColInput.
func (c *mapColumn) Type() proto.ColumnType { return "Map(LowCardinality(String), String)" }

// Rows implements proto.ColInput.
func (c *mapColumn) Rows() int { return len(c.ends) }

// Reset implements proto.Resettable.
func (c *mapColumn) Reset() {
	c.ends.Reset()
	c.keys.Reset()
	c.values.Reset()
}

// EncodeState implements proto.StateEncoder.
func (c *mapColumn) EncodeState(b *proto.Buffer) { c.keys.EncodeState(b) }

// EncodeColumn implements proto.ColInput.
func (c *mapColumn) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	c.keys.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

// WriteColumn implements proto.ColInput.
func (c *mapColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// mapMark is a place in a mapColumn to cut back to.
type mapMark struct{ rows, keys, values, size int }

func (c *mapColumn) mark() mapMark {
	return mapMark{len(c.ends), len(c.keys.keys), c.values.rows, len(c.values.buf)}
}

func (c *mapColumn) cut(m mapMark) {
	c.ends = c.ends[:m.rows]
	c.keys.cut(m.keys)
	c.values.cut(m.size, m.values)
}

// fixedColumn is a FixedString column of ids.
type fixedColumn struct {
	buf  []byte
	size int // of one value
}

func (c *fixedColumn) append(v []byte) { c.buf = append(c.buf, v...) }
func (c *fixedColumn) cut(rows int)    { c.buf = c.buf[:rows*c.size] }

// Type implements proto.ColInput.
func (c *fixedColumn) Type() proto.ColumnType {
	if c.size == 16 {
		return "FixedString(16)"
	}
	return "FixedString(8)"
}

// Rows implements proto.ColInput.
func (c *fixedColumn) Rows() int { return len(c.buf) / c.size }

// Reset implements proto.Resettable.
func (c *fixedColumn) Reset() { c.buf = c.buf[:0] }

// EncodeColumn implements proto.ColInput.
func (c *fixedColumn) EncodeColumn(b *proto.Buffer) { b.Buf = append(b.Buf, c.buf...) }

// WriteColumn implements proto.ColInput.
func (c *fixedColumn) WriteColumn(w *proto.Writer) { w.ChainWrite(c.buf) }

// nanoColumn is a DateTime64(9, 'UTC') column: nanoseconds since 1970.
type nanoColumn struct{ proto.ColInt64 }

// Type implements proto.ColInput.
func (nanoColumn) Type() proto.ColumnType { return "DateTime64(9, 'UTC')" }

// secondColumn is a DateTime('UTC') column: seconds since 1970.
type secondColumn struct{ proto.ColUInt32 }

// Type implements proto.ColInput.
func (secondColumn) Type() proto.ColumnType { return "DateTime('UTC')" }

// replacement stands for bytes that are no UTF-8.
const replacement = "\uFFFD"
