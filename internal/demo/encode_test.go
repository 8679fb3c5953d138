package demo

import (
	"testing"
	"time"

	trace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// What OpenTelemetry's own decoder reads from a body is what the traffic said.
func TestBodiesSayWhatTheTrafficDoes(t *testing.T) {
	c := NewCompany()
	c.Route("catalog GET /catalog/items").Untagged = .2
	f := NewTraffic(c, 5, 200, 0)
	effects := []Effect{{Deploy: &Deploy{Route: c.Route("checkout POST /checkout"), Cells: []int{0, 1, 2}, Share: .5,
		Failure: Failure{Step: -1, Status: 500, Type: "NullPointerException", Message: "region is null"}}}}
	var e Encoder
	var spans []Span
	failed, untagged := 0, 0
	for i := range 10 { // an encoder is used again and again
		spans = f.Second(spans[:0], morning.Add(time.Duration(i)*time.Second), effects)
		var req trace.ExportTraceServiceRequest
		if err := proto.Unmarshal(e.Encode(nil, spans), &req); err != nil {
			t.Fatal(err)
		}
		if req.ProtoReflect().GetUnknown() != nil {
			t.Error("the request has unknown fields")
		}
		got := map[string]*tracepb.Span{}
		resources := map[string]map[string]any{}
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				if ss.Scope.GetName() == "" {
					t.Error("a scope has no name")
				}
				for _, s := range ss.Spans {
					got[string(s.TraceId)+string(s.SpanId)] = s
					resources[string(s.TraceId)+string(s.SpanId)] = plain(rs.Resource.Attributes)
				}
			}
		}
		if len(got) != len(spans) {
			t.Fatalf("%d spans arrive of %d", len(got), len(spans))
		}
		for i := range spans {
			want := &spans[i]
			key := string(want.Trace[:]) + string(want.ID[:])
			if got[key] == nil {
				t.Fatalf("%s is missing", want.Op.Name)
			}
			sameSpan(t, got[key], want)
			r := resources[key]
			if r["service.name"] != want.Op.Service.Name || r["service.namespace"] != want.Op.Service.Product.Name || r["service.version"] != want.Version {
				t.Errorf("%s %s comes from %v", want.Op.Service.Name, want.Version, r)
			}
			if want.Failure != nil {
				failed++
			}
			if want.Tenant.ID == "" {
				untagged++
			}
		}
	}
	if failed == 0 || untagged == 0 {
		t.Errorf("%d spans failed and %d have no tenant: some of each are needed here", failed, untagged)
	}
}

func sameSpan(t *testing.T, got *tracepb.Span, want *Span) {
	t.Helper()
	parent := ""
	if want.Parent != [8]byte{} {
		parent = string(want.Parent[:])
	}
	if got.Name != want.Op.Name || int(got.Kind) != int(want.Op.Kind) || string(got.ParentSpanId) != parent ||
		got.StartTimeUnixNano != uint64(want.Start) || got.EndTimeUnixNano != uint64(want.End) {
		t.Errorf("got %v, want %+v", got, want)
	}
	attrs := plain(got.Attributes)
	expect := map[string]any{}
	if want.Tenant.ID != "" {
		expect["tenant.id"] = string(want.Tenant.ID)
	}
	for _, a := range want.Op.Attrs {
		if expect[a.Key] = a.Text; a.Text == "" {
			expect[a.Key] = a.Number
		}
	}
	if want.Op.HTTP {
		expect["http.response.status_code"] = int64(want.Status)
	}
	if want.Op.RPC {
		expect["rpc.grpc.status_code"] = int64(0)
	}
	if want.Failure != nil {
		expect["error.type"] = want.Failure.Type
		if want.Op.RPC {
			expect["rpc.grpc.status_code"] = int64(14)
		}
		if got.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || got.Status.GetMessage() != want.Failure.Message {
			t.Errorf("%s: status %v, want the error %q", got.Name, got.Status, want.Failure.Message)
		}
	} else if got.Status != nil {
		t.Errorf("%s: status %v, want none", got.Name, got.Status)
	}
	if len(attrs) != len(got.Attributes) {
		t.Errorf("%s has an attribute twice: %v", got.Name, got.Attributes)
	}
	for k, v := range expect {
		if attrs[k] != v {
			t.Errorf("%s: %s is %v, want %v", got.Name, k, attrs[k], v)
		}
	}
	if len(attrs) != len(expect) {
		t.Errorf("%s: attributes %v, want %v", got.Name, attrs, expect)
	}
	if entryFailed := want.Failure != nil && want.Op.entry(); !entryFailed {
		if len(got.Events) != 0 {
			t.Errorf("%s has events %v", got.Name, got.Events)
		}
	} else if len(got.Events) != 1 || got.Events[0].Name != "exception" || got.Events[0].TimeUnixNano != uint64(want.End) ||
		plain(got.Events[0].Attributes)["exception.message"] != want.Failure.Message ||
		plain(got.Events[0].Attributes)["exception.type"] != want.Failure.Type {
		t.Errorf("%s has events %v, want the exception %v", got.Name, got.Events, want.Failure)
	}
}

func plain(list []*common.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = v.IntValue
		}
	}
	return m
}

func BenchmarkEncode(b *testing.B) {
	f := NewTraffic(NewCompany(), 5, 1500, 0)
	spans := f.Second(nil, morning, nil)
	var e Encoder
	var z compressor
	body := e.Encode(nil, spans)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			body = e.Encode(body[:0], spans)
		}
		b.ReportMetric(float64(b.N)*float64(len(spans))/b.Elapsed().Seconds(), "spans/s")
	})
	b.Run("generate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			spans = f.Second(spans[:0], morning, nil)
		}
		b.ReportMetric(float64(b.N)*float64(len(spans))/b.Elapsed().Seconds(), "spans/s")
	})
	b.Run("compress", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, err := z.compress(body); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*float64(len(spans))/b.Elapsed().Seconds(), "spans/s")
	})
}
