package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// fleet pushes to a collector and keeps what it was told.
type fleet struct {
	t      *testing.T
	url    string
	client *http.Client
	sent   [fairTenants]atomic.Int64 // requests of each tenant that were acknowledged in full
	points [fairTenants]atomic.Int64 // the same, of metrics

	floodTaken, floodRefused, floodAway atomic.Int64 // spans, spans, requests with 503
	pointsTaken, pointsRefused          atomic.Int64 // of the flood
}

// push sends a body and reads the answer into out.
func (f *fleet) push(key, path string, body []byte, out proto.Message) (status int, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, err
	}
	return resp.StatusCode, proto.Unmarshal(got, out)
}

func (f *fleet) pushSpans(key string, body []byte) (*collectorpb.ExportTracePartialSuccess, int, error) {
	var out collectorpb.ExportTraceServiceResponse
	status, err := f.push(key, "/v1/traces", body, &out)
	return out.PartialSuccess, status, err
}

func (f *fleet) pushMetrics(key string, body []byte) (*metricscollector.ExportMetricsPartialSuccess, int, error) {
	var out metricscollector.ExportMetricsServiceResponse
	status, err := f.push(key, "/v1/metrics", body, &out)
	return out.PartialSuccess, status, err
}

// others lets the well-behaved tenants push for so long and returns the 99th percentile of their acknowledgements, each from
// the moment at which it was due.
func (f *fleet) others(ctx context.Context, long time.Duration) time.Duration {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acks  []time.Duration
		ended = time.Now().Add(long)
	)
	for n := range fairTenants {
		wg.Go(func() {
			id := fmt.Sprintf("good-%02d", n)
			took := func(since time.Time) {
				mu.Lock()
				defer mu.Unlock()
				acks = append(acks, time.Since(since))
			}
			due := time.Now().Add(fairPause * time.Duration(n) / fairTenants)
			for i := 0; due.Before(ended) && time.Now().Before(ended) && ctx.Err() == nil; i, due = i+1, due.Add(fairPause) {
				<-time.After(time.Until(due))
				partial, status, err := f.pushSpans("ingest", fairRequest(f.t, id))
				if err != nil || status != http.StatusOK || partial != nil {
					f.t.Errorf("tenant %d: status %d, %v, %v", n, status, partial, err)
					return
				}
				f.sent[n].Add(1)
				took(due)
				if i%fairMetrics > 0 {
					continue
				}
				due := time.Now()
				refused, status, err := f.pushMetrics("ingest", pointsOf(f.t, id, fairMetrics))
				if err != nil || status != http.StatusOK || refused != nil {
					f.t.Errorf("tenant %d, metrics: status %d, %v, %v", n, status, refused, err)
					return
				}
				f.points[n].Add(fairMetrics)
				took(due)
			}
		})
	}
	wg.Wait()
	slices.Sort(acks)
	if len(acks) == 0 {
		f.t.Fatal("nothing was acknowledged")
	}
	return acks[len(acks)*99/100]
}

// fairRequest is a request of a well-behaved tenant.
func fairRequest(t *testing.T, id string) []byte {
	var spans []*tracepb.Span
	for i := range fairSpans {
		s := server("GET /a", text("http.route", "/a"), text("tenant.id", id))
		if i%2 == 1 {
			s.Kind = tracepb.Span_SPAN_KIND_INTERNAL
		}
		spans = append(spans, s)
	}
	return encode(t, export(spans...))
}

// pointsOf is a request of a tenant with a point of each of so many series.
func pointsOf(t *testing.T, id string, series int) []byte {
	var points []*metricspb.NumberDataPoint
	for i := range series {
		points = append(points, double(time.Now(), 1, text("tenant.id", id), number("i", int64(i))))
	}
	return encode(t, metricsOf(gauge("fair", points...)))
}

// flood is a body of one tenant; n makes it another one each time. Its last bytes are a field that OTLP does not have.
func flood(template []byte, n int64) []byte {
	return binary.AppendUvarint(append(bytes.Clone(template), 15<<3), uint64(n))
}

func floodTemplate(t *testing.T, spans int) []byte {
	var all []*tracepb.Span
	for range spans {
		all = append(all, server("GET /flood", text("http.route", "/flood"), text("tenant.id", "flood"), text("url.path", strings.Repeat("/x", 40))))
	}
	return encode(t, export(all...))
}

// took counts what a request of the flood was told.
func (f *fleet) took(partial *collectorpb.ExportTracePartialSuccess, status int, err error, spans int) {
	switch {
	case err != nil:
		f.t.Errorf("flood: %v", err)
	case status == http.StatusServiceUnavailable:
		f.floodAway.Add(1)
	case status != http.StatusOK:
		f.t.Errorf("flood: status %d", status)
	default:
		if partial != nil && !strings.Contains(partial.ErrorMessage, fmt.Sprintf(`tenant "flood" sends more than %d spans a second`, fairQuota*floodHard)) {
			f.t.Errorf("flood: told %q", partial.ErrorMessage)
		}
		f.floodRefused.Add(partial.GetRejectedSpans())
		f.floodTaken.Add(int64(spans) - partial.GetRejectedSpans())
	}
}

// tookPoints does the same for a request with metrics.
func (f *fleet) tookPoints(partial *metricscollector.ExportMetricsPartialSuccess, status int, err error) {
	switch {
	case err != nil:
		f.t.Errorf("flood of points: %v", err)
	case status == http.StatusServiceUnavailable:
		f.floodAway.Add(1)
	case status != http.StatusOK:
		f.t.Errorf("flood of points: status %d", status)
	default:
		f.pointsRefused.Add(partial.GetRejectedDataPoints())
		f.pointsTaken.Add(floodPoints - partial.GetRejectedDataPoints())
	}
}

// floodPaced offers floodTimes times the quota of spans, and a quarter as much of points, with the key until ctx is done.
func (f *fleet) floodPaced(ctx context.Context, key string) {
	spans, points := floodTemplate(f.t, floodSpans), pointsOf(f.t, "flood", floodPoints)
	tick := time.NewTicker(time.Second * floodSpans / (floodTimes * fairQuota))
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := 0; ctx.Err() == nil; n++ {
		wg.Go(func() {
			partial, status, err := f.pushSpans(key, flood(spans, int64(spanSerial.Add(1))))
			f.took(partial, status, err, floodSpans)
		})
		if n%4 == 0 { // its sender leaves the processors to those that are measured
			wg.Go(func() { f.tookPoints(f.pushMetrics(key, flood(points, int64(spanSerial.Add(1))))) })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// floodAll offers as much as the collector takes, in large bodies over many connections, until ctx is done.
func (f *fleet) floodAll(ctx context.Context, key string) {
	const connections, spans = 16, 4 * floodSpans
	template, points := floodTemplate(f.t, spans), pointsOf(f.t, "flood", floodPoints)
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				before := f.floodAway.Load()
				if n%4 == 0 {
					f.tookPoints(f.pushMetrics(key, flood(points, int64(spanSerial.Add(1)))))
				} else {
					partial, status, err := f.pushSpans(key, flood(template, int64(spanSerial.Add(1))))
					f.took(partial, status, err, spans)
				}
				if f.floodAway.Load() > before {
					select {
					case <-time.After(50 * time.Millisecond): // far less than Retry-After says
					case <-ctx.Done():
					}
				}
			}
		})
	}
}
