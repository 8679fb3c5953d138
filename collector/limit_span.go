package collector

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// spanLimits is a decoder's view of the limiter: it remembers the accounts that requests are about, so that most spans
// cost a comparison and some additions. It is not safe for concurrent use. Without a limiter everything is kept.
type spanLimits struct {
	limiter *limiter
	now     int64
	request uint32 // a number of the one being decoded

	seen    []allowance // in the order in which tenants came
	index   map[tenant.ID]int32
	last    int32
	since   int64   // when seen was empty
	touched []int32 // those of seen that the request has used

	known known
}

// allowance is what a request may use of an account before it asks again.
type allowance struct {
	id      tenant.ID // of account, here because every span compares it
	account *account
	next    int32  // the allowance that the span after this one's had the last time
	request uint32 // that verdict and usage are of
	verdict verdict
	usage   usage
}

const (
	// maxSeen bounds what a body with a tenant a span can make a decoder keep.
	maxSeen = 4096
	// seenFor is how long an account is used without looking it up: the limiter may have forgotten it.
	seenFor = int64(time.Second)
)

// begin starts a request.
func (s *spanLimits) begin(now time.Time) {
	if s.limiter == nil {
		return
	}
	s.now = s.limiter.time(now)
	s.request++
	s.touched = s.touched[:0]
	if age := s.now - s.since; age > seenFor || age < 0 {
		s.forget()
	}
}

func (s *spanLimits) forget() {
	clear(s.index)
	clear(s.seen)
	s.seen, s.last, s.since = s.seen[:0], 0, s.now
}

// end charges what the request has used. Without it, the request costs next to nothing.
func (s *spanLimits) end() {
	for _, at := range s.touched {
		a := &s.seen[at]
		a.account.charge(&a.usage)
		a.usage = usage{}
	}
	s.touched = s.touched[:0]
}

// of returns the allowance of a tenant; it holds until the next call. The id may alias the body.
func (s *spanLimits) of(id tenant.ID) *allowance {
	if len(s.seen) > 0 {
		if guess := s.seen[s.last].next; s.seen[guess].id == id {
			s.last = guess
			return &s.seen[guess]
		}
	}
	at, ok := s.index[id]
	if !ok {
		if len(s.seen) == maxSeen {
			s.end()
			s.forget()
		}
		a := s.limiter.account(id, s.now)
		at = int32(len(s.seen))
		s.seen = append(s.seen, allowance{id: a.id, account: a, next: at})
		if s.index == nil {
			s.index = make(map[tenant.ID]int32)
		}
		s.index[a.id] = at
	}
	s.seen[s.last].next = at
	s.last = at
	return &s.seen[at]
}

// admit decides about the checked span of size bytes. ok is false when it has to be refused. keep is false when
// its tenant is over its quota and its row of trace_spans is to be left out, though what is counted of it is counted.
func (d *decoder) admit(id tenant.ID, size int) (keep, ok bool) {
	if d.limits.limiter == nil {
		return true, true
	}
	a := d.limits.of(id)
	v, u := &a.verdict, &a.usage
	if a.request != d.limits.request { // its first span of this request
		a.request, v.left, *u = d.limits.request, 0, usage{}
		d.limits.touched = append(d.limits.touched, d.limits.last)
	}
	if v.left == 0 {
		*v = a.account.settle(d.limits.limiter, u, d.limits.now)
		*u = usage{}
	}
	v.left--
	if v.refused {
		u.refused++
		d.out.reject(overQuota, a.account.refusal)
		return false, false
	}
	this := amount{1, float64(size)}
	u.offered = u.offered.plus(this, 1)
	if v.level == 0 {
		u.kept = u.kept.plus(this, 1)
		return true, true
	}
	// Over the quota: from here on it may cost more.
	s := &d.span
	slow := false
	if s.kind == kindServer || s.kind == kindConsumer || len(s.parentID) == 0 || allZero(s.parentID) {
		if slow = s.end-s.start > v.slow; slow {
			u.slower++
		} else {
			u.faster++
		}
	}
	switch {
	case keeps(s.traceID, v.level):
		u.kept = u.kept.plus(this, 1)
		return true, true
	case slow || s.facts.isError(s.status):
		u.extra = u.extra.plus(this, 1)
		if keeps(s.traceID, v.extra) {
			u.stored = u.stored.plus(this, 1)
			return true, true
		}
	}
	d.out.sampledAway++
	return false, true
}
