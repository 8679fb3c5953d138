package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // the client's
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	logscollector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// dial serves h as app does, with HTTP/2, and returns a connection of gRPC's own client.
func dial(t testing.TB, h http.Handler, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Config.HTTP2 = HTTP2()
	srv.Start()
	t.Cleanup(srv.Close)
	cc, err := grpc.NewClient(strings.TrimPrefix(srv.URL, "http://"), append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func TestGRPCStoresOnceAndRefusesInPart(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	client := collectorpb.NewTraceServiceClient(dial(t, r.Handler()))
	req := export(server("a"), server("b"), server(""))
	req.ResourceSpans[0].ScopeSpans[0].Spans[2].TraceId = nil
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} { // one request sent twice
		resp, err := client.Export(withKey(t.Context(), "ingest"), req, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if ps := resp.GetPartialSuccess(); ps.GetRejectedSpans() != 1 || !strings.Contains(ps.GetErrorMessage(), "trace_id") {
			t.Errorf("partial success: %v", ps)
		}
	}
	// The same over HTTP is the same request.
	if ps := r.sendBody(t, encode(t, req)); ps.GetRejectedSpans() != 1 {
		t.Errorf("over HTTP: %v", ps)
	}
	resp, err := client.Export(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "ingest"), export(server("c")))
	if err != nil || resp.PartialSuccess != nil {
		t.Errorf("full success: %v, %v", resp, err)
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), want(3, 3, 0, 0); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	lines := &logspb.ResourceLogs{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{}, {}}}}}
	refused, err := logscollector.NewLogsServiceClient(dial(t, r.Handler())).Export(withKey(t.Context(), "ingest"),
		&logscollector.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{lines}})
	if err != nil || refused.GetPartialSuccess().GetRejectedLogRecords() != 2 {
		t.Errorf("logs: %v, %v", refused, err)
	}
}

func TestGRPCErrors(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := faulty(t, db, t.TempDir(), func(table, func() error) error { return errInjected },
		func(o *Options) { o.MaxBody = 1 << 20; o.MaxSpool = 2000 })
	cc := dial(t, r.Handler())
	client := collectorpb.NewTraceServiceClient(cc)
	good := export(server("x"))
	f := func(name string, err error, code codes.Code, says string, wait time.Duration) {
		t.Helper()
		s := grpcstatus.Convert(err)
		if s.Code() != code || !strings.Contains(s.Message(), says) {
			t.Errorf("%s: got %v %q, want %v %q", name, s.Code(), s.Message(), code, says)
		}
		var got time.Duration
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok {
				got = info.RetryDelay.AsDuration()
			}
		}
		if got != wait {
			t.Errorf("%s: may come again after %v, want %v", name, got, wait)
		}
	}
	call := func(key string, req *collectorpb.ExportTraceServiceRequest) error {
		_, err := client.Export(withKey(t.Context(), key), req)
		return err
	}
	_, err := client.Export(t.Context(), good)
	f("no key", err, codes.Unauthenticated, "unknown", 0)
	f("bad key", call("nonsense", good), codes.Unauthenticated, "unknown", 0)
	f("wrong scope", call("reader", good), codes.PermissionDenied, "ingest:write", 0)
	f("keys away", call("away", good), codes.Unavailable, "cannot be checked", retryAfter)
	f("too large", call("ingest", export(server(strings.Repeat("x", 1<<20)))), codes.ResourceExhausted, "1048576 bytes", 0)
	huge := export(server(strings.Repeat("x", 8<<20)))
	_, err = client.Export(withKey(t.Context(), "ingest"), huge, grpc.UseCompressor("gzip"))
	f("bomb", err, codes.ResourceExhausted, "1048576 bytes", 0)
	f("no such method", cc.Invoke(withKey(t.Context(), "ingest"), "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export", good, new(collectorpb.ExportTraceServiceResponse)),
		codes.Unimplemented, "ProfilesService", 0)
	if got := r.memory.inUse(); got != 0 {
		t.Errorf("%d bytes are still in flight", got)
	}
	for call("ingest", export(mixed(8, 1)...)) == nil {
	}
	f("full spool", call("ingest", good), codes.Unavailable, "spool is full", 10*time.Second)
	f("starting", exportNothing(t, dial(t, Unavailable("zögernd 100%"))), codes.Unavailable, "zögernd 100%", retryAfter)
	health, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || health.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
}

func exportNothing(t *testing.T, cc *grpc.ClientConn) error {
	_, err := collectorpb.NewTraceServiceClient(cc).Export(t.Context(), export())
	return err
}

// frame makes a message of gRPC.
func frame(flag byte, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(msg))), msg...)
}

// While the disk cannot be used nobody is to be sent here.
func TestHealthFollowsTheDisk(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	d := newTestDisk(func(string, string) error {
		if broken.Load() {
			return errInjected
		}
		return nil
	})
	r := onDisk(t, testenv.NewClickHouse(t), t.TempDir(), d)
	client := healthpb.NewHealthClient(dial(t, r.Handler()))
	status := func() healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		res, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return res.Status
	}
	if got := status(); got != healthpb.HealthCheckResponse_NOT_SERVING || r.Ready(t.Context()) == nil {
		t.Errorf("with a broken disk: %v, %v", got, r.Ready(t.Context()))
	}
	broken.Store(false)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for status() != healthpb.HealthCheckResponse_SERVING {
		<-tick.C
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// unread is a body of which nothing may be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of an unknown sender was read")
	return 0, io.EOF
}

// Whoever shows no key that is known has its answer before anything of its body is read, and holds no memory for it.
func TestBodiesOfUnknownSendersAreNotRead(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir())
	for path, contentType := range map[string]string{
		"/v1/traces": typeProtobuf, "/v1/metrics": typeJSON, remoteWritePath: typeProtobuf,
		"/opentelemetry.proto.collector.trace.v1.TraceService/Export": typeGRPC,
	} {
		req := httptest.NewRequest(http.MethodPost, path, unread{t})
		req.ProtoMajor = 2
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", "Bearer nonsense")
		rec := httptest.NewRecorder()
		r.Handler().ServeHTTP(rec, req)
		if rec.Code != http.StatusUnauthorized && rec.Header().Get("Grpc-Status") != "16" {
			t.Errorf("%s: got %d, %v", path, rec.Code, rec.Header())
		}
	}
	if held := r.memory.inUse(); held != 0 {
		t.Errorf("%d bytes are in flight", held)
	}
}

// What no client of gRPC sends.
func TestGRPCFramesThatAreRefused(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.MaxBody = 1 << 20 })
	good := encode(t, export(server("x")))
	f := func(name, code, says string, body []byte, headers ...string) {
		t.Helper()
		req := httptest.NewRequest(http.MethodPost, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", bytes.NewReader(body))
		req.ProtoMajor = 2
		req.Header.Set("Content-Type", typeGRPC)
		req.Header.Set("Authorization", "Bearer ingest")
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		rec := httptest.NewRecorder()
		r.Handler().ServeHTTP(rec, req)
		res := rec.Result()
		got := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
		if got != code || !strings.Contains(res.Header.Get("Grpc-Message"), says) || res.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d, status %q %q, want %s %q", name, res.StatusCode, got, res.Header.Get("Grpc-Message"), code, says)
		}
	}
	f("good", "0", "", frame(0, good))
	f("named proto", "0", "", frame(0, good), "Content-Type", "application/grpc+proto")
	f("json", "12", "application/grpc+json", frame(0, good), "Content-Type", "application/grpc+json")
	f("identity", "0", "", frame(0, good), "Grpc-Encoding", "identity")
	f("compression offered, not used", "0", "", frame(0, good), "Grpc-Encoding", "gzip")
	f("nothing", "3", "no message", nil)
	f("torn prefix", "3", "to its end", []byte{0, 0})
	f("torn message", "3", "to its end", frame(0, good)[:30])
	f("two messages", "3", "one message", append(frame(0, good), frame(0, good)...))
	f("flag", "3", "byte 7", frame(7, good))
	f("announced too large", "8", "1048576 bytes", []byte{0, 0xFF, 0xFF, 0xFF, 0xFF})
	f("compressed by nothing", "3", "grpc-encoding", frame(1, good))
	f("compressed by identity", "3", "grpc-encoding", frame(1, good), "Grpc-Encoding", "identity")
	f("compressed by snappy", "12", "use gzip, zstd", frame(1, good), "Grpc-Encoding", "snappy")
	f("no gzip", "3", "not gzip, though grpc-encoding", frame(1, good), "Grpc-Encoding", "gzip")
	f("no zstd", "3", "not zstd, though grpc-encoding", frame(1, good), "Grpc-Encoding", "zstd")
	f("zstd", "0", "", frame(1, zstdOf(t, good)), "Grpc-Encoding", "zstd")
	f("malformed", "3", "resource_spans", frame(0, good[:len(good)-3]))
	if got := r.memory.inUse(); got != 0 {
		t.Errorf("%d bytes are still in flight", got)
	}
}

func zstdOf(t testing.TB, b []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestZstd(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.MaxBody = 12 << 20 })
	good := encode(t, export(server("x")))
	wide := append(bytes.Repeat([]byte{0xA}, 9<<20), good...)
	f := func(name string, code int, says string, body []byte) {
		t.Helper()
		resp := r.post(t, "/v1/traces", body, "Content-Encoding", "zstd")
		if resp.status != code || !strings.Contains(string(resp.body), says) {
			t.Errorf("%s: got %d %q, want %d %q", name, resp.status, resp.body, code, says)
		}
	}
	f("zstd", 200, "", zstdOf(t, good))
	f("two frames", 200, "", append(zstdOf(t, good[:20]), zstdOf(t, good[20:])...))
	f("empty", 200, "", zstdOf(t, nil))
	f("none", 400, "not zstd", good)
	f("torn", 400, "not zstd", zstdOf(t, good)[:20])
	f("wide window", 413, "window has more than 8388608 bytes", zstdOf(t, wide, zstd.WithWindowSize(16<<20)))
	f("bomb", 413, "12582912 bytes", zstdOf(t, make([]byte, 100<<20)))
	f("bomb of one frame", 413, "12582912 bytes", bytes.Repeat(zstdOf(t, make([]byte, 1<<20)), 100))
	if got := r.memory.inUse(); got != 0 {
		t.Errorf("%d bytes are still in flight", got)
	}
	if got := len(r.zstd); got != cap(r.zstd) {
		t.Errorf("%d of %d decoders came back", got, cap(r.zstd))
	}
}

// What else an address gets that is told to people: somebody looks at it, an exporter has the wrong path.
func TestStrayRequests(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir())
	f := func(method, path, contentType string, code int, allow, says string) {
		t.Helper()
		req := httptest.NewRequest(method, path, nil)
		req.Header.Set("Content-Type", contentType)
		rec := httptest.NewRecorder()
		r.Handler().ServeHTTP(rec, req)
		if rec.Code != code || rec.Header().Get("Allow") != allow || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s %s: got %d, Allow %q, %q; want %d %q %q", method, path, rec.Code, rec.Header().Get("Allow"), rec.Body.String(), code, allow, says)
		}
		var s status.Status
		if contentType == typeProtobuf && (proto.Unmarshal(rec.Body.Bytes(), &s) != nil || rec.Header().Get("Content-Type") != typeProtobuf) {
			t.Errorf("%s %s: the answer is no google.rpc.Status: %q", method, path, rec.Body)
		}
	}
	f(http.MethodGet, "/", "", 404, "", "POST OTLP to /v1/traces")
	f(http.MethodGet, "/v1/traces", "", 405, http.MethodPost, "takes POST only, not GET")
	f(http.MethodPut, "/v1/traces", typeProtobuf, 405, http.MethodPost, "POST only")
	f(http.MethodPost, "/v1/trace", typeProtobuf, 404, "", `nothing at "/v1/trace"`)
	f(http.MethodPost, "/v1/traces/v1/traces", typeJSON, 404, "", `"code":5`)
	f(http.MethodPost, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "text/plain", 404, "", "by gRPC")
}

// A call whose sender is slow is told to come again, and holds nothing meanwhile but what has come.
func TestGRPCSlowMessageIsUnavailable(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.ReadTimeout = 50 * time.Millisecond })
	cc := dial(t, r.Handler())
	stream, err := cc.NewStream(withKey(t.Context(), "ingest"), &grpc.StreamDesc{ClientStreams: true}, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
	if err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(new(collectorpb.ExportTraceServiceResponse)) // nothing was sent
	if grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	body, err := proto.Marshal(export(server("x", text("k", "v"))))
	if err != nil {
		f.Fatal(err)
	}
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(body)
	_ = w.Close()
	f.Add(frame(0, body), "")
	f.Add(frame(1, gz.Bytes()), "gzip")
	f.Add(frame(1, zstdOf(f, body)), "zstd")
	f.Add(frame(1, zstdOf(f, make([]byte, 2<<20))), "zstd")
	const limit = 1 << 20
	c := readingCollector(limit, 8<<20)
	f.Fuzz(func(t *testing.T, src []byte, encoding string) {
		b, err := c.newBody(1)
		if err != nil {
			t.Fatal(err)
		}
		err = b.readMessage(bytes.NewReader(src), encoding)
		if err == nil && b.buf.Len() > limit {
			t.Errorf("%d bytes were read", b.buf.Len())
		}
		if err == nil {
			_, _, _ = decodeBody(b.buf.Bytes(), time.Now())
		}
		b.release()
		if got := c.memory.inUse(); got != 0 {
			t.Errorf("%d bytes are still in flight", got)
		}
		if len(c.zstd) != 1 {
			t.Error("a decoder is lost")
		}
	})
}

func BenchmarkReadBody(b *testing.B) {
	var spans []*tracepb.Span
	for range 1000 {
		spans = append(spans, server("GET /orders", text("http.route", "/orders"), number("http.response.status_code", 200)))
	}
	plain := encode(b, export(spans...))
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(plain)
	_ = w.Close()
	c := readingCollector(20<<20, 128<<20)
	for name, src := range map[string][]byte{"": plain, "gzip": gz.Bytes(), "zstd": zstdOf(b, plain)} {
		b.Run("encoding="+name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				body, err := c.newBody(1)
				if err == nil {
					err = body.read(io.NopCloser(bytes.NewReader(src)), int64(len(src)), "", name)
				}
				if err != nil {
					b.Fatal(err)
				}
				body.release()
			}
		})
	}
}
