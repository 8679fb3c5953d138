package collector

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/tenant"
)

// The benchmarks' spans are those of bench/spans.go, a module of its own: traces of seven spans, of 40 tenants, in four
// products of two services in three pods each, with ten attributes of the resource and four to nine of the span.
type company struct {
	rng       *rand.Rand
	now       uint64
	resources map[string]*tracepb.ResourceSpans
	all       []*tracepb.ResourceSpans
}

// benchBody returns a body of so many spans.
func benchBody(b testing.TB, spans int) []byte { return benchBodies(b, 1, spans)[0] }

// benchBodies returns n bodies of so many spans each.
func benchBodies(b testing.TB, n, spans int) [][]byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		c := company{rng: rand.New(rand.NewPCG(1, uint64(i))), now: uint64(time.Now().UnixNano()), resources: map[string]*tracepb.ResourceSpans{}}
		for left := spans; left > 0; left -= 7 {
			c.trace(min(left, 7))
		}
		bodies[i] = encode(b, &collectorpb.ExportTraceServiceRequest{ResourceSpans: c.all})
	}
	return bodies
}

// trace adds the first n spans of a trace.
func (c *company) trace(n int) {
	var (
		product = [...]string{"commerce", "identity", "messaging", "reporting"}[c.rng.IntN(4)]
		owner   = text("tenant.id", fmt.Sprintf("tenant-%03d", int(40*c.rng.Float64()*c.rng.Float64())))
		route   = c.rng.IntN(20)
		path    = fmt.Sprintf("/v1/resource%d/{id}/items", route)
		item    = fmt.Sprintf("%d/items", 100_000+c.rng.IntN(900_000))
		method  = [...]string{"GET", "GET", "GET", "POST"}[c.rng.IntN(4)]
		status  = int64(200)
		failure *tracepb.Status
		api     = c.service(product, "api", "go", "2.14.3")
		pricing = c.service(product, "pricing", "java", "1.9.0")
		root    = c.id()
		call    = c.id()
		inner   = c.id()
		traceID = append(c.id(), c.id()...)
		end     = c.now - uint64(c.rng.IntN(int(time.Second)))
		start   = end - uint64(2e6*(1+c.rng.ExpFloat64()*10))
	)
	if c.rng.IntN(100) == 0 {
		status, failure = 503, &tracepb.Status{Code: 2, Message: "upstream connect error"}
	}
	add := func(to *tracepb.ResourceSpans, id, parent []byte, name string, kind tracepb.Span_SpanKind, failure *tracepb.Status, attributes ...*commonpb.KeyValue) {
		if n--; n < 0 {
			return
		}
		to.ScopeSpans[0].Spans = append(to.ScopeSpans[0].Spans, &tracepb.Span{TraceId: traceID, SpanId: id, ParentSpanId: parent, Name: name, Kind: kind,
			StartTimeUnixNano: start, EndTimeUnixNano: end, Attributes: append(attributes, owner), Status: failure})
	}
	add(api, root, nil, method+" "+path, tracepb.Span_SPAN_KIND_SERVER, failure,
		text("http.request.method", method), text("http.route", path), text("url.path", fmt.Sprintf("/v1/resource%d/%s", route, item)),
		number("http.response.status_code", status), text("user_agent.original", "acme-app/5.2 (Linux)"), text("network.protocol.version", "1.1"),
		text("server.address", "api."+product+".example.com"), text("client.address", fmt.Sprintf("10.%d.%d.%d", c.rng.IntN(4), c.rng.IntN(256), c.rng.IntN(256))))
	add(api, c.id(), root, "GET", tracepb.Span_SPAN_KIND_CLIENT, nil,
		text("db.system.name", "redis"), text("db.operation.name", "GET"), text("db.query.text", "GET session:?"),
		text("server.address", "redis-"+product+".internal"), number("server.port", 6379))
	add(api, c.id(), root, "authorize", tracepb.Span_SPAN_KIND_INTERNAL, nil,
		text("code.function.name", "auth.Authorize"), text("code.file.path", "internal/auth/authorize.go"), number("code.line.number", 118), text("enduser.role", "member"))
	add(api, call, root, "POST", tracepb.Span_SPAN_KIND_CLIENT, nil,
		text("http.request.method", "POST"), text("server.address", "pricing."+product+".svc"), number("server.port", 8080),
		text("url.full", "http://pricing."+product+".svc:8080/price/"+item), number("http.response.status_code", status))
	add(pricing, inner, call, "POST /price/{id}", tracepb.Span_SPAN_KIND_SERVER, failure,
		text("http.request.method", "POST"), text("http.route", "/price/{id}"), text("url.path", "/price/"+item),
		number("http.response.status_code", status), text("network.protocol.version", "1.1"))
	add(pricing, c.id(), inner, "SELECT prices", tracepb.Span_SPAN_KIND_CLIENT, nil,
		text("db.system.name", "postgresql"), text("db.namespace", product), text("db.operation.name", "SELECT"),
		text("db.query.text", "SELECT * FROM prices WHERE item_id = $1 AND region = $2"), text("server.address", "pg-"+product+".internal"), number("server.port", 5432))
	add(pricing, c.id(), inner, "publish prices", tracepb.Span_SPAN_KIND_PRODUCER, nil,
		text("messaging.system", "rabbitmq"), text("messaging.destination.name", product+".prices"), text("messaging.operation.type", "send"),
		text("messaging.message.id", fmt.Sprintf("%016x", c.rng.Uint64())))
}

func (c *company) id() []byte { return binary.LittleEndian.AppendUint64(nil, c.rng.Uint64()|1) }

// service returns the spans of one of the service's pods.
func (c *company) service(product, name, language, version string) *tracepb.ResourceSpans {
	pod := fmt.Sprintf("%s-%s-6d5f7c9b8-%05d", product, name, c.rng.IntN(3))
	r := c.resources[pod]
	if r == nil {
		r = &tracepb.ResourceSpans{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
				text("service.name", name), text("service.namespace", product), text("service.version", version), text("service.instance.id", pod),
				text("deployment.environment.name", "production"), text("cloud.region", "eu-central-1"), text("k8s.pod.name", pod),
				text("telemetry.sdk.language", language), text("telemetry.sdk.name", "opentelemetry"), text("telemetry.sdk.version", "1.42.0"),
			}},
			ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "io.opentelemetry.instrumentation"}}},
		}
		c.resources[pod], c.all = r, append(c.all, r)
	}
	return r
}

// BenchmarkDecode is from bodies to columns: one core. Quotas are counted, and nobody is over theirs.
func BenchmarkDecode(b *testing.B) { benchDecode(b, nil) }

// BenchmarkDecodeAndEncode is from bodies to the compressed blocks of all tables: one core.
func BenchmarkDecodeAndEncode(b *testing.B) { benchDecode(b, newEncoder()) }

func benchDecode(b *testing.B, enc *encoder) {
	const spans, batch = 2000, 8 // bodies that share a batch
	bodies := benchBodies(b, batch, spans)
	d := limitedDecoder(newLimiter(tenant.Quotas{}, nil, discard, time.Now()))
	cols := newColumns()
	var data []byte
	n := 0
	began := cpuTime(b)
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.decode(request{signal: traces, body: bodies[n%batch]}, cols, time.Now()); err != nil {
			b.Fatal(err)
		}
		if n++; n%batch > 0 {
			continue
		}
		for t := range tables {
			if in, rows := cols.input(t); rows > 0 && enc != nil {
				var err error
				if data, _, err = enc.block(data[:0], in, rows); err != nil {
					b.Fatal(err)
				}
			}
		}
		cols.reset()
	}
	b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(n*spans), "cpu-ns/span")
}
