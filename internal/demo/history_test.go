package demo

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	trace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestChunksCoverHistoryOnceNewestFirst(t *testing.T) {
	f := func(from, until time.Time, have ...time.Time) {
		t.Helper()
		there := map[int64]bool{}
		for _, m := range have {
			there[minuteOf(m)] = true
		}
		list := chunks(from, until, there)
		seen := map[time.Time]bool{}
		for i, c := range list {
			if !c.from.Before(c.until) || c.until.Sub(c.from) > chunkSeconds*time.Second {
				t.Errorf("chunk %v", c)
			}
			if i > 0 && c.until.After(list[i-1].from) {
				t.Errorf("chunk %v comes after %v", c, list[i-1])
			}
			for s := c.from; s.Before(c.until); s = s.Add(time.Second) {
				seen[s] = true
			}
		}
		for s := from; s.Before(until); s = s.Add(time.Second) {
			if seen[s] == there[minuteOf(s)] {
				t.Fatalf("second %s: pushed %v", s, seen[s])
			}
		}
	}
	at := time.Date(2026, 11, 24, 9, 52, 31, 0, time.UTC)
	minute := at.Truncate(time.Minute)
	f(at.Add(-time.Hour), at)
	f(at, at)
	f(at.Add(-time.Second), at)
	f(at.Add(-time.Hour), at, minute)
	f(at.Add(-time.Hour), at, minute.Add(-10*time.Minute), minute.Add(-11*time.Minute), minute.Add(-30*time.Minute))
	f(minute.Add(-time.Hour), minute, minute.Add(-time.Minute), minute.Add(-time.Hour))
}

// receiver is a collector that remembers span ids and when the youngest span ended.
type receiver struct {
	mu      sync.Mutex
	spans   map[string]int
	last    time.Time
	minutes map[int64]bool // that have spans
	down    bool
}

func newReceiver() *receiver {
	return &receiver{spans: map[string]int{}, minutes: map[int64]bool{}}
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return response(503, nil), nil
	}
	z, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if _, err := io.Copy(&body, z); err != nil {
		return nil, err
	}
	var in trace.ExportTraceServiceRequest
	if err := proto.Unmarshal(body.Bytes(), &in); err != nil {
		return nil, err
	}
	for _, rs := range in.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				r.spans[string(s.TraceId)+string(s.SpanId)]++
				r.minutes[minuteOf(time.Unix(0, int64(s.EndTimeUnixNano)))] = true
				if end := time.Unix(0, int64(s.EndTimeUnixNano)); end.After(r.last) {
					r.last = end
				}
			}
		}
	}
	return response(200, nil), nil
}

func TestFillPushesEverySpanOnce(t *testing.T) {
	c := NewCompany()
	s := NewSchedule(c)
	r := newReceiver()
	f := filler{traffic: func() *Traffic { return NewTraffic(c, 1, 20, 0) }, schedule: s, live: morning,
		pusher: newPusher(r.RoundTrip), log: slog.New(slog.DiscardHandler)}
	from := morning.Add(-33 * time.Minute)
	n, err := f.fill(t.Context(), chunks(from, morning, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	one := NewTraffic(c, 1, 20, 0)
	for at := from; at.Before(morning); at = at.Add(time.Second) {
		for _, x := range one.Second(nil, at, s.Effects(at.Sub(morning))) {
			want++
			if r.spans[string(x.Trace[:])+string(x.ID[:])] != 1 {
				t.Fatalf("%s arrived %d times", x.Op.Name, r.spans[string(x.Trace[:])+string(x.ID[:])])
			}
		}
	}
	if int(n) != want || len(r.spans) != want {
		t.Errorf("%d spans acknowledged and %d arrived, want %d", n, len(r.spans), want)
	}
}

func TestFillStopsAtARefusal(t *testing.T) {
	c := NewCompany()
	f := filler{traffic: func() *Traffic { return NewTraffic(c, 1, 20, 0) }, schedule: NewSchedule(c), live: morning,
		log: slog.New(slog.DiscardHandler), pusher: newPusher(func(*http.Request) (*http.Response, error) { return response(401, nil), nil })}
	if _, err := f.fill(t.Context(), chunks(morning.Add(-time.Hour), morning, nil)); err == nil {
		t.Error("a refused key is no error")
	}
}

func TestLivePushesThePresentAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCompany()
		r := newReceiver()
		start := time.Now()
		l := stream{log: slog.New(slog.DiscardHandler), sender: sender{
			traffic: NewTraffic(c, 1, 20, 0), schedule: NewSchedule(c), live: start, pusher: newPusher(r.RoundTrip)}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.run(ctx, start.Add(-20*time.Second)) }()

		check := func(after time.Duration) {
			t.Helper()
			time.Sleep(time.Until(start.Add(after)))
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if age := time.Since(r.last); age < 0 || age > 3*time.Second {
				t.Errorf("after %s the youngest span is %s old", after, age)
			}
			want := 0
			one := NewTraffic(c, 1, 20, 0)
			for at := start.Add(-20 * time.Second); at.Before(time.Now().Truncate(time.Second)); at = at.Add(time.Second) {
				want += len(one.Second(nil, at, l.sender.schedule.Effects(at.Sub(start))))
			}
			if len(r.spans) != want {
				t.Errorf("after %s %d spans arrived, want %d", after, len(r.spans), want)
			}
		}
		check(100 * time.Millisecond)
		check(30*time.Second + 100*time.Millisecond)
		r.mu.Lock()
		r.down = true
		r.mu.Unlock()
		time.Sleep(2 * time.Minute)
		r.mu.Lock()
		r.down = false
		r.mu.Unlock()
		check(3*time.Minute + 100*time.Millisecond)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run returned %v when it was told to stop", err)
		}
	})
}
