package collector

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// Many times more large messages at once than there is memory for: each is stored, or its client told to come again and
// when, in which another's small ones come through at their first attempt.
func TestManyLargeMessagesComeThrough(t *testing.T) {
	const messages, spans = 48, 400
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.MaxInflight = 16 << 20 })
	cc := dial(t, r.Handler())
	var wg sync.WaitGroup
	var away, left atomic.Int64
	left.Store(messages)
	for range messages {
		var all []*tracepb.Span
		for range spans { // 1.7 MB
			all = append(all, server("GET /large", text("a", strings.Repeat("x", 4000))))
		}
		req := export(all...)
		wg.Go(func() {
			defer left.Add(-1)
			again := time.NewTicker(100 * time.Millisecond) // sooner than it is told
			defer again.Stop()
			for began := time.Now(); time.Since(began) < 3*time.Minute; <-again.C {
				_, err := collectorpb.NewTraceServiceClient(cc).Export(withKey(t.Context(), "ingest"), req, grpc.UseCompressor("gzip"))
				if err == nil {
					return
				}
				away.Add(1)
				s := grpcstatus.Convert(err)
				if _, retryable := first[*errdetails.RetryInfo](s.Details()); s.Code() != codes.Unavailable || !retryable {
					t.Errorf("told %v, without when to come again", err)
					return
				}
			}
			t.Error("a message did not come through")
		})
	}
	small := 0
	cc2 := dial(t, r.Handler())
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for ; left.Load() > 0; small++ {
		<-pace.C
		if _, err := collectorpb.NewTraceServiceClient(cc2).Export(withKey(t.Context(), "other"), export(server("GET /small"))); err != nil {
			t.Errorf("a small message: %v", err)
			break
		}
	}
	wg.Wait()
	r.awaitEmptySpool(t)
	n := uint64(messages*spans + small)
	if got, want := countAll(t, db), want(n, n, 0, 0); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
	t.Logf("%d times told to come again; %d small messages meanwhile", away.Load(), small)
}

// first returns the first of some details that has the type.
func first[T any](details []any) (v T, ok bool) {
	for _, d := range details {
		if v, ok = d.(T); ok {
			return v, true
		}
	}
	return v, false
}
