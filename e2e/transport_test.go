package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// transport is a way by which OpenTelemetry's Go SDK pushes.
type transport struct {
	name    string
	traces  func(ctx context.Context) (sdktrace.SpanExporter, error)
	metrics func(ctx context.Context) (sdkmetric.Exporter, error)
}

// transports are all ways to push to h. The two on each other's port work too.
func transports(h *harness.Headroom, key string) []transport {
	headers := map[string]string{"authorization": "Bearer " + key}
	overGRPC := func(name, url string, t []otlptracegrpc.Option, m []otlpmetricgrpc.Option) transport {
		return transport{name,
			func(ctx context.Context) (sdktrace.SpanExporter, error) {
				return otlptracegrpc.New(ctx, append(t, otlptracegrpc.WithEndpointURL(url), otlptracegrpc.WithHeaders(headers))...)
			},
			func(ctx context.Context) (sdkmetric.Exporter, error) {
				return otlpmetricgrpc.New(ctx, append(m, otlpmetricgrpc.WithEndpointURL(url), otlpmetricgrpc.WithHeaders(headers))...)
			}}
	}
	overHTTP := func(name, url string, t otlptracehttp.Compression, m otlpmetrichttp.Compression) transport {
		return transport{name,
			func(ctx context.Context) (sdktrace.SpanExporter, error) {
				return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(url+"/v1/traces"), otlptracehttp.WithHeaders(headers), otlptracehttp.WithCompression(t))
			},
			func(ctx context.Context) (sdkmetric.Exporter, error) {
				return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(url+"/v1/metrics"), otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithCompression(m))
			}}
	}
	gzipped, gzippedMetrics := []otlptracegrpc.Option{otlptracegrpc.WithCompressor("gzip")}, []otlpmetricgrpc.Option{otlpmetricgrpc.WithCompressor("gzip")}
	return []transport{
		overGRPC("grpc", h.GRPC, nil, nil),
		overGRPC("grpc-gzip", h.GRPC, gzipped, gzippedMetrics),
		overGRPC("grpc-other-port", h.OTLP, nil, nil),
		overHTTP("http", h.OTLP, otlptracehttp.NoCompression, otlpmetrichttp.NoCompression),
		overHTTP("http-gzip", h.OTLP, otlptracehttp.GzipCompression, otlpmetrichttp.GzipCompression),
		overHTTP("http-other-port", h.GRPC, otlptracehttp.NoCompression, otlpmetrichttp.NoCompression),
	}
}

// TestSDKTransports pushes spans and metrics with OpenTelemetry's Go SDK by every way that it has: every request is there
// once.
func TestSDKTransports(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	const requests = 1500 // three batches of the SDK
	var products []string
	for _, tr := range transports(w.Headroom, w.ingestKey) {
		product := "sdk-" + tr.name
		products = append(products, product)
		t.Run(tr.name, func(t *testing.T) {
			exporter, err := tr.traces(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := newServiceWith(t, exporter, product, "api")
			for i := range requests {
				s.request(fmt.Sprintf("tenant-%d", i%7), time.Now(), time.Millisecond, i%10 == 0)
			}
			s.flush(t)
			pushMetrics(t, tr, product)
		})
	}
	ch := embedded(t, w.Headroom)
	eventually(t, 30*time.Second, "every request is counted once", func() error {
		for _, product := range products {
			got, err := ch.Query(t.Context(), "SELECT count(), sum(error), uniqExact(tenant) FROM requests WHERE product = '"+product+"'")
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("%d\t%d\t7", requests, requests/10); got != want {
				return fmt.Errorf("%s: got %q, want %q", product, got, want)
			}
			got, err = ch.Query(t.Context(), "SELECT metric, tenant, argMax(value, ts), min(started) > toDateTime('2026-01-01 00:00:00') FROM metric_points WHERE product = '"+
				product+"' AND metric IN ('e2e.orders', 'e2e.load') GROUP BY ALL ORDER BY metric FORMAT CSV")
			if err != nil {
				return err
			}
			if want := `"e2e.load","acme",0.5,0` + "\n" + `"e2e.orders","acme",3,1`; got != want {
				return fmt.Errorf("%s: metrics: got %q, want %q", product, got, want)
			}
		}
		return nil
	})
}

// pushMetrics pushes a counter, a gauge and a histogram. That an exporter gets no error means all or a partial success,
// which it must not take for a failure.
func pushMetrics(t *testing.T, tr transport, product string) {
	t.Helper()
	exporter, err := tr.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)),
		sdkmetric.WithResource(resource.NewSchemaless(attribute.String("service.namespace", product), attribute.String("service.name", "api"))))
	meter := provider.Meter("e2e")
	counter, err1 := meter.Int64Counter("e2e.orders")
	gauge, err2 := meter.Float64Gauge("e2e.load")
	histogram, err3 := meter.Float64Histogram("e2e.size")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tenant := metric.WithAttributes(attribute.String("tenant.id", "acme"))
	counter.Add(t.Context(), 3, tenant)
	gauge.Record(t.Context(), 0.5, tenant)
	histogram.Record(t.Context(), 12, tenant)
	if err := provider.ForceFlush(t.Context()); err != nil {
		t.Errorf("metrics: %v", err)
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Errorf("metrics: %v", err)
	}
}

// TestSDKLearnsOfErrors gives the SDK's exporters what cannot work: the error that its user reads must say what is wrong.
func TestSDKLearnsOfErrors(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	for _, tr := range transports(w.Headroom, "sesame") {
		exporter, err := tr.traces(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := &service{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))}
		s.tracer = s.provider.Tracer("e2e")
		s.request("acme", time.Now(), time.Millisecond, false)
		err = s.provider.ForceFlush(t.Context())
		if err == nil || !strings.Contains(err.Error(), "API key") {
			t.Errorf("%s: got %v, want an error that speaks of the API key", tr.name, err)
		}
		_ = s.provider.Shutdown(t.Context())
	}
}
