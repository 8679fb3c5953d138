package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// OTLP's wire format, for what an SDK would not send: identical repetitions, mistakes, a million spans.

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

func randomID(n int) []byte {
	b := make([]byte, 0, 16)
	b = binary.BigEndian.AppendUint64(b, rand.Uint64()|1)
	b = binary.BigEndian.AppendUint64(b, rand.Uint64())
	return b[:n]
}

// requestSpan is a request that ended at end.
func requestSpan(tenant, route string, end time.Time, took time.Duration, status int64) *tracepb.Span {
	return &tracepb.Span{
		TraceId: randomID(16), SpanId: randomID(8), Name: "GET " + route, Kind: tracepb.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: uint64(end.Add(-took).UnixNano()), EndTimeUnixNano: uint64(end.UnixNano()),
		Attributes: []*commonpb.KeyValue{text("tenant.id", tenant), text("http.route", route), text("http.request.method", "GET"),
			number("http.response.status_code", status)},
	}
}

// callSpan is a call of a database within a request.
func callSpan(request *tracepb.Span, tenant string) *tracepb.Span {
	return &tracepb.Span{
		TraceId: request.TraceId, SpanId: randomID(8), ParentSpanId: request.SpanId, Name: "SELECT", Kind: tracepb.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: request.StartTimeUnixNano, EndTimeUnixNano: request.EndTimeUnixNano,
		Attributes: []*commonpb.KeyValue{text("tenant.id", tenant), text("db.system.name", "postgresql"), text("server.address", "pg-1")},
	}
}

// export is the body of an export of one service's spans.
func export(product, service string, spans []*tracepb.Span, more ...*commonpb.KeyValue) []byte {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: append([]*commonpb.KeyValue{
			text("service.namespace", product), text("service.name", service), text("service.version", "1.2.3")}, more...)},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return body
}

// post sends a body once.
func post(ctx context.Context, otlp, key string, body []byte, headers ...string) (harness.Answer, error) {
	return postTo(ctx, otlp+"/v1/traces", key, body, headers...)
}

func postTo(ctx context.Context, url, key string, body []byte, headers ...string) (harness.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return harness.Answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return harness.Do(req)
}

// postAll sends a body and wants all of it taken.
func postAll(ctx context.Context, otlp, key string, body []byte) error {
	a, err := post(ctx, otlp, key, body)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK || len(a.Body) != 0 {
		return fmt.Errorf("POST /v1/traces: %d %q", a.Status, a.Body)
	}
	return nil
}
