package collector

import (
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
const (
	jsonObject   = 320 // bytes of memory
	jsonComma    = 32
	maxJSONDepth = 200 // OTLP's own nesting fits easily
)

// fromJSON turns an OTLP/JSON body into protobuf. It is the slow path: services send protobuf, people try JSON. So one
// body is turned at a time, however many come: the caller sees to that.
func (b *body) fromJSON(s *signal) (out []byte, err error) {
	before := b.reserved
	defer func() { b.unreserve(b.reserved - before - int64(len(out))) }() // out is held until the body is released
	src := b.buf.Bytes()
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
	field := "" // the id whose value comes next
	for i := 0; i < len(src); {
		if src[i] != '"' {
			switch src[i] {
			case ' ', '\t', '\r', '\n', ':':
			case '{':
				size += jsonObject
				field = ""
			case ',':
				size += jsonComma
				field = ""
			default:
				field = "" // the value was no string
			}
			dst = append(dst, src[i])
			i++
			continue
		}
		end := stringEnd(src, i)
		quoted := src[i:end]
		i = end
		switch {
		case field != "" && len(quoted) > 2:
			raw, err := hex.DecodeString(string(quoted[1 : len(quoted)-1]))
			if err != nil {
				return nil, 0, fault.InvalidField(field, string(quoted[1:len(quoted)-1]), "must be hexadecimal")
			}
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, raw)
			dst = append(dst, '"')
			field = ""
		default:
			dst = append(dst, quoted...)
			field = idField(quoted)
		}
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
