package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// result is what one run of one system gave.
type result struct {
	System    string
	Rate      float64 // spans a second, from the first request until all are in ClickHouse
	Spans     int64   // acknowledged, and found in ClickHouse, of the whole run
	Refused   int64   // answers that asked to come again
	Saturated latencies
	PacedRate float64 // spans a second at which Paced was measured
	Paced     latencies
	Memory    int64 // most that the receiver had resident, bytes
	CPU       cpuUse
	Sizes     []tableSize
}

// cpuUse is processor time for a span, in microseconds, while the system was saturated.
type cpuUse struct{ Load, Receiver, ClickHouse float64 }

// plan says how a system is measured.
type plan struct {
	length      time.Duration // of sending as fast as it goes
	pacedLength time.Duration
	connections int
	bodySpans   int
	pacedRate   float64 // 0: half of what the system took
	profile     string  // directory for profiles
}

// measure runs the plan against a system that has just been started.
func measure(ctx context.Context, s *system, p plan) (*result, error) {
	bodies := makeBodies(max(64, p.connections*5/4), p.bodySpans, 1) // sent again and again with new ids
	l := newLoad(s.url, s.header, p.connections, bodies)
	defer l.client.CloseIdleConnections()
	// Connections, caches and the first segments are not what is measured.
	if _, err := l.saturate(ctx, 500*time.Millisecond); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := s.db.await(ctx, s.table, l.sent.Load()); err != nil {
		return nil, err
	}
	r := &result{System: s.name}
	if err := r.saturate(ctx, s, l, p); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if err := r.pace(ctx, s, l, p); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	var err error
	if r.Memory, err = peakMemory(s.pid); err != nil {
		return nil, err
	}
	if r.Sizes, err = s.db.sizes(ctx); err != nil {
		return nil, err
	}
	r.Spans, r.Refused = l.sent.Load(), l.refused.Load()
	return r, nil
}

func (r *result) saturate(ctx context.Context, s *system, l *load, p plan) error {
	pids := []int{os.Getpid(), s.pid, s.clickhousePID}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if before[i], err = cpuTime(pid); err != nil {
			return err
		}
	}
	profiled := make(chan error, 1)
	go func() { profiled <- s.profile(ctx, p) }()
	was, started := l.sent.Load(), time.Now()
	var err error
	if r.Saturated, err = l.saturate(ctx, p.length); err != nil {
		return err
	}
	if err := s.db.await(ctx, s.table, l.sent.Load()); err != nil {
		return err
	}
	took := time.Since(started)
	spans := float64(l.sent.Load() - was)
	r.Rate = spans / took.Seconds()
	for i, dst := range []*float64{&r.CPU.Load, &r.CPU.Receiver, &r.CPU.ClickHouse} {
		now, err := cpuTime(pids[i])
		if err != nil {
			return err
		}
		*dst = float64((now - before[i]).Microseconds()) / spans
	}
	return <-profiled
}

func (r *result) pace(ctx context.Context, s *system, l *load, p plan) error {
	if p.pacedLength == 0 {
		return nil
	}
	r.PacedRate = p.pacedRate
	if r.PacedRate == 0 {
		r.PacedRate = r.Rate / 2
	}
	b := <-l.bodies
	size := len(b.spans)
	l.bodies <- b
	var err error
	if r.Paced, err = l.pace(ctx, p.pacedLength, r.PacedRate, size); err != nil {
		return err
	}
	return s.db.await(ctx, s.table, l.sent.Load())
}

// bytes returns what a span needs on disk: in the table of spans, and in all tables together.
func (r *result) bytes(table string) (spans, all float64) {
	for _, s := range r.Sizes {
		all += float64(s.Bytes)
		if s.Table == table {
			spans = float64(s.Bytes)
		}
	}
	return spans / float64(r.Spans), all / float64(r.Spans)
}

// profile writes a profile of headroom's processor time and memory to files, when the plan asks for that.
func (s *system) profile(ctx context.Context, p plan) error {
	if p.profile == "" || s.internal == "" {
		return nil
	}
	seconds := max(int(p.length.Seconds()), 1)
	return errors.Join(
		download(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.internal, seconds), p.profile+"/cpu.prof"),
		download(ctx, s.internal+"/debug/pprof/heap", p.profile+"/heap.prof"),
		download(ctx, s.internal+"/metrics", p.profile+"/metrics.txt"))
}
