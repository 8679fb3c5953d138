package demo

import (
	"context"
	"log/slog"
	"time"
)

// catchUp is how much of the past live traffic makes up for after an outage; what is older stays a gap.
const catchUp = 10 * time.Minute

// stream pushes the present, second by second.
type stream struct {
	sender sender
	log    *slog.Logger
	going  map[string]bool // troubles under way, by name
}

// run pushes each second after it is over, from next on, until ctx is done or the collector refuses for good.
func (l *stream) run(ctx context.Context, next time.Time) error {
	l.going = map[string]bool{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now := time.Now().Truncate(time.Second)
		if late := now.Sub(next); late > catchUp {
			l.log.WarnContext(ctx, "live traffic has a gap", "from", next, "seconds", int(late.Seconds()))
			next = now.Add(-catchUp)
		}
		if next.Before(now) {
			if _, err := l.sender.send(ctx, chunk{next, now}); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			next = now
			l.tell(ctx, now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tell logs which troubles began and ended.
func (l *stream) tell(ctx context.Context, now time.Time) {
	on := map[string]bool{}
	for _, t := range l.sender.schedule.At(now.Sub(l.sender.live)) {
		on[t.Name] = true
		if !l.going[t.Name] {
			l.log.InfoContext(ctx, "trouble begins", "trouble", t.Name, "lasts", t.Until-t.From)
		}
	}
	for name := range l.going {
		if !on[name] {
			l.log.InfoContext(ctx, "trouble is over", "trouble", name)
		}
	}
	l.going = on
}
