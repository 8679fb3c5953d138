package slack

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace keeps to about one message a second, and to what Slack asked for last.
type pace struct {
	limiter *rate.Limiter

	mu    sync.Mutex // guards until
	until time.Time  // nothing is sent before
}

func newPace(every time.Duration, burst int) *pace {
	return &pace{limiter: rate.NewLimiter(rate.Every(every), burst)}
}

// wait returns when the next message may go.
func (p *pace) wait(ctx context.Context) error { return p.limiter.Wait(ctx) }

// block notes that Slack wants to hear nothing for a while.
func (p *pace) block(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until = until
	}
}

// blocked returns how long Slack wants to hear nothing.
func (p *pace) blocked() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}
