package collector

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// A body that is broken at its end has filled the dictionaries of its lane before that. Nobody may wait for them to be
// stored, which will not happen.
func TestBodiesThatAreNotStoredHoldUpNobody(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	large := strings.Repeat("x", 4000)
	for i := range 2*len(r.committer.lanes) + 2 {
		req := export(span("a", tracepb.Span_SPAN_KIND_SERVER))
		one := req.ResourceSpans[0]
		req.ResourceSpans = nil
		for j := range 17 {
			var attributes []*commonpb.KeyValue
			for k := range 250 {
				attributes = append(attributes, text("a"+strconv.Itoa(k), strconv.Itoa(100*i+j)+large))
			}
			req.ResourceSpans = append(req.ResourceSpans, &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: attributes}, ScopeSpans: one.ScopeSpans})
		}
		if resp := r.post(t, "/v1/traces", append(encode(t, req), 0xff)); resp.status != http.StatusBadRequest {
			t.Fatalf("status %d, want 400: %s", resp.status, resp.body)
		}
	}
	for _, l := range r.committer.lanes {
		l.mu.Lock()
		if size := l.cur.cols.size(); size > 0 {
			t.Errorf("%d bytes are left of bodies that were refused", size)
		}
		l.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 2 * len(r.committer.lanes) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/traces", bytes.NewReader(encode(t, export(span("b", tracepb.Span_SPAN_KIND_SERVER)))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer ingest")
		req.Header.Set("Content-Type", typeProtobuf)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
}

// What a large set of labels costs is paid once, not for each of the many small things that share it.
func TestSharedLabelsCostOnce(t *testing.T) {
	t.Parallel()
	f := func(name string, s *signal, body []byte) {
		t.Helper()
		started := time.Now()
		out, _, err := decodePoints(s, body, started)
		if err != nil || out.accepted > 0 {
			t.Errorf("%s: %d accepted, %v", name, out.accepted, err)
		}
		if took := time.Since(started); took > 20*time.Second { // each for itself: minutes
			t.Errorf("%s took %s", name, took)
		}
	}
	large := strings.Repeat("x", 4000)
	var attributes []*commonpb.KeyValue
	refs := []string{"__name__", "m"}
	for i := range 250 {
		attributes = append(attributes, text("a"+strconv.Itoa(100+i), large))
		refs = append(refs, "a"+strconv.Itoa(100+i), large)
	}
	f("scopes", metricPoints, encode(t, &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: attributes}, ScopeMetrics: make([]*metricspb.ScopeMetrics, 1_000_000),
	}}}))
	samples := make([]*writev2.Sample, 500_000)
	for i := range samples {
		samples[i] = &writev2.Sample{Value: 1, Timestamp: time.Now().UnixMilli()}
	}
	f("samples", remoteWrite2, encode(t, newRequest2().add(&writev2.TimeSeries{Samples: samples}, refs...).build()))
}

// While the disk hangs, clients are told to come again instead of being gathered. What they sent is counted once.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	var hangs atomic.Bool
	release := make(chan struct{})
	d := newTestDisk(func(step, _ string) error {
		if step == "sync" && hangs.Load() {
			<-release
		}
		return nil
	})
	r := onDisk(t, db, t.TempDir(), d, func(o *Options) { o.AckTimeout = 50 * time.Millisecond })
	hangs.Store(true)
	body := encode(t, export(span("a", tracepb.Span_SPAN_KIND_SERVER)))
	for range 3 {
		if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
			t.Fatalf("status %d with Retry-After %q, want 503: %s", resp.status, resp.header.Get("Retry-After"), resp.body)
		}
	}
	hangs.Store(false)
	close(release)
	deadline := time.Now().Add(30 * time.Second)
	for r.post(t, "/v1/traces", body).status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("still refused")
		}
	}
	r.awaitEmptySpool(t)
	if got := countAll(t, db); got.spans != 1 || got.requests != 1 {
		t.Errorf("counts %+v, want one", got)
	}
}
