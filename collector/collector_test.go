package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/ClickHouse/clickhouse-go/v2.(*clickhouse).startAutoCloseIdleConnections"),
	)
}

// keys is an Authenticator with fixed keys.
type keys struct{}

func (keys) Authenticate(_ context.Context, token string) (tenant.Identity, error) {
	switch token {
	case "ingest":
		return tenant.Identity{KeyID: 1, Name: "ingest", Scopes: []tenant.Scope{tenant.ScopeIngest}}, nil
	case "other":
		return tenant.Identity{KeyID: 2, Name: "other", Scopes: []tenant.Scope{tenant.ScopeIngest}}, nil
	case "reader":
		return tenant.Identity{KeyID: 3, Name: "reader", Scopes: []tenant.Scope{tenant.ScopeQuery}}, nil
	case "away":
		return tenant.Identity{}, fault.New(fault.Unavailable, "the API key cannot be checked now")
	}
	return tenant.Identity{}, fault.New(fault.Unauthenticated, "the API key is unknown")
}

// running is a collector with its server; stop ends both and may be called twice.
type running struct {
	*Collector
	url  string
	stop func()
}

// start runs a collector over dir and db. set changes its options.
func start(t testing.TB, db *testenv.ClickHouse, dir string, set ...func(*Options)) *running {
	t.Helper()
	o := Options{ClickHouseDSN: db.DSN, Dir: dir, Auth: keys{}, Logger: testLogger(t), Linger: time.Millisecond, SealAfter: time.Millisecond}
	for _, f := range set {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, c)
}

func run(t testing.TB, c *Collector) *running {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	srv := httptest.NewServer(c.Handler())
	r := &running{Collector: c, url: srv.URL}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		srv.Close()
		cancel()
		<-done
	}
	t.Cleanup(r.stop)
	return r
}

func testLogger(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

// response is what a request got.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (r *running) post(t testing.TB, path string, body []byte, headers ...string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ingest")
	req.Header.Set("Content-Type", "application/x-protobuf")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, got}
}

// send posts spans and wants a 200; it returns the partial success, nil for a full one.
func (r *running) send(t testing.TB, spans ...*tracepb.Span) *collectorpb.ExportTracePartialSuccess {
	t.Helper()
	return r.sendBody(t, encode(t, export(spans...)))
}

func (r *running) sendBody(t testing.TB, body []byte) *collectorpb.ExportTracePartialSuccess {
	t.Helper()
	resp := r.post(t, "/v1/traces", body)
	if resp.status != http.StatusOK {
		t.Fatalf("status %d: %q", resp.status, resp.body)
	}
	var out collectorpb.ExportTraceServiceResponse
	if err := proto.Unmarshal(resp.body, &out); err != nil {
		t.Fatal(err)
	}
	return out.PartialSuccess
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// export wraps spans into a request of service checkout of product shop, version 1.2.3, tenant acme.
func export(spans ...*tracepb.Span) *collectorpb.ExportTraceServiceRequest {
	return &collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			text("service.name", "checkout"), text("service.namespace", "shop"),
			text("service.version", "1.2.3"), text("tenant.id", "acme"),
		}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}}
}

var spanSerial atomic.Uint64

// span returns a valid span that ended just now and took a millisecond.
func span(name string, kind tracepb.Span_SpanKind, attributes ...*commonpb.KeyValue) *tracepb.Span {
	id := binary.BigEndian.AppendUint64(nil, spanSerial.Add(1))
	end := uint64(time.Now().UnixNano())
	return &tracepb.Span{
		TraceId: append(make([]byte, 8), id...), SpanId: id,
		Name: name, Kind: kind, StartTimeUnixNano: end - 1e6, EndTimeUnixNano: end, Attributes: attributes,
	}
}

func server(name string, attributes ...*commonpb.KeyValue) *tracepb.Span {
	return span(name, tracepb.Span_SPAN_KIND_SERVER, attributes...)
}

func text(key, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

func number(key string, v int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}}
}

// counts are the numbers of all tables that have to agree.
type counts struct {
	spans, requests, errors                   uint64
	minuteRequests, minuteErrors, minuteHist  uint64
	hourRequests, hourErrors, hourHist, calls uint64
	metered                                   uint64 // of ingest_1m
}

func countAll(t testing.TB, db *testenv.ClickHouse) (c counts) {
	t.Helper()
	scan := func(sql string, dst ...any) {
		t.Helper()
		if err := db.Owner.QueryRow(t.Context(), sql).Scan(dst...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	scan("SELECT count() FROM trace_spans", &c.spans)
	scan("SELECT count(), sum(error) FROM requests", &c.requests, &c.errors)
	scan("SELECT sum(requests), sum(errors), sum(arraySum(mapValues(histogram))) FROM latency_1m", &c.minuteRequests, &c.minuteErrors, &c.minuteHist)
	scan("SELECT sum(requests), sum(errors), sum(arraySum(mapValues(histogram))) FROM latency_1h", &c.hourRequests, &c.hourErrors, &c.hourHist)
	scan("SELECT sum(calls) FROM load_1m", &c.calls)
	scan("SELECT sum(spans) FROM ingest_1m", &c.metered)
	return c
}

// want returns the counts of tables that hold exactly these.
func want(spans, requests, errors, calls uint64) counts {
	return counts{spans, requests, errors, requests, errors, requests, requests, errors, requests, calls, spans}
}

// awaitEmptySpool waits until ClickHouse has all that was acknowledged.
func (r *running) awaitEmptySpool(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s := r.Stats()
		if s.BacklogFiles == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the spool does not empty: %+v", s)
		}
		<-tick.C
	}
}

func TestStoresSpansRequestsAndLoad(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	failed := server("GET /pay", text("http.route", "/pay"), number("http.response.status_code", 503), text("http.request.method", "GET"))
	failed.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "no stock"}
	failed.Events = []*tracepb.Span_Event{{Name: "exception", Attributes: []*commonpb.KeyValue{text("exception.message", "boom")}}}
	if ps := r.send(t,
		failed,
		server("GET /ok", text("tenant.id", "globex")),
		span("SELECT", tracepb.Span_SPAN_KIND_CLIENT, text("db.system.name", "postgresql"), text("server.address", "db1"), number("server.port", 5432)),
		span("inner", tracepb.Span_SPAN_KIND_INTERNAL),
	); ps != nil {
		t.Fatalf("partial success: %v", ps)
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), want(4, 2, 1, 1); got != want {
		t.Fatalf("counts:\n got %+v\nwant %+v", got, want)
	}
	got := ""
	if err := db.Owner.QueryRow(t.Context(), `
		SELECT concat(product, ' ', tenant, ' ', service, ' ', version, ' ', route, ' ', method, ' ', toString(status), ' ', toString(error), ' ', toString(duration_ns))
		FROM requests WHERE route = '/pay'`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "shop acme checkout 1.2.3 /pay GET 503 1 1000000"; got != want {
		t.Errorf("request: got %q, want %q", got, want)
	}
	if err := db.Owner.QueryRow(t.Context(), `
		SELECT concat(hex(trace_id), ' ', hex(span_id), ' ', hex(parent_span_id), ' ', name, ' ', toString(kind), ' ', status_message, ' ', exception, ' ',
			attributes['http.route'], ' ', attributes['http.response.status_code'], ' ', resource['service.name'], ' ', toString(length(resource)))
		FROM trace_spans WHERE error = 1`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%X %X 0000000000000000 GET /pay 2 no stock boom /pay 503 checkout 4", failed.TraceId, failed.SpanId); got != want {
		t.Errorf("span: got %q, want %q", got, want)
	}
	if err := db.Owner.QueryRow(t.Context(), `
		SELECT concat(system, ' ', instance, ' ', tenant, ' ', service, ' ', product, ' ', toString(calls), ' ', toString(errors), ' ', toString(busy_ns)) FROM load_1m`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "database db1:5432 acme checkout shop 1 0 1000000"; got != want {
		t.Errorf("load: got %q, want %q", got, want)
	}
}
