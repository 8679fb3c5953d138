package collector

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// A full lane is waited for while its disk hangs, whatever it is full of, and nobody waits longer for having come later.
func TestFullLaneIsWaitedFor(t *testing.T) {
	f := func(name string, fill func(*batch)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &batch{cols: newColumns(), done: make(chan struct{}), began: time.Now()}
				b.cols.spans.attributeValues.buf = make([]byte, maxLane+1)
				fill(b)
				l := &lane{cur: b}
				began := time.Now()
				for range 10 { // one after the other, as through one place
					l.mu.Lock()
					err := l.awaitRoom(time.Minute)
					l.mu.Unlock()
					if !fault.Is(err, fault.Unavailable) {
						t.Fatalf("error %v, want 503", err)
					}
				}
				if took := time.Since(began); took != time.Minute {
					t.Errorf("ten waited %s, want a minute", took)
				}
				b.began = time.Now()
				go func() {
					time.Sleep(time.Second)
					l.mu.Lock()
					l.cur = &batch{cols: newColumns(), done: make(chan struct{})}
					l.mu.Unlock()
					close(b.done)
				}()
				l.mu.Lock()
				defer l.mu.Unlock()
				if err := l.awaitRoom(time.Minute); err != nil || time.Since(b.began) != time.Second {
					t.Errorf("after %s: %v", time.Since(b.began), err)
				}
			})
		})
	}
	f("of requests", func(b *batch) { b.receipts = make([]receipt, 1) })
	f("of what was refused", func(b *batch) { b.cols.ledger = append(b.cols.ledger, charge{}) })
}
