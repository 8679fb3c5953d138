package collector

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/tenant"
)

// The resource may come after its spans, and messages may come in pieces: protobuf says they merge.
func TestFieldsInAnyOrder(t *testing.T) {
	req := export(server("x"))
	res := encode(t, &tracepb.ResourceSpans{Resource: req.ResourceSpans[0].Resource})
	spans := encode(t, &tracepb.ResourceSpans{ScopeSpans: req.ResourceSpans[0].ScopeSpans})
	joined := append(spans, res...)
	body := append([]byte{1<<3 | 2}, byte(len(joined)&0x7f|0x80), byte(len(joined)>>7))
	body = append(body, joined...)
	out, cols, err := decodeBody(body, time.Now())
	if err != nil || out.accepted != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if got := cols.spans.service.values[0]; got != "checkout" {
		t.Errorf("service %q", got)
	}
}

// reference counts what should become of a request, from the generated types.
func reference(req *collectorpb.ExportTraceServiceRequest, now time.Time) (spans, requests, refused int) {
	newest, oldest := uint64(now.Add(10*time.Minute).UnixNano()), uint64(now.Add(-30*24*time.Hour).UnixNano())
	named := func(as []*commonpb.KeyValue) (id string) {
		for _, a := range as {
			if v := tenantText(a); v != "" {
				id = v
			}
		}
		return id
	}
	zero := func(b []byte) bool { return len(b) == 0 || string(b) == string(make([]byte, len(b))) }
	for _, rs := range req.ResourceSpans {
		ofResource := named(rs.GetResource().GetAttributes())
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				id := named(s.Attributes)
				if id == "" {
					id = ofResource
				}
				_, err := tenant.ParseID(id)
				if len(s.TraceId) != 16 || zero(s.TraceId) || len(s.SpanId) != 8 || zero(s.SpanId) || s.EndTimeUnixNano < s.StartTimeUnixNano ||
					s.EndTimeUnixNano > newest || s.StartTimeUnixNano < oldest || err != nil {
					refused++
					continue
				}
				spans++
				if s.Kind == tracepb.Span_SPAN_KIND_SERVER || s.Kind == tracepb.Span_SPAN_KIND_CONSUMER {
					requests++
				}
			}
		}
	}
	return spans, requests, refused
}

// tenantText renders a tenant attribute by a way of its own: over protobuf once more.
func tenantText(a *commonpb.KeyValue) string {
	if a.Key != "tenant.id" || a.Value == nil {
		return ""
	}
	b, err := proto.Marshal(a.Value)
	if err != nil {
		return ""
	}
	var v value
	if v.parse(b) != nil {
		return ""
	}
	out, _ := v.appendText(nil)
	return string(out)
}

// wantAttributes compares keys and short texts of the spans with those that the generated code finds.
func wantAttributes(t *testing.T, req *collectorpb.ExportTraceServiceRequest, got [][2][]string) {
	t.Helper()
	i := 0
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				n := 0
				for _, a := range s.Attributes {
					if a.Key == "" || n == 256 {
						continue
					}
					if key, _ := clip([]byte(a.Key), 512); got[i][0][n] != string(key) {
						t.Fatalf("span %d: key %q, want %q", i, got[i][0][n], key)
					}
					if _, ok := a.Value.GetValue().(*commonpb.AnyValue_StringValue); ok && len(a.Value.GetStringValue()) < 4096 && got[i][1][n] != a.Value.GetStringValue() {
						t.Fatalf("span %d: value %q of %q, want %q", i, got[i][1][n], a.Key, a.Value.GetStringValue())
					}
					n++
				}
				i++
			}
		}
	}
}

// FuzzDecode: the decoder never panics, keeps its columns even, takes what the generated code takes, and finds the same
// spans in it.
func FuzzDecode(f *testing.F) {
	now := time.Now()
	add := func(req *collectorpb.ExportTraceServiceRequest) {
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(export())
	add(export(mixed(8, 1)...))
	failed := server("x", number("rpc.grpc.status_code", 2))
	failed.Status = &tracepb.Status{Code: 2, Message: "m"}
	failed.Events = []*tracepb.Span_Event{{Name: "exception", Attributes: []*commonpb.KeyValue{text("exception.message", "m")}}}
	add(export(failed, &tracepb.Span{}))
	f.Add([]byte("\x0a\x00\x12\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, cols, err := decodeBody(body, now)
		for tb := range tables {
			in, rows := cols.input(tb)
			if err != nil && rows > 0 {
				t.Fatalf("%d rows of %q are left of a malformed body", rows, tableNames[tb])
			}
			for _, c := range in {
				if c.Data.Rows() != rows {
					t.Fatalf("column %s.%s has %d rows, want %d", tableNames[tb], c.Name, c.Data.Rows(), rows)
				}
			}
			if _, _, err := newEncoder().block(nil, in, rows); err != nil {
				t.Fatal(err)
			}
		}
		for i, a := range attributesOf(cols) {
			if len(a[0]) != len(a[1]) {
				t.Fatalf("span %d has %d keys and %d values of attributes", i, len(a[0]), len(a[1]))
			}
		}
		if !utf8.Valid(cols.spans.exception.buf) && len(cols.spans.exception.buf) < 100 && cols.spans.exception.rows == 1 && cols.spans.exception.buf[0] < 100 {
			t.Fatalf("invalid UTF-8 was kept: %q", cols.spans.exception.buf)
		}
		var req collectorpb.ExportTraceServiceRequest
		if proto.Unmarshal(body, &req) != nil {
			return // it may be stricter: about UTF-8, field numbers, unknown fields
		}
		if err != nil && strings.Contains(err.Error(), "wireType=3") {
			return // a group: deprecated before OTLP was made, and in none of its messages
		}
		if err != nil {
			t.Fatalf("the generated code takes what the decoder refuses: %v", err)
		}
		spans, requests, refused := reference(&req, now)
		if got := attributesOf(cols); refused == 0 {
			wantAttributes(t, &req, got)
		}
		if got := cols.requests.status.Rows(); out.accepted != spans || got != requests || out.rejectedTotal() != refused || cols.spans.kind.Rows() != spans {
			t.Fatalf("%d spans, %d requests, %d refused; want %d, %d, %d", out.accepted, got, out.rejectedTotal(), spans, requests, refused)
		}
	})
}

// attributesOf returns the keys and values of each span's attributes.
func attributesOf(cols *columns) [][2][]string {
	c := &cols.spans
	spans := make([][2][]string, 0, len(c.attributeKeys.keys))
	for values := c.attributeValues.buf; len(spans) < len(c.attributeKeys.keys); {
		size, n := binary.Uvarint(values)
		value := string(values[n : n+int(size)])
		values = values[n+int(size):]
		var a [2][]string
		if keys := c.attributeKeys.values[c.attributeKeys.keys[len(spans)]]; keys != "" {
			a = [2][]string{strings.Split(keys, "\xff"), strings.Split(value, "\xff")}
		}
		spans = append(spans, a)
	}
	return spans
}
