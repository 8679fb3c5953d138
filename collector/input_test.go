package collector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	logscollector "go.opentelemetry.io/proto/otlp/collector/logs/v1"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// decodeOne decodes one request with default limits and returns the outcome and the columns.
func decodeOne(t testing.TB, req *collectorpb.ExportTraceServiceRequest) (outcome, *columns) {
	t.Helper()
	out, cols, err := decodeBody(encode(t, req), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return out, cols
}

func decodeBody(body []byte, now time.Time) (outcome, *columns, error) {
	d := decoder{opts: decodeOptions{tenantAttributes: []string{"tenant.id"}, maxFuture: 10 * time.Minute, retention: 30 * 24 * time.Hour,
		maxValue: 4096, maxName: 512, maxAttributes: 256, maxExpansion: maxExpansion}}
	cols := newColumns()
	out, err := d.decode(request{signal: traces, body: body}, cols, now)
	return out, cols, err
}

func TestBadSpansAreRefusedOneByOne(t *testing.T) {
	now := uint64(time.Now().UnixNano())
	for _, tc := range []struct {
		name  string
		spoil func(s *tracepb.Span)
		why   reason
		says  []string
	}{
		{"no trace id", func(s *tracepb.Span) { s.TraceId = nil }, badTraceID, []string{"trace_id", "16 bytes", `span "bad" of service "checkout"`}},
		{"zero trace id", func(s *tracepb.Span) { s.TraceId = make([]byte, 16) }, badTraceID, []string{"trace_id", `"00000000000000000000000000000000"`}},
		{"long trace id", func(s *tracepb.Span) { s.TraceId = bytes.Repeat([]byte{7}, 10_000) }, badTraceID, []string{"trace_id", "0707"}},
		{"no span id", func(s *tracepb.Span) { s.SpanId = nil }, badSpanID, []string{"span_id", "8 bytes"}},
		{"zero span id", func(s *tracepb.Span) { s.SpanId = make([]byte, 8) }, badSpanID, []string{"span_id", `"0000000000000000"`}},
		{"short span id", func(s *tracepb.Span) { s.SpanId = []byte{1, 2} }, badSpanID, []string{"span_id", `"0102"`}},
		{"end before start", func(s *tracepb.Span) { s.EndTimeUnixNano = s.StartTimeUnixNano - 1 }, endBeforeStart, []string{"end_time_unix_nano", "before the start"}},
		{"no end", func(s *tracepb.Span) { s.EndTimeUnixNano = 0 }, endBeforeStart, []string{"end_time_unix_nano", "1970-01-01"}},
		{"next year", func(s *tracepb.Span) { s.EndTimeUnixNano = now + uint64(365*24*time.Hour) }, inFuture, []string{"end_time_unix_nano", "10m0s in the future"}},
		{"end of time", func(s *tracepb.Span) { s.EndTimeUnixNano = 1<<64 - 1 }, inFuture, []string{"18446744073709551615 ns"}},
		{"older than retention", func(s *tracepb.Span) {
			s.StartTimeUnixNano = now - uint64(31*24*time.Hour)
			s.EndTimeUnixNano = s.StartTimeUnixNano + 1
		}, tooOld, []string{"start_time_unix_nano", "retention of 720h0m0s"}},
		{"no times", func(s *tracepb.Span) { s.StartTimeUnixNano, s.EndTimeUnixNano = 0, 0 }, tooOld, []string{"start_time_unix_nano"}},
		{"huge tenant id", func(s *tracepb.Span) {
			s.Attributes = append(s.Attributes, text("tenant.id", strings.Repeat("x", 10_000)))
		}, badTenant,
			[]string{"tenant.id", "longer than 128 bytes", "(10000 bytes)"}},
		{"control character", func(s *tracepb.Span) { s.Attributes = append(s.Attributes, text("tenant.id", "a\nb")) }, badTenant, []string{"tenant.id", `"a\nb"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bad := server("bad")
			tc.spoil(bad)
			second := proto.CloneOf(bad)
			out, cols := decodeOne(t, export(server("before", text("k", "v")), bad, server("after", text("k", "v")), second))
			if out.accepted != 2 || out.rejected[tc.why] != 2 || out.rejectedTotal() != 2 {
				t.Fatalf("outcome %+v, want 2 spans and 2 refused as %s", out, reasonNames[tc.why])
			}
			a := out.answer()
			for _, says := range append(tc.says, "1 more spans were refused") {
				if !strings.Contains(a.message, says) {
					t.Errorf("message %q does not say %q", a.message, says)
				}
			}
			if len(a.message) > 600 {
				t.Errorf("message has %d bytes", len(a.message))
			}
			for tb := range tables {
				in, rows := cols.input(tb)
				for _, c := range in {
					if c.Data.Rows() != rows {
						t.Errorf("column %s.%s has %d rows, want %d", tableNames[tb], c.Name, c.Data.Rows(), rows)
					}
				}
			}
			kept := 0
			for _, a := range attributesOf(cols) {
				kept += len(a[1])
			}
			if kept != 2 {
				t.Errorf("%d attributes were kept, want the 2 of the good spans", kept)
			}
		})
	}
}

func TestLimitsCutValuesAndMendUTF8(t *testing.T) {
	s := server(strings.Repeat("n", 1000), text("long", strings.Repeat("é", 4000)), text("bad", "a"))
	for i := range 300 {
		s.Attributes = append(s.Attributes, number("k", int64(i)))
	}
	body := encode(t, export(s))
	i := bytes.Index(body, []byte("bad\x12\x03\x0a\x01a"))
	if i < 0 {
		t.Fatal("cannot find the attribute to spoil")
	}
	body[i+7] = 0xFF
	out, cols, err := decodeBody(body, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if out.accepted != 1 || out.clipped == 0 {
		t.Fatalf("outcome %+v", out)
	}
	if got := len(cols.spans.name.values[0]); got != 512 {
		t.Errorf("name has %d bytes", got)
	}
	a := attributesOf(cols)[0]
	if len(a[0]) != 256 || len(a[1]) != 256 {
		t.Fatalf("%d keys and %d values of attributes were kept", len(a[0]), len(a[1]))
	}
	if i := slices.Index(a[0], "bad"); i < 0 || a[1][i] != replacement {
		t.Errorf("invalid UTF-8 was not replaced: %q", a[1])
	}
}

// A body of 3 MB that would come to 20 GB in columns.
func TestLargeResourceDoesNotMultiply(t *testing.T) {
	req := export()
	for i := range 250 {
		req.ResourceSpans[0].Resource.Attributes = append(req.ResourceSpans[0].Resource.Attributes, text(strconv.Itoa(i), strings.Repeat("r", 4000)))
	}
	for range 20_000 {
		req.ResourceSpans[0].ScopeSpans[0].Spans = append(req.ResourceSpans[0].ScopeSpans[0].Spans, server("x"))
	}
	out, cols := decodeOne(t, req)
	if out.accepted != 20_000 || out.clipped != 0 || cols.spans.resource.Rows() != 20_000 {
		t.Errorf("outcome %+v", out)
	}
	if got := cols.size(); got > 5<<20 {
		t.Errorf("the columns take %d MB", got>>20)
	}
	// One value cannot multiply either.
	s := server("x")
	for range 100 {
		s.Attributes = append(s.Attributes, &commonpb.KeyValue{Key: "k", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{
			ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{text("", strings.Repeat("\x01", 100_000)).Value, text("", strings.Repeat("\x01", 100_000)).Value}}}}})
	}
	if _, cols := decodeOne(t, export(s)); cols.size() > 1<<20 {
		t.Errorf("the columns take %d bytes", cols.size())
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.MaxBody = 1 << 20 })
	good := encode(t, export(server("x")))
	gz := func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	}
	cut := encode(t, export(server("kept back"), server("torn")))
	cut = cut[:len(cut)-3]
	f := func(name string, code int, says string, body []byte, headers ...string) {
		t.Helper()
		resp := r.post(t, "/v1/traces", body, headers...)
		if resp.status != code {
			t.Errorf("%s: status %d, want %d (%q)", name, resp.status, code, resp.body)
		}
		if resp.status == http.StatusOK {
			return
		}
		var s status.Status
		if err := proto.Unmarshal(resp.body, &s); err != nil || resp.header.Get("Content-Type") != typeProtobuf {
			t.Errorf("%s: the answer is no google.rpc.Status: %v, %q", name, err, resp.body)
		}
		if !strings.Contains(s.Message, says) {
			t.Errorf("%s: message %q does not say %q", name, s.Message, says)
		}
	}
	f("no key", 401, "unknown", good, "Authorization", "")
	f("bad key", 401, "unknown", good, "Authorization", "Bearer nonsense")
	f("wrong scope", 403, `"reader" lacks the scope ingest:write`, good, "Authorization", "Bearer reader")
	f("keys away", 503, "cannot be checked", good, "Authorization", "Bearer away")
	f("x-api-key", 200, "", good, "Authorization", "", "X-Api-Key", "ingest")
	f("text", 415, `"text/plain"`, good, "Content-Type", "text/plain")
	f("no type", 415, "application/x-protobuf", good, "Content-Type", "")
	f("brotli", 415, `Content-Encoding: is not supported: use gzip, zstd, or none (got "br")`, good, "Content-Encoding", "br")
	f("not gzip", 400, "not gzip", good, "Content-Encoding", "gzip")
	f("torn gzip", 400, "unexpected EOF", gz(good)[:30], "Content-Encoding", "gzip")
	f("gzip", 200, "", gz(good), "Content-Encoding", "gzip")
	f("too large", 413, "1048576 bytes", make([]byte, 2<<20))
	f("zip bomb", 413, "1048576 bytes", gz(make([]byte, 500<<20)), "Content-Encoding", "gzip")
	f("malformed", 400, "resource_spans[0]", cut)
	f("garbage", 400, "no ExportTraceServiceRequest", []byte("hello, world"))
	f("empty", 200, "", nil)
	if got := r.memory.inUse(); got != 0 {
		t.Errorf("%d bytes are still in flight", got)
	}
	r.awaitEmptySpool(t)
	if got := countAll(t, db); got.spans != 1 { // the good body, sent twice
		t.Errorf("%d spans were stored, want 1", got.spans)
	}
	if resp := r.post(t, "/v1/traces", []byte("{"), "Content-Type", "application/json"); resp.status != 400 ||
		!strings.HasPrefix(string(resp.body), `{"code":3,"message":"the body is no OTLP/JSON`) {
		t.Errorf("bad JSON: %d %q", resp.status, resp.body)
	}
}

func TestJSONIsStoredToo(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	now := time.Now().UnixNano()
	body := strings.ReplaceAll(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"js"}}]},
		"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","name":"GET /","kind":2,
		"startTimeUnixNano":"NOW","endTimeUnixNano":"NOW","attributes":[{"key":"n","value":{"intValue":"7"}}],"futureField":1},
		{"traceId":"","spanId":"EEE19B7EC3C1B174","name":"bad","startTimeUnixNano":"NOW","endTimeUnixNano":"NOW"}]}]}]}`, "NOW",
		strconv.FormatInt(now, 10))
	resp := r.post(t, "/v1/traces", []byte(body), "Content-Type", "application/json; charset=utf-8")
	if resp.status != 200 || !strings.Contains(string(resp.body), `"rejectedSpans":"1"`) || !strings.Contains(string(resp.body), "trace_id") {
		t.Fatalf("%d %q", resp.status, resp.body)
	}
	r.awaitEmptySpool(t)
	var got string
	if err := db.Owner.QueryRow(t.Context(), "SELECT concat(hex(trace_id), hex(span_id), service, attributes['n']) FROM trace_spans").Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "5B8EFFF798038103D269B633813FC60CEEE19B7EC3C1B174js7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHexToBase64(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got, _, err := hexToBase64([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	f(`{"traceId":"0102","name":"0102"}`, `{"traceId":"AQI=","name":"0102"}`)
	f(`{"parent_span_id" : "",`+"\n"+`"spanId" :`+"\t"+`"ff"}`, `{"parent_span_id" : "",`+"\n"+`"spanId" :`+"\t"+`"/w=="}`)
	f(`{"a":"\"traceId\":","b\\":"ff"}`, `{"a":"\"traceId\":","b\\":"ff"}`)
	f(`{"traceId":7,"a":"ff","key":"traceId","value":"ff","list":["spanId","ff"]}`, `{"traceId":7,"a":"ff","key":"traceId","value":"ff","list":["spanId","ff"]}`)
	f(`{"traceId`, `{"traceId`)
	f(`{"traceId":"`, `{"traceId":"`)
	if _, _, err := hexToBase64([]byte(`{"traceId":"xyz"}`)); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00ff","spanId":"","name":"a\"b"}]}]}]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		if body, err := fromJSON(t, traces, src); err == nil {
			if _, _, err := decodeBody(body, time.Now()); err != nil {
				t.Errorf("what JSON became cannot be read: %v", err)
			}
		}
	})
}

func FuzzFromJSONOfOthers(f *testing.F) {
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"1","exemplars":[{"traceId":"00ff"}]}]}}]}]}]}`))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"00ff","body":{"stringValue":"a"}}]}]}]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		if body, err := fromJSON(t, metricPoints, src); err == nil {
			if _, _, err := decodePoints(metricPoints, body, time.Now()); err != nil {
				t.Errorf("what JSON became cannot be read: %v", err)
			}
		}
		if body, err := fromJSON(t, logs, src); err == nil {
			if _, err := countLogRecords(body); err != nil {
				t.Errorf("what JSON became cannot be read: %v", err)
			}
		}
	})
}

func TestOtherSignalsArePartialSuccess(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	logs := &logscollector.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{}, {}}}}}}}
	resp := r.post(t, "/v1/logs", encode(t, logs))
	var l logscollector.ExportLogsServiceResponse
	if err := proto.Unmarshal(resp.body, &l); err != nil || resp.status != 200 || l.GetPartialSuccess().GetRejectedLogRecords() != 2 {
		t.Errorf("logs: %v %d %v", err, resp.status, &l)
	}
	if resp := r.post(t, "/v1/logs", []byte("\xff")); resp.status != 400 {
		t.Errorf("bad logs: %d", resp.status)
	}
}

func TestTenantOfSpanWinsOverResource(t *testing.T) {
	f := func(want string, attributes ...*commonpb.KeyValue) {
		t.Helper()
		_, cols := decodeOne(t, export(server("x", attributes...)))
		if got := cols.requests.tenant.values[cols.requests.tenant.keys[0]]; got != want {
			t.Errorf("tenant %q, want %q", got, want)
		}
	}
	f("acme")
	f("globex", text("tenant.id", "globex"))
	f("42", number("tenant.id", 42))
	f("acme", text("tenant.id", ""))
	f("münchen 1", text("tenant.id", "münchen 1"))
}

// A client that is slow may be quicker the next time: it is told to come again, not that its body is bad.
func TestSlowBodyIsUnavailable(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	for _, encoding := range []string{"identity", "gzip"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ingest\r\nContent-Type: application/x-protobuf\r\n"+
			"Content-Encoding: %s\r\nContent-Length: 1000\r\n\r\n\x1f\x8b", encoding)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d, want 503", encoding, resp.StatusCode)
		}
	}
}

func TestOverloadIsUnavailable(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := faulty(t, db, t.TempDir(), func(table, func() error) error { return errInjected },
		func(o *Options) { o.MaxSpool = 2000; o.MaxInflight = 200_000 })
	for r.post(t, "/v1/traces", encode(t, export(mixed(8, 1)...))).status == 200 {
	}
	resp := r.post(t, "/v1/traces", encode(t, export(server("x"))))
	if resp.status != 503 || resp.header.Get("Retry-After") != "10" || !strings.Contains(string(resp.body), "spool is full") {
		t.Errorf("full spool: %d %v %q", resp.status, resp.header, resp.body)
	}
	resp = r.post(t, "/v1/traces", make([]byte, 400_000))
	if resp.status != 503 || resp.header.Get("Retry-After") != "2" || !strings.Contains(string(resp.body), "wait to be stored") {
		t.Errorf("too much in flight: %d %v %q", resp.status, resp.header, resp.body)
	}
}
