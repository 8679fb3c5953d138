package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// lifecycle stops what was started in the reverse order, each part within a bound. A part that ends by itself with an
// error ends the whole.
type lifecycle struct {
	log     *slog.Logger
	failed  chan error // the first part that ended by itself; buffered for one
	parts   []part
	started sync.WaitGroup
}

type part struct {
	name  string
	bound time.Duration
	stop  func(ctx context.Context) error
}

func newLifecycle(log *slog.Logger) *lifecycle {
	return &lifecycle{log: log, failed: make(chan error, 1)}
}

// onStop adds a part that is stopped by stop.
func (l *lifecycle) onStop(name string, bound time.Duration, stop func(ctx context.Context) error) {
	l.parts = append(l.parts, part{name, bound, stop})
}

// run adds a part that works until its context ends, and starts it.
func (l *lifecycle) run(name string, bound time.Duration, work func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	l.started.Go(func() {
		err := work(ctx)
		if ctx.Err() == nil { // nobody asked it to end
			if err == nil {
				err = errors.New("ended by itself")
			}
			l.fail(fmt.Errorf("%s: %w", name, err))
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	})
	l.onStop(name, bound, func(stopCtx context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-stopCtx.Done():
			return stopCtx.Err()
		}
	})
}

func (l *lifecycle) fail(err error) {
	select {
	case l.failed <- err:
	default: // the first failure is the one that explains the others
	}
}

// stop ends all parts, the last one started first, and returns what went wrong.
func (l *lifecycle) stop() error {
	var errs []error
	for i := len(l.parts) - 1; i >= 0; i-- {
		p := l.parts[i]
		ctx, cancel := context.WithTimeout(context.Background(), p.bound)
		started := time.Now()
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("cannot stop %s: %w", p.name, err))
		}
		cancel()
		l.log.Debug("stopped", "part", p.name, "took", time.Since(started))
	}
	l.parts = nil
	return errors.Join(errs...)
}

// unlessStuck makes a stop with a bound of one that has none.
func unlessStuck(stop func()) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan struct{})
		go func() { defer close(done); stop() }()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
