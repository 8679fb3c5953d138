package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// service is a service instrumented with OpenTelemetry's Go SDK, set up as its users set it up.
type service struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
}

func newService(t *testing.T, h *harness.Headroom, key, product, name string) *service {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(h.OTLP+"/v1/traces"),
		otlptracehttp.WithHeaders(map[string]string{"Authorization": "Bearer " + key}),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	return newServiceWith(t, exporter, product, name)
}

func newServiceWith(t *testing.T, exporter sdktrace.SpanExporter, product, name string) *service {
	t.Helper()
	s := &service{provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(500*time.Millisecond), sdktrace.WithBlocking()),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.namespace", product),
			attribute.String("service.name", name), attribute.String("service.version", "1.2.3"))),
	)}
	s.tracer = s.provider.Tracer("e2e")
	t.Cleanup(func() {
		if err := s.provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// request records a request of a tenant that ended at end. A failed one answered 500.
func (s *service) request(tenant string, end time.Time, took time.Duration, failed bool) {
	status := 200
	if failed {
		status = 500
	}
	_, span := s.tracer.Start(context.Background(), "POST /orders", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(end.Add(-took)),
		trace.WithAttributes(attribute.String("tenant.id", tenant), attribute.String("http.request.method", "POST"),
			attribute.String("http.route", "/orders"), attribute.Int("http.response.status_code", status)))
	if failed {
		span.SetStatus(codes.Error, "no connection")
		span.RecordError(fmt.Errorf("no connection"))
	}
	span.End(trace.WithTimestamp(end))
}

// flush returns when all that was recorded is acknowledged.
func (s *service) flush(t *testing.T) {
	t.Helper()
	if err := s.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}
