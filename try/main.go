package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	ctx := context.Background()
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { fmt.Println("OTEL ERROR:", err) }))
	exp, err := otlptracegrpc.New(ctx)
	if err != nil { log.Fatal(err) }
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp))
	mexp, err := otlpmetricgrpc.New(ctx)
	if err != nil { log.Fatal(err) }
	mp := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(mexp)))
	tr := tp.Tracer("try")
	c, _ := mp.Meter("try").Int64Counter("my.counter")
	for i := range 100 {
		ctx, s := tr.Start(ctx, "GET /cart", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("tenant.id", fmt.Sprint("t", i%3)), attribute.String("http.route", "/cart")))
		_, cs := tr.Start(ctx, "SELECT", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("server.address", "db1")))
		cs.End()
		c.Add(ctx, 1)
		s.End()
	}
	sd, cancel := context.WithTimeout(ctx, 8*time.Second); defer cancel()
	fmt.Println("traces:", tp.Shutdown(sd))
	fmt.Println("metrics:", mp.Shutdown(sd))
}
