package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/VictoriaMetrics/easyproto"
)

// valueKind numbers what an OTLP AnyValue holds, by its protobuf field.
type valueKind uint8

const (
	valueNone   valueKind = 0
	valueString valueKind = 1
	valueBool   valueKind = 2
	valueInt    valueKind = 3
	valueDouble valueKind = 4
	valueArray  valueKind = 5
	valueMap    valueKind = 6
	valueBytes  valueKind = 7
)

// value is an OTLP AnyValue that aliases the request body.
type value struct {
	kind valueKind
	data []byte // of strings, bytes, arrays, maps
	num  uint64 // of bools, ints, doubles (its bits)
}

// The tags, field number and wire type, of the fields that nearly all attributes consist of.
const (
	tagKey    = 1<<3 | 2
	tagValue  = 2<<3 | 2
	tagString = 1<<3 | 2 // of AnyValue
)

// parseKeyValue reads an OTLP KeyValue.
func parseKeyValue(src []byte) (key []byte, v value, err error) {
	// As encoders write them, a key and then a value, no loop over fields is needed.
	if k, rest, ok := cutShort(src, tagKey); ok {
		if data, rest, ok := cutShort(rest, tagValue); ok && len(rest) == 0 {
			if err = v.parse(data); err == nil {
				return k, v, nil
			}
		}
	}
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return nil, v, fmt.Errorf("cannot read an attribute: %w", err)
		}
		switch fc.FieldNum {
		case 1:
			if k, ok := fc.Bytes(); ok {
				key = k
			}
		case 2:
			if data, ok := fc.MessageData(); ok {
				if err := v.parse(data); err != nil {
					return nil, v, fmt.Errorf("cannot read the value of attribute %q: %w", shorten(key), err)
				}
			}
		}
	}
	return key, v, nil
}

// cutShort takes the field off that src begins with, if it has the tag and less than 128 bytes.
func cutShort(src []byte, tag byte) (data, rest []byte, ok bool) {
	if len(src) < 2 || src[0] != tag {
		return nil, nil, false
	}
	end := 2 + int(src[1])
	if src[1] >= 0x80 || end > len(src) {
		return nil, nil, false
	}
	return src[2:end], src[end:], true
}

func (v *value) parse(src []byte) (err error) {
	if text, rest, ok := cutShort(src, tagString); ok && len(rest) == 0 {
		*v = value{kind: valueString, data: text}
		return nil
	}
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		var (
			data []byte
			num  uint64
			ok   bool
		)
		switch k := valueKind(fc.FieldNum); k {
		case valueString, valueArray, valueMap, valueBytes:
			data, ok = fc.Bytes()
		case valueBool, valueInt:
			num, ok = fc.Uint64()
		case valueDouble:
			var f float64
			f, ok = fc.Double()
			num = math.Float64bits(f)
		}
		if ok {
			*v = value{kind: valueKind(fc.FieldNum), data: data, num: num}
		}
	}
	return nil
}

// maxValueDepth bounds how deep arrays and maps are followed, maxText about how many bytes are made of one value: far
// more than is kept of it, and far less than a body can hold.
const (
	maxValueDepth = 8
	maxText       = 64 << 10
)

// appendText appends the value as people read it: strings and numbers plain, bytes in base64, arrays and maps as JSON.
func (v *value) appendText(dst []byte) ([]byte, error) {
	switch v.kind {
	case valueString:
		return append(dst, v.data...), nil
	case valueBytes:
		return base64.StdEncoding.AppendEncode(dst, v.data[:min(len(v.data), maxText)]), nil
	case valueNone:
		return dst, nil
	}
	return v.appendJSON(dst, 0)
}

func (v *value) appendJSON(dst []byte, depth int) ([]byte, error) {
	switch v.kind {
	case valueBool:
		return strconv.AppendBool(dst, v.num != 0), nil
	case valueInt:
		return strconv.AppendInt(dst, int64(v.num), 10), nil
	case valueDouble:
		f := math.Float64frombits(v.num)
		if depth > 0 && (math.IsNaN(f) || math.IsInf(f, 0)) { // JSON has no such number
			return strconv.AppendQuote(dst, strconv.FormatFloat(f, 'g', -1, 64)), nil
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64), nil
	case valueString:
		return appendQuoted(dst, v.data), nil
	case valueBytes:
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, v.data[:min(len(v.data), maxText)]), '"'), nil
	case valueArray:
		return v.appendList(dst, depth, '[', ']')
	case valueMap:
		return v.appendList(dst, depth, '{', '}')
	}
	return append(dst, "null"...), nil
}

// appendList appends an ArrayValue or a KeyValueList: both have their members in field 1.
func (v *value) appendList(dst []byte, depth int, open, end byte) ([]byte, error) {
	if depth == maxValueDepth {
		return append(dst, `"…"`...), nil
	}
	dst = append(dst, open)
	var (
		fc  easyproto.FieldContext
		err error
	)
	for src, n := v.data, 0; len(src) > 0; {
		if src, err = fc.NextField(src); err != nil {
			return dst, err
		}
		data, ok := fc.MessageData()
		if fc.FieldNum != 1 || !ok {
			continue
		}
		if len(dst) > maxText {
			break // it is cut anyway
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		var member value
		if v.kind == valueMap {
			var key []byte
			if key, member, err = parseKeyValue(data); err != nil {
				return dst, err
			}
			dst = append(appendQuoted(dst, key), ':')
		} else if err = member.parse(data); err != nil {
			return dst, err
		}
		if dst, err = member.appendJSON(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, end), nil
}

func appendQuoted(dst, s []byte) []byte {
	s, _ = clip(s, maxText)
	q, err := json.Marshal(string(s))
	if err != nil {
		panic("BUG: cannot quote a string: " + err.Error())
	}
	return append(dst, q...)
}

// integer returns the value as an integer: SDKs disagree on whether a status is a number or a string.
func (v *value) integer() (int64, bool) {
	switch v.kind {
	case valueInt:
		return int64(v.num), true
	case valueString:
		if len(v.data) > 0 && len(v.data) < 20 {
			n, err := strconv.ParseInt(string(v.data), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// str returns the value when it is a string, else nil.
func (v *value) str() []byte {
	if v.kind == valueString {
		return v.data
	}
	return nil
}

// clip returns at most limit bytes of s without cutting a rune, and whether that cut something off.
func clip(s []byte, limit int) ([]byte, bool) {
	if len(s) <= limit {
		return s, false
	}
	for back := range min(limit, utf8.UTFMax) {
		if utf8.RuneStart(s[limit-back]) {
			return s[:limit-back], true
		}
	}
	return s[:limit], true // no rune is there
}

// valid returns s with what is no UTF-8 replaced.
func valid(s []byte) []byte {
	if isASCII(s) || utf8.Valid(s) {
		return s
	}
	return bytes.ToValidUTF8(s, []byte(replacement))
}

// isASCII is quicker than utf8.Valid on what is as short as most values are.
func isASCII(s []byte) bool {
	const high = 0x8080808080808080
	var seen uint64
	n := len(s)
	if n >= 8 {
		for i := 0; i+8 <= n; i += 8 {
			seen |= binary.LittleEndian.Uint64(s[i:])
		}
		return (seen|binary.LittleEndian.Uint64(s[n-8:]))&high == 0
	}
	for _, b := range s {
		seen |= uint64(b)
	}
	return seen < utf8.RuneSelf
}

// shorten bounds what an error message repeats of the input.
func shorten(s []byte) []byte {
	s, _ = clip(s, 60)
	return s
}
