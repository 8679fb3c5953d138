package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// load sends bodies over a number of connections and waits for each to be acknowledged before it sends the next.
type load struct {
	url         string
	header      http.Header
	connections int
	bodies      chan *body // those that nobody sends just now

	client  *http.Client
	sent    atomic.Int64 // spans acknowledged, ever
	refused atomic.Int64 // answers that asked to come again
}

func newLoad(url string, header http.Header, connections int, bodies []*body) *load {
	l := &load{url: url, header: header, connections: connections, bodies: make(chan *body, len(bodies))}
	for _, b := range bodies {
		l.bodies <- b
	}
	l.client = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true,
		WriteBufferSize: 64 << 10,
	}}
	return l
}

// saturate sends as fast as answers come until the time is over, and returns when all is acknowledged.
func (l *load) saturate(ctx context.Context, length time.Duration) (latencies, error) {
	over := time.Now().Add(length)
	return l.run(ctx, func() (time.Time, bool) { return time.Now(), time.Now().Before(over) })
}

// pace sends a number of spans a second, evenly, whether answers come or not, as far as there are connections. Latencies
// count from the moment when a request should have been sent, so that waiting for a connection is in them.
func (l *load) pace(ctx context.Context, length time.Duration, rate float64, spansPerBody int) (latencies, error) {
	var (
		n        atomic.Int64
		started  = time.Now()
		interval = float64(spansPerBody) / rate * float64(time.Second)
	)
	return l.run(ctx, func() (time.Time, bool) {
		at := time.Duration(float64(n.Add(1)-1) * interval)
		if at >= length {
			return time.Time{}, false
		}
		time.Sleep(time.Until(started.Add(at)))
		return started.Add(at), true
	})
}

// run sends from all connections until next says that it is over.
func (l *load) run(ctx context.Context, next func() (due time.Time, ok bool)) (latencies, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all := make([]latencies, l.connections)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			for ctx.Err() == nil {
				due, ok := next()
				if !ok {
					return
				}
				b := <-l.bodies
				b.refresh(time.Now())
				err := l.deliver(ctx, b)
				l.bodies <- b
				if err != nil {
					cancel(err)
					return
				}
				all[i] = append(all[i], time.Since(due))
			}
		})
	}
	wg.Wait()
	merged := slices.Concat(all...)
	slices.Sort(merged)
	return merged, context.Cause(ctx)
}

// deliver sends a body until it is acknowledged, as a client should: it comes again when it is asked to.
func (l *load) deliver(ctx context.Context, b *body) error {
	for {
		wait, err := l.send(ctx, b)
		if err != nil {
			return err
		}
		if wait == 0 {
			l.sent.Add(int64(len(b.spans)))
			return nil
		}
		l.refused.Add(1)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// send sends a body once. It returns how long to wait when the answer was to come again.
func (l *load) send(ctx context.Context, b *body) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(b.data))
	if err != nil {
		return 0, err
	}
	req.Header = l.header
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("cannot send spans: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("cannot read the answer: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if len(answer) > 0 && string(answer) != "\n\x00" { // the Collector sends an empty partial_success
			return 0, fmt.Errorf("a partial success: %q", answer) // nothing in these bodies is to be refused
		}
		return 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			return max(time.Duration(s)*time.Second, 100*time.Millisecond), nil
		}
		return 100 * time.Millisecond, nil
	}
	return 0, fmt.Errorf("answered %s: %.300q", resp.Status, answer)
}

// latencies are sorted.
type latencies []time.Duration

func (l latencies) quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(int(q*float64(len(l))), len(l)-1)]
}
