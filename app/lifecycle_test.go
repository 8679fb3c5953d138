package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestLifecycleStopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLifecycle(discard())
		var order []string
		for _, name := range []string{"database", "engine", "listener"} {
			l.run(name, time.Second, func(ctx context.Context) error {
				<-ctx.Done()
				order = append(order, name)
				return ctx.Err()
			})
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		if want := []string{"listener", "engine", "database"}; !slices.Equal(order, want) {
			t.Errorf("stopped %v, want %v", order, want)
		}
	})
}

func TestLifecycleBoundsAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLifecycle(discard())
		release := make(chan struct{})
		l.run("stuck", 3*time.Second, func(context.Context) error { <-release; return nil })
		started := time.Now()
		l.onStop("hung", 2*time.Second, unlessStuck(func() { <-release }))
		err := l.stop()
		if err == nil || !strings.Contains(err.Error(), "cannot stop stuck") || !strings.Contains(err.Error(), "cannot stop hung") ||
			time.Since(started) != 5*time.Second {
			t.Errorf("got %v after %v, want an error that names both parts after 5 s", err, time.Since(started))
		}
		close(release)
		l.started.Wait()
	})
}

func TestLifecyclePartThatEndsEndsTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLifecycle(discard())
		broken := errors.New("broken")
		l.run("engine", time.Second, func(context.Context) error { return broken })
		l.run("quiet", time.Second, func(ctx context.Context) error { <-ctx.Done(); return nil })
		if err := <-l.failed; !errors.Is(err, broken) || !strings.Contains(err.Error(), "engine") {
			t.Errorf("got %v, want the part's error with its name", err)
		}
		_ = l.stop()
	})
}
