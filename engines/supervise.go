package engines

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The delay before a restart doubles from the first to the second, and starts over once an engine has lived for a
// minute: an engine that dies again and again must not take the machine with it.
const (
	firstRestartDelay  = 100 * time.Millisecond
	longestRestart     = 15 * time.Second
	healthyAfter       = time.Minute
	stopBeforeGivingUp = 5 * time.Second
)

// supervisor keeps one engine running: it alone replaces the process, under mu.
type supervisor struct {
	name   string
	logger *slog.Logger
	launch func(context.Context) (*process, error)
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	current *process
}

func supervise(name string, logger *slog.Logger, first *process, launch func(context.Context) (*process, error)) *supervisor {
	ctx, cancel := context.WithCancel(context.Background())
	s := &supervisor{
		name: name, logger: logger, launch: launch,
		cancel: cancel, ended: make(chan struct{}), current: first,
	}
	go s.run(ctx, first)
	return s
}

func (s *supervisor) run(ctx context.Context, p *process) {
	defer close(s.ended)
	delay := firstRestartDelay
	started := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.done:
		}
		if ctx.Err() != nil {
			return // the process ended because Stop asked it to
		}
		if time.Since(started) > healthyAfter {
			delay = firstRestartDelay
		}
		s.logger.Error("engine died, starting it again", "engine", s.name, "pid", p.pid, "error", p.err, "delay", delay)
		for {
			if !wait(ctx, delay) {
				return
			}
			delay = min(2*delay, longestRestart)
			next, err := s.launch(ctx)
			if ctx.Err() != nil {
				if next != nil {
					s.set(next) // Stop ends it
				}
				return
			}
			if err == nil {
				p = next
				break
			}
			s.logger.Error("cannot start engine again", "engine", s.name, "error", err, "delay", delay)
		}
		s.set(p)
		started = time.Now()
		s.logger.Info("engine runs again", "engine", s.name, "pid", p.pid)
	}
}

func (s *supervisor) set(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = p
}

// pid returns zero for a nil supervisor and for an engine that is down.
func (s *supervisor) pid() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.current.done:
		return 0
	default:
		return s.current.pid
	}
}

// stop ends the supervision first, so that the death which it causes is not answered with a restart.
func (s *supervisor) stop(ctx context.Context) error {
	s.cancel()
	<-s.ended
	return s.current.stop(ctx)
}

// wait reports whether d has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
