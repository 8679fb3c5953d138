package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/fault"
)

// A JSON body comes to a message of many times its size: "{}," may be a span, "1," a bound of a histogram. So before it is
// turned into one, memory is taken for each object and each comma, as much as the largest of what they may stand for needs.
// Attributes are most of what comes, and small: they and a few others are known by the name before them.
const (
	jsonObject   = 320 // bytes of memory
	jsonSmall    = 96
	jsonComma    = 32
	maxJSONDepth = 200 // OTLP's own nesting fits easily
)

// weigh returns how much memory an object takes, or each of an array of them, that is the value of a quoted name. The name
// means the same wherever OTLP has it.
func weigh(name []byte) int64 {
	switch string(name) {
	case `"attributes"`, `"value"`, `"status"`:
		return jsonSmall
	}
	return jsonObject
}

// fromJSON turns an OTLP/JSON body into protobuf. It is the slow path: services send protobuf, people try JSON. So one
// body is turned at a time, however many come: the caller sees to that.
func (b *body) fromJSON(s *signal) (out []byte, err error) {
	before := b.reserved
	defer func() {
		b.work(err)
		b.unreserve(b.reserved - before - int64(len(out))) // out is held until the body is released
	}()
	src := b.buf.Bytes()
	if len(bytes.TrimSpace(src)) == 0 {
		return nil, fault.New(fault.Invalid, "the body is empty, which is no OTLP/JSON: {} is a request without anything in it")
	}
	if err := b.reserve(int64(len(src))); err != nil {
		return nil, err
	}
	src, size, err := hexToBase64(src)
	if err != nil {
		return nil, err
	}
	if most := b.c.memory.most(); b.reserved+size > most {
		return nil, fault.New(fault.TooLarge, "the body takes up to %d bytes of memory to read, more than the %d that there may be: send smaller batches, or protobuf",
			b.reserved+size, most)
	}
	if err := b.reserve(size); err != nil {
		return nil, err
	}
	var msg proto.Message // the same as the export requests, whose packages bring a gRPC gateway with them
	switch s {
	case traces:
		msg = new(tracepb.TracesData)
	case metricPoints:
		msg = new(metricspb.MetricsData)
	default:
		msg = new(logspb.LogsData)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: maxJSONDepth}).Unmarshal(src, msg); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is no OTLP/JSON: %s", err)
	}
	if out, err = proto.Marshal(msg); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is no OTLP/JSON: %s", err)
	}
	return out, nil
}

// hexToBase64 rewrites the ids: OTLP/JSON has them in hex, protobuf's JSON mapping expects base64. It tells strings from
// all else and no more: what is wrong with a body otherwise is for protojson to say. It also returns how much memory the
// message may take.
func hexToBase64(src []byte) (dst []byte, size int64, err error) {
	dst = make([]byte, 0, len(src))
	var (
		field  string // the id whose value comes next
		last   []byte // the string before this
		name   []byte // of what comes next
		within [2 * maxJSONDepth]int64
		depth  int // of within: how much each object takes that stands in an array, 0 for an object
	)
	for i := 0; i < len(src); {
		if src[i] == '"' {
			end := stringEnd(src, i)
			last = src[i:end]
			size += int64(len(last))
			i = end
			if field == "" || len(last) <= 2 {
				dst = append(dst, last...)
				field = idField(last)
				continue
			}
			id := string(last[1 : len(last)-1])
			raw, err := hex.DecodeString(id)
			if err != nil {
				return nil, 0, fault.InvalidField(field, id, "must be hexadecimal")
			}
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, raw)
			dst = append(dst, '"')
			field = ""
			continue
		}
		switch c := src[i]; c {
		case ' ', '\t', '\r', '\n':
		case ':':
			size -= int64(len(last)) // of names the message keeps nothing
			name, last = last, nil
		case '{', '[':
			each := weigh(name)
			if depth > 0 && within[depth-1] > 0 {
				each = within[depth-1]
			}
			if depth == len(within) {
				return nil, 0, fault.New(fault.Invalid, "the body is no OTLP/JSON: it is nested more than %d deep", depth)
			}
			if c == '{' {
				size += each
				each = 0
			}
			within[depth] = each
			depth++
			field, last, name = "", nil, nil
		default:
			switch c {
			case '}', ']':
				depth = max(depth-1, 0)
			case ',':
				size += jsonComma
			}
			field, last, name = "", nil, nil // the value was no string
		}
		dst = append(dst, src[i])
		i++
	}
	return dst, size, nil
}

// stringEnd returns where the string that begins at start ends.
func stringEnd(src []byte, start int) int {
	for i := start + 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}

// idField returns the name of the id that a quoted key names, empty for all others. A value that reads like a key does
// no harm: a comma or a bracket follows it.
func idField(quoted []byte) string {
	switch string(quoted) {
	case `"traceId"`, `"spanId"`, `"parentSpanId"`, `"trace_id"`, `"span_id"`, `"parent_span_id"`:
		return string(quoted[1 : len(quoted)-1])
	}
	return ""
}
