package collector

import "sync"

// gate lets few in at a time, and when more want in, API keys by turns: a key with a thousand large bodies delays another's
// request by the bodies that are being decoded, not by those that wait. It is safe for concurrent use.
//
// It is start-time fair queueing (Goyal, Vin, Cheng, 1997): each request gets the virtual time at which it would
// start if every key had its own gate; the earliest is let in.
type gate struct {
	mu    sync.Mutex // guards all below
	free  int
	clock uint64          // virtual time: the start of the one that was let in last
	flows map[int64]*flow // of keys that wait, or whose next request starts later than clock
}

// flow is what the gate knows of one key.
type flow struct {
	next    uint64 // when its next request would start
	waiting []waiter
}

type waiter struct {
	start uint64
	in    chan struct{}
}

func newGate(places int) *gate { return &gate{free: places, flows: make(map[int64]*flow)} }

// enter waits for a place; cost is how much work the request is, in bytes. Whoever entered has to call leave.
func (g *gate) enter(key int64, cost int) {
	g.mu.Lock()
	f := g.flows[key]
	if f == nil {
		f = &flow{}
		g.flows[key] = f
	}
	start := max(f.next, g.clock)
	f.next = start + uint64(cost) + 1
	if g.free > 0 {
		g.free--
		g.clock = start
		g.mu.Unlock()
		return
	}
	w := waiter{start, make(chan struct{})}
	f.waiting = append(f.waiting, w)
	g.mu.Unlock()
	<-w.in
}

// do calls f in a place.
func (g *gate) do(key int64, cost int, f func()) {
	g.enter(key, cost)
	defer g.leave()
	f()
}

// charge counts more work of a key that has a place: what its request turned out to be.
func (g *gate) charge(key int64, cost int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flows[key]
	if f == nil {
		f = &flow{}
		g.flows[key] = f
	}
	f.next = max(f.next, g.clock) + uint64(cost)
}

// leave gives the place to the next.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var first *flow
	for key, f := range g.flows { // as many as there are keys that push just now
		switch {
		case len(f.waiting) > 0:
			if first == nil || f.waiting[0].start < first.waiting[0].start {
				first = f
			}
		case f.next <= g.clock:
			delete(g.flows, key)
		}
	}
	if first == nil { // nobody has been kept waiting: all begin anew
		g.free++
		g.clock = 0
		clear(g.flows)
		return
	}
	w := first.waiting[0]
	first.waiting = first.waiting[1:]
	g.clock = w.start
	close(w.in)
}
