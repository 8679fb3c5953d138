package collector

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

func TestErrorDefinition(t *testing.T) {
	const unset, ok, failed = tracepb.Status_STATUS_CODE_UNSET, tracepb.Status_STATUS_CODE_OK, tracepb.Status_STATUS_CODE_ERROR
	f := func(want uint8, status tracepb.Status_StatusCode, attributes ...*commonpb.KeyValue) {
		t.Helper()
		s := server("x", attributes...)
		s.Status = &tracepb.Status{Code: status}
		_, cols := decodeOne(t, export(s))
		if got := cols.requests.error[0]; got != want {
			t.Errorf("status %v, %v: error %d, want %d", status, attributes, got, want)
		}
		if got := cols.spans.error[0]; got != want {
			t.Errorf("status %v, %v: error of the span %d, want %d", status, attributes, got, want)
		}
	}
	f(0, unset)
	f(0, ok)
	f(1, failed)
	for code, want := range map[int64]uint8{200: 0, 301: 0, 400: 0, 404: 0, 429: 0, 499: 0, 500: 1, 503: 1, 599: 1, 600: 0} {
		for _, status := range []tracepb.Status_StatusCode{unset, ok, failed} {
			f(want, status, number("http.response.status_code", code))
			f(want, status, number("http.status_code", code))
			f(want, status, text("http.response.status_code", fmt.Sprint(code)))
		}
	}
	for code := range int64(17) {
		want := uint8(0)
		switch code {
		case 2, 4, 12, 13, 14, 15:
			want = 1
		}
		f(want, unset, number("rpc.grpc.status_code", code))
		f(want, failed, number("rpc.grpc.status_code", code))
	}
	f(1, unset, number("rpc.grpc.status_code", 13), number("http.response.status_code", 200))
	f(1, unset, number("http.response.status_code", 500), number("rpc.grpc.status_code", 0))
	f(0, failed, number("http.response.status_code", 404), number("http.status_code", 500)) // the newer name wins
	f(0, unset, number("rpc.grpc.status_code", -5))
	f(0, unset, number("rpc.grpc.status_code", 1<<40))
	f(1, failed, text("http.response.status_code", "teapot")) // no status at all
}

func TestRoute(t *testing.T) {
	f := func(want string, attributes ...*commonpb.KeyValue) {
		t.Helper()
		_, cols := decodeOne(t, export(server("span name", attributes...)))
		if got := cols.requests.route.values[cols.requests.route.keys[0]]; got != want {
			t.Errorf("%v: route %q, want %q", attributes, got, want)
		}
	}
	f("span name")
	f("/a/{id}", text("http.route", "/a/{id}"), text("rpc.method", "M"))
	f("pkg.Svc/M", text("rpc.service", "pkg.Svc"), text("rpc.method", "M"))
	f("M", text("rpc.method", "M"))
	f("span name", text("rpc.service", "pkg.Svc"))
	f("M", number("tenant.id", 7), text("rpc.method", "M"))
}

func TestOnlyServerAndConsumerSpansAreRequests(t *testing.T) {
	for kind, want := range map[tracepb.Span_SpanKind]int{0: 0, 1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0, -1: 0} {
		_, cols := decodeOne(t, export(span("x", kind)))
		if got := cols.requests.status.Rows(); got != want {
			t.Errorf("kind %d: %d requests, want %d", kind, got, want)
		}
	}
}

func TestLoadInstance(t *testing.T) {
	f := func(want string, kind tracepb.Span_SpanKind, attributes ...*commonpb.KeyValue) {
		t.Helper()
		_, cols := decodeOne(t, export(span("x", kind, attributes...)))
		got := ""
		if l := &cols.load; l.calls.Rows() > 0 {
			got = l.system.values[l.system.keys[0]] + " " + l.instance.values[l.instance.keys[0]]
		}
		if got != want {
			t.Errorf("%v: load %q, want %q", attributes, got, want)
		}
	}
	f("database db1:5432", kindClient, text("db.system.name", "postgresql"), text("server.address", "db1"), number("server.port", 5432), text("db.namespace", "orders"))
	f("database db1", kindClient, text("db.system", "mysql"), text("net.peer.name", "db1"))
	f("database orders", kindClient, text("db.system", "mysql"), text("db.namespace", "orders"))
	f("database orders", kindClient, text("db.system", "mysql"), text("db.name", "orders"))
	f("database mysql", kindClient, text("db.system", "mysql"))
	f("cache c1:6379", kindClient, text("db.system.name", "redis"), text("server.address", "c1"), number("server.port", 6379))
	f("cache c1", kindClient, text("db.system.name", "valkey"), text("server.address", "c1"))
	f("cache memcached", kindClient, text("db.system.name", "memcached"))
	f("queue orders", kindProducer, text("messaging.system", "kafka"), text("messaging.destination.name", "orders"), text("server.address", "k1"))
	f("queue k1", kindProducer, text("messaging.system", "kafka"), text("server.address", "k1"))
	f("", kindServer, text("db.system", "mysql"))
	f("", kindClient, text("http.request.method", "GET"), text("server.address", "api"))
}

func TestAttributeValuesAsText(t *testing.T) {
	f := func(want string, v *commonpb.AnyValue) {
		t.Helper()
		_, cols := decodeOne(t, export(server("x", &commonpb.KeyValue{Key: "k", Value: v})))
		if got := attributesOf(cols)[0][1][0]; got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	f("", nil)
	f("", &commonpb.AnyValue{})
	f("a\nb", &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "a\nb"}})
	f("true", &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: true}})
	f("-3", &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: -3}})
	f("0.5", &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 0.5}})
	f("NaN", &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.NaN()}})
	f("AQI=", &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{1, 2}}})
	list := &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{
		text("", `q"`).Value, number("", 1).Value, {}, {Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.Inf(1)}},
	}}}}
	f(`["q\"",1,null,"+Inf"]`, list)
	f(`{"a":1,"b":["q\"",1,null,"+Inf"]}`, &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{
		Values: []*commonpb.KeyValue{number("a", 1), {Key: "b", Value: list}}}}})
	deep := list
	for range 50 {
		deep = &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{deep}}}}
	}
	f(`[[[[[[[["…"]]]]]]]]`, deep)
}

// The promise of ADR 0002: a percentile read from latency_1m is within 1.1 % of the exact one.
func TestPercentilesAreWithinTheirBound(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	rng := rand.New(rand.NewPCG(3, 4))
	shapes := map[string]func() float64{ // nanoseconds
		"lognormal": func() float64 { return math.Exp(rng.NormFloat64()*1.5 + 17) },
		"uniform":   func() float64 { return 1 + rng.Float64()*5e8 },
		"two peaks": func() float64 { return []float64{2e6, 9e8}[rng.IntN(2)] * (1 + rng.Float64()/10) },
		"tiny":      func() float64 { return math.Floor(rng.Float64() * 40) },
		"constant":  func() float64 { return 123456789 },
	}
	exact := map[string][]float64{}
	for route, draw := range shapes {
		var spans []*tracepb.Span
		for range 5000 {
			d := math.Floor(draw())
			s := server("x", text("http.route", route))
			s.StartTimeUnixNano = s.EndTimeUnixNano - uint64(d)
			spans = append(spans, s)
			exact[route] = append(exact[route], max(d, 1))
		}
		slices.Sort(exact[route])
		r.send(t, spans...)
	}
	r.awaitEmptySpool(t)
	for _, tier := range []string{"latency_1m", "latency_1h"} {
		for route, all := range exact {
			var got []float64
			if err := db.Owner.QueryRow(context.Background(), `
				SELECT arrayMap(i -> pow(2, (i + 0.5) / 32), quantilesExactWeighted(0.5, 0.95, 0.99)(bucket, n))
				FROM (SELECT sumMap(histogram) AS h FROM `+tier+` WHERE route = ?)
				ARRAY JOIN mapKeys(h) AS bucket, mapValues(h) AS n`, route).Scan(&got); err != nil {
				t.Fatal(err)
			}
			for i, q := range []float64{0.5, 0.95, 0.99} {
				want := all[int(float64(len(all)-1)*q)]
				if off := math.Abs(got[i]-want) / want; off > 0.011 {
					t.Errorf("%s %q p%g: %g, exact %g: off by %.2f %%", tier, route, q*100, got[i], want, off*100)
				}
			}
		}
	}
}
