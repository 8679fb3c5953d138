package collector

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// fromJSON turns a body into protobuf, in as much memory as there is by default, of which nothing may be held after it.
func fromJSON(t *testing.T, s *signal, src []byte) ([]byte, error) {
	t.Helper()
	c := readingCollector(128<<20, 128<<20)
	b, err := c.newBody(1)
	if err != nil {
		t.Fatal(err)
	}
	b.buf.Write(src)
	out, err := b.fromJSON(s)
	b.release()
	if held := c.memory.inUse(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
	return out, err
}

// Whatever the objects and values of a JSON body stand for, the message takes no more than what is taken for them.
func TestMemoryOfJSON(t *testing.T) {
	f := func(msg proto.Message, before, each, after string) {
		t.Helper()
		const n = 30_000
		src := before + strings.TrimSuffix(strings.Repeat(each+",", n), ",") + after
		_, size, err := hexToBase64([]byte(src))
		if err != nil {
			t.Fatal(err)
		}
		var was, is runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&was)
		if err := protojson.Unmarshal([]byte(src), msg); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&is)
		runtime.KeepAlive(msg)
		took := int64(is.HeapAlloc) - int64(was.HeapAlloc)
		t.Logf("%-60s %4d bytes each, %4d taken", before[max(0, len(before)-30):]+each, took/n, size/n)
		if took > size {
			t.Errorf("%s%s: %d bytes of memory, of which %d were taken", before, each, took, size)
		}
	}
	span, metric := `{"resourceSpans":[{"scopeSpans":[{"spans":[`, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[`
	f(&tracepb.TracesData{}, `{"resourceSpans":[`, `{}`, `]}`)
	f(&tracepb.TracesData{}, `{"resourceSpans":[`, `{"resource":{}}`, `]}`)
	f(&tracepb.TracesData{}, `{"resourceSpans":[{"resource":{"entityRefs":[{"idKeys":[`, `""`, `]}]}}]}`)
	f(&tracepb.TracesData{}, `{"resourceSpans":[{"scopeSpans":[`, `{"scope":{}}`, `]}]}`)
	f(&tracepb.TracesData{}, span, `{}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span, `{"status":{},"events":[{}],"links":[{}]}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[`, `{}`, `]}]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[`, `{"value":{"intValue":1}}`, `]}]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[`, `{"key":"seventeen letters","value":{"stringValue":"thirty-three letters make 48 bytes"}}`, `]}]}]}]}`)
	f(&tracepb.TracesData{}, span, `{"status":{"message":"an error"}}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span, `{"attributes":[{}]}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span, `{"events":[{"attributes":[{"value":{}}]}]}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span, `{"flags":1,"name":"n","status":{},"traceState":""}`, `]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[{"value":{"arrayValue":{"values":[`, `{"stringValue":"s"}`, `]}}}]}]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[{"value":{"kvlistValue":{"values":[`, `{"key":"k","value":{"bytesValue":"AAAA"}}`, `]}}}]}]}]}]}`)
	f(&tracepb.TracesData{}, span+`{"attributes":[{"value":{"arrayValue":{"values":[`, `{"kvlistValue":{}}`, `]}}}]}]}]}]}`)
	f(&metricspb.MetricsData{}, metric, `{"histogram":{}}`, `]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"gauge":{"dataPoints":[`, `{"asInt":1}`, `]}}]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"gauge":{"dataPoints":[`, `{"exemplars":[{"asInt":1}]}`, `]}}]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"histogram":{"dataPoints":[`, `{"sum":1,"min":1,"max":1,"bucketCounts":[1],"explicitBounds":[1]}`, `]}}]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"histogram":{"dataPoints":[{"explicitBounds":[`, `1`, `]}]}}]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"exponentialHistogram":{"dataPoints":[`, `{"positive":{},"negative":{},"sum":1,"min":1,"max":1}`, `]}}]}]}]}`)
	f(&metricspb.MetricsData{}, metric+`{"summary":{"dataPoints":[{"quantileValues":[`, `{}`, `]}]}}]}]}]}`)
}

// A JSON body whose message would take more than there may be is refused for good, before any of that is taken; one for
// which there is no room now is to come again.
func TestLargeMessagesOfJSON(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.MaxInflight = 8 << 20 })
	f := func(objects, status int, says string) {
		t.Helper()
		body := `{"resourceSpans":[` + strings.TrimSuffix(strings.Repeat("{},", objects), ",") + `]}`
		resp := r.post(t, "/v1/traces", []byte(body), "Content-Type", "application/json")
		if resp.status != status || !strings.Contains(string(resp.body), says) || (status == 503) != (resp.header.Get("Retry-After") != "") {
			t.Errorf("%d objects: %d %q", objects, resp.status, resp.body)
		}
	}
	f(1000, http.StatusOK, "")
	f(18_000, http.StatusOK, "")
	f(100_000, http.StatusRequestEntityTooLarge, "send smaller batches, or protobuf")
	if err := r.memory.reserve(2, 4<<20); err != nil {
		t.Fatal(err)
	}
	f(18_000, http.StatusServiceUnavailable, "")
	r.memory.release(2, 4<<20)
	f(18_000, http.StatusOK, "")
	if held := r.memory.inUse(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

// What exporters send by default is taken: a batch of 8192 spans, each with 20 attributes.
func TestOrdinaryBatchesOfJSON(t *testing.T) {
	const spans, attributes = 8192, 20
	var src bytes.Buffer
	src.WriteString(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"scopeSpans":[{"scope":{"name":"s"},"spans":[`)
	for i := range spans {
		if i > 0 {
			src.WriteByte(',')
		}
		fmt.Fprintf(&src, `{"traceId":"%032x","spanId":"%016x","parentSpanId":"%016x","name":"GET /cart/{id}","kind":2,`+
			`"startTimeUnixNano":"1770000000000000000","endTimeUnixNano":"1770000000001000000","attributes":[`, i+1, i+1, i+2)
		for a := range attributes {
			if a > 0 {
				src.WriteByte(',')
			}
			fmt.Fprintf(&src, `{"key":"some.attribute.%02d","value":{"stringValue":"some value %d"}}`, a, i)
		}
		src.WriteString(`],"status":{}}`)
	}
	src.WriteString(`]}]}]}`)
	c := readingCollector(20<<20, 128<<20) // the defaults
	b, err := c.newBody(1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.release()
	if err := b.read(&src, int64(src.Len()), "", ""); err != nil {
		t.Fatal(err)
	}
	out, err := b.fromJSON(traces)
	if err != nil {
		t.Fatal(err)
	}
	var got tracepb.TracesData
	if err := proto.Unmarshal(out, &got); err != nil || len(got.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()) != spans {
		t.Error(err)
	}
}

// However deep a body is nested, and however broken it is, it is read or refused, and takes no less than no memory.
func TestBrokenJSON(t *testing.T) {
	f := func(depth int, ok bool) {
		t.Helper()
		src := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":` + strings.Repeat(`{"arrayValue":{"values":[`, depth) +
			strings.Repeat(`]}}`, depth) + `}]}]}]}]}`
		if _, err := fromJSON(t, traces, []byte(src)); (err == nil) != ok {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
	f(90, true)
	f(110, false)
	f(1_000_000, false)
	for _, src := range []string{strings.Repeat("]", 1000) + "}", `{"name"` + strings.Repeat(":", 1000), `"name`, `:`} {
		if _, size, err := hexToBase64([]byte(src)); err != nil || size < 0 {
			t.Errorf("%.20s takes %d bytes of memory, %v", src, size, err)
		}
		if _, err := fromJSON(t, traces, []byte(src)); err == nil {
			t.Errorf("%.20s is taken", src)
		}
	}
}
