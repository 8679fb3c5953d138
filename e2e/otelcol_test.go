package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// The OpenTelemetry Collector in front of headroom, with a pipeline for each of its exporters and encodings.
type otelcol struct {
	pipelines []pipeline
	log       string // file
}

// pipeline takes OTLP/HTTP at an address of its own and pushes it on by one exporter.
type pipeline struct{ name, transport, url string }

// startOtelcol starts the Collector that `make` built of e2e/otelcol.
func startOtelcol(t *testing.T, h *harness.Headroom, key string) *otelcol {
	t.Helper()
	binary := os.Getenv("HEADROOM_OTELCOL")
	if binary == "" {
		root, err := harness.Root()
		if err != nil {
			t.Fatal(err)
		}
		binary = filepath.Join(root, "bin", "otelcol-e2e")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("cannot find the OpenTelemetry Collector: run `make bin/otelcol-e2e`: %v", err)
	}
	var receivers, exporters, pipelines strings.Builder
	c := &otelcol{log: filepath.Join(t.TempDir(), "otelcol.log")}
	for _, transport := range []string{"grpc", "http"} {
		for _, compression := range []string{"gzip", "zstd", "none"} {
			p := pipeline{name: "col-" + transport + "-" + compression, transport: transport, url: "http://" + freeAddress(t)}
			c.pipelines = append(c.pipelines, p)
			endpoint := h.OTLP
			if transport == "grpc" {
				endpoint = strings.TrimPrefix(h.GRPC, "http://")
			}
			fmt.Fprintf(&receivers, "  otlp/%s: {protocols: {http: {endpoint: '%s'}}}\n", p.name, strings.TrimPrefix(p.url, "http://"))
			// It tries again much sooner than headroom allows, so that it shows whether it heeds that.
			fmt.Fprintf(&exporters, "  otlp_%s/%s: {endpoint: '%s', tls: {insecure: true}, compression: %s, headers: {authorization: 'Bearer %s'}, "+
				"retry_on_failure: {initial_interval: 50ms, max_interval: 200ms, max_elapsed_time: 0s}}\n", transport, p.name, endpoint, compression, key)
			for _, signal := range []string{"traces", "metrics", "logs"} {
				fmt.Fprintf(&pipelines, "    %s/%s: {receivers: [otlp/%[2]s], exporters: [otlp_%[3]s/%[2]s]}\n", signal, p.name, transport)
			}
		}
	}
	config := filepath.Join(t.TempDir(), "otelcol.yaml")
	text := fmt.Sprintf("receivers:\n%sexporters:\n%sservice:\n  telemetry: {metrics: {level: none}, logs: {sampling: {enabled: false}}}\n  pipelines:\n%s", &receivers, &exporters, &pipelines)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended, its log says
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = log.Close()
		if t.Failed() {
			t.Logf("the Collector wrote:\n%s", c.output())
		}
	})
	eventually(t, 30*time.Second, "the Collector listens", func() error {
		select {
		case <-ended:
			t.Fatal("the Collector ended")
		default:
		}
		for _, p := range c.pipelines {
			if _, err := harness.Get(t.Context(), p.url); err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (c *otelcol) output() string {
	b, _ := os.ReadFile(c.log)
	return string(b)
}

// freeAddress returns an address that is free now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// push gives the pipeline a batch of spans, of which the last bad ones have no trace id.
func (p pipeline) push(t *testing.T, good, bad int) {
	t.Helper()
	var spans []*tracepb.Span
	for i := range good + bad {
		s := requestSpan("acme", "/orders", time.Now(), time.Millisecond, 200)
		if i >= good {
			s.TraceId = nil
		}
		spans = append(spans, s)
	}
	p.pushBody(t, "/v1/traces", export(p.name, "api", spans))
}

func (p pipeline) pushBody(t *testing.T, path string, body []byte) {
	t.Helper()
	a, err := postTo(t.Context(), p.url+path, "", body)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("the Collector answers %d %q, %v", a.Status, a.Body, err)
	}
}

// pushOthers gives the pipeline a gauge of so many tenants, and so many lines of a log.
func (p pipeline) pushOthers(t *testing.T, n int) {
	t.Helper()
	gauge, lines := &metricspb.Gauge{}, &logspb.ScopeLogs{}
	for i := range n {
		now := uint64(time.Now().UnixNano())
		gauge.DataPoints = append(gauge.DataPoints, &metricspb.NumberDataPoint{TimeUnixNano: now,
			Value: &metricspb.NumberDataPoint_AsInt{AsInt: int64(i)}, Attributes: []*commonpb.KeyValue{text("tenant.id", fmt.Sprint("t", i))}})
		lines.LogRecords = append(lines.LogRecords, &logspb.LogRecord{TimeUnixNano: now})
	}
	res := &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.namespace", p.name), text("service.name", "api")}}
	for path, msg := range map[string]proto.Message{
		"/v1/metrics": &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{Resource: res, ScopeMetrics: []*metricspb.ScopeMetrics{{
			Metrics: []*metricspb.Metric{{Name: "e2e.backlog", Data: &metricspb.Metric_Gauge{Gauge: gauge}}}}}}}},
		"/v1/logs": &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{Resource: res, ScopeLogs: []*logspb.ScopeLogs{lines}}}},
	} {
		body, err := proto.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		p.pushBody(t, path, body)
	}
}

// spoolPause is what headroom asks for when its spool is full.
const spoolPause = 10 * time.Second

const (
	requestsTotal = `headroom_collector_requests_total{transport="%s"}`
	unavailable   = `headroom_collector_refused_requests_total{reason="unavailable"}`
	badTraceIDs   = `headroom_collector_rejected_spans_total{reason="trace_id"}`
)

// TestCollectorExporters pushes through the OpenTelemetry Collector's own exporters: all that they have, a batch that is
// refused in part, and an outage during which headroom tells them to come again.
func TestCollectorExporters(t *testing.T) {
	t.Parallel()
	h := start(t, harness.Options{Args: []string{"--max-spool-bytes", "400000"}})
	key := ingestKey(t, h)
	col := startOtelcol(t, h, key)
	ch := embedded(t, h)
	sample := func(name string) float64 {
		t.Helper()
		m, err := h.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m[name]
	}
	// stored waits until each pipeline has so many spans stored, and returns when the last of each transport had.
	stored := func(want int) map[string]time.Time {
		t.Helper()
		done := map[string]time.Time{}
		eventually(t, 90*time.Second, "every request is counted once", func() error {
			missing := map[string]error{}
			for _, p := range col.pipelines {
				got, err := ch.Query(t.Context(), "SELECT count(), uniqExact(trace_id) FROM trace_spans WHERE product = '"+p.name+"'")
				if w := fmt.Sprintf("%d\t%d", want, want); err == nil && got != w {
					err = fmt.Errorf("%s: got %q spans and traces, want %q", p.name, got, w)
				}
				missing[p.transport] = errors.Join(missing[p.transport], err)
			}
			for transport, err := range missing {
				if _, ok := done[transport]; !ok && err == nil {
					done[transport] = time.Now()
				}
			}
			return errors.Join(missing["grpc"], missing["http"])
		})
		return done
	}
	each := len(col.pipelines) / 2 // pipelines of a transport

	const batches, spans = 5, 100
	for range batches {
		for _, p := range col.pipelines {
			p.push(t, spans, 0)
		}
	}
	stored(batches * spans)
	for _, transport := range []string{"grpc", "http"} {
		if got := sample(fmt.Sprintf(requestsTotal, transport)); got != float64(batches*each) {
			t.Errorf("%v requests over %s, want %d", got, transport, batches*each)
		}
	}

	// Metrics are stored as spans are. Logs are not: a partial success says so, and they are not sent again.
	for _, p := range col.pipelines {
		p.pushOthers(t, spans)
	}
	eventually(t, 30*time.Second, "every point is stored once", func() error {
		for _, p := range col.pipelines {
			got, err := ch.Query(t.Context(), "SELECT count(), sum(value), uniqExact(tenant) FROM metric_points WHERE metric = 'e2e.backlog' AND product = '"+p.name+"'")
			if err != nil {
				return err
			}
			if w := fmt.Sprintf("%d\t%d\t%[1]d", spans, spans*(spans-1)/2); got != w {
				return fmt.Errorf("%s: got %q points, want %q", p.name, got, w)
			}
		}
		if n := strings.Count(col.output(), "does not store logs"); n != len(col.pipelines) {
			return fmt.Errorf("the Collector tells %d times that logs are not stored, want %d", n, len(col.pipelines))
		}
		return nil
	})

	// A partial success: the good spans are stored, and nothing is sent again.
	for _, p := range col.pipelines {
		p.push(t, spans, 3)
	}
	stored((batches + 1) * spans)
	eventually(t, 20*time.Second, "the Collector tells what was refused", func() error {
		if n := strings.Count(col.output(), "trace_id: must be 16 bytes"); n != len(col.pipelines) {
			return fmt.Errorf("it tells %d times, want %d", n, len(col.pipelines))
		}
		return nil
	})
	for _, transport := range []string{"grpc", "http"} {
		if got := sample(fmt.Sprintf(requestsTotal, transport)); got != float64((batches+3)*each) {
			t.Errorf("%v requests over %s, want %d: none again", got, transport, (batches+3)*each)
		}
	}
	if got := sample(badTraceIDs); got != float64(3*len(col.pipelines)) {
		t.Errorf("%v spans were refused, want %d", got, 3*len(col.pipelines))
	}

	// An outage. ClickHouse hangs, the spool fills, exporters are told to come again.
	before := map[string]float64{}
	for _, transport := range []string{"grpc", "http"} {
		before[transport] = sample(fmt.Sprintf(requestsTotal, transport))
	}
	engine, err := h.Engine("clickhouse")
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Resume() })
	outage, more := time.Now(), 0
	eventually(t, 60*time.Second, "exporters of both transports are told to come again", func() error {
		for _, p := range col.pipelines {
			p.push(t, spans, 0)
		}
		more++
		if got := sample(unavailable); got < float64(2*len(col.pipelines)) { // all have sent after the spool was full
			return fmt.Errorf("%v requests were refused", got)
		}
		return nil
	})
	if err := engine.Resume(); err != nil {
		t.Fatal(err)
	}
	for transport, at := range stored((batches + 1 + more) * spans) {
		sent := sample(fmt.Sprintf(requestsTotal, transport)) - before[transport]
		if sent <= float64(more*each) {
			t.Errorf("over %s %v requests were sent for %d batches: none was refused", transport, sent, more*each)
		}
		// By themselves the exporters would have come again after a fraction of a second.
		if took := at.Sub(outage); took < spoolPause {
			t.Errorf("over %s all was sent again after %v: headroom had asked to wait for %v", transport, took, spoolPause)
		}
	}
	if n := sample(badTraceIDs); n != float64(3*len(col.pipelines)) {
		t.Errorf("after the outage %v spans were refused, want none more", n)
	}
}
