package slo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexis-limited/headroom/alerting"
)

// Alerts is told what every evaluation saw; *alerting.Service is one. Being told the same twice must change nothing.
type Alerts interface {
	Observe(ctx context.Context, o alerting.Observation) error
}

// EngineOptions are what an Engine needs. Those without a default are required.
type EngineOptions struct {
	Pool       *pgxpool.Pool // where the leader's lock is, which needs a session of its own: not a pooler's
	Store      *Store
	Reader     *Reader
	Alerts     Alerts
	Logger     *slog.Logger
	Registerer prometheus.Registerer

	Every      time.Duration // from the start of one cycle to that of the next; 10 s by default
	StandBy    time.Duration // how often one that does not lead asks whether it may; 2 s by default
	MaxTenants int           // pairs of SLO and tenant that the metrics show, those in trouble first; 1,000 by default
}

// Engine evaluates all SLOs again and again, on one process at a time, and tells alerting what it sees.
type Engine struct {
	o       EngineOptions
	log     *slog.Logger
	metrics *engineMetrics
	leading atomic.Bool
	last    atomic.Pointer[Snapshot] // of the cycles that this process led; nil when it does not lead
}

// NewEngine returns an engine that Run starts. It registers its metrics.
func NewEngine(o EngineOptions) (*Engine, error) {
	if o.Pool == nil || o.Store == nil || o.Reader == nil || o.Alerts == nil || o.Logger == nil || o.Registerer == nil {
		return nil, errors.New("cannot make an SLO engine without pool, store, reader, alerts, logger and registerer")
	}
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	if o.StandBy == 0 {
		o.StandBy = 2 * time.Second
	}
	if o.MaxTenants == 0 {
		o.MaxTenants = 1000
	}
	e := &Engine{o: o, log: o.Logger.With("component", "slo")}
	e.metrics = newEngineMetrics(e)
	for _, c := range []prometheus.Collector{e.metrics, e.metrics.duration, e.metrics.lag, e.metrics.failures, &stateCollector{e}} {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the SLO engine's metrics: %w", err)
		}
	}
	return e, nil
}

// Leading reports whether this process is the one that evaluates.
func (e *Engine) Leading() bool { return e.leading.Load() }

// Run evaluates until ctx is done, whenever this process leads. It returns nil: what fails is logged and tried again.
func (e *Engine) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		l, err := e.waitForLead(ctx)
		if err != nil {
			return nil //nolint:nilerr // only ctx ends the wait
		}
		e.lead(ctx, l)
	}
	return nil
}

// waitForLead returns when this process leads. The error is ctx's.
func (e *Engine) waitForLead(ctx context.Context) (*leadership, error) {
	complained := false
	for {
		l, err := tryToLead(ctx, e.o.Pool)
		switch {
		case l != nil:
			return l, nil
		case err != nil && ctx.Err() == nil && !complained:
			complained = true
			e.log.ErrorContext(ctx, "cannot ask to lead the SLO engine", "error", err)
		}
		if err := wait(ctx, e.o.StandBy); err != nil {
			return nil, err
		}
	}
}

// lead runs cycles until ctx is done or the leadership is lost. One begins when it is due and the one before is over, so
// cycles never overlap and never queue up.
func (e *Engine) lead(ctx context.Context, l *leadership) {
	e.log.InfoContext(ctx, "leading the SLO engine")
	e.leading.Store(true)
	defer func() {
		e.leading.Store(false)
		e.last.Store(nil)
		l.giveUp(ctx)
	}()
	ticker := time.NewTicker(e.o.Every)
	defer ticker.Stop()
	due := time.Now()
	for {
		e.metrics.lag.Set(max(0, time.Since(due).Seconds()))
		if err := l.check(ctx); err != nil {
			if ctx.Err() == nil {
				e.log.WarnContext(ctx, "lost the lead of the SLO engine", "error", err)
			}
			return
		}
		if err := e.cycle(ctx, time.Now()); err != nil && ctx.Err() == nil {
			e.metrics.failures.Inc()
			e.log.ErrorContext(ctx, "an SLO cycle failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case due = <-ticker.C:
		}
	}
}

// cycle evaluates once and tells alerting.
func (e *Engine) cycle(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, evaluationTimeout)
	defer cancel()
	if behind, err := e.o.Store.Sync(ctx); err != nil {
		return err
	} else if behind {
		e.log.InfoContext(ctx, "brought the objectives in ClickHouse up to date")
	}
	s, err := e.o.Reader.Evaluate(ctx, now)
	if err != nil {
		return err
	}
	if err := e.o.Alerts.Observe(ctx, observe(s)); err != nil {
		return fmt.Errorf("cannot hand %d statuses to alerting: %w", len(s.Statuses), err)
	}
	e.last.Store(s)
	e.metrics.duration.Observe(time.Since(now).Seconds())
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
