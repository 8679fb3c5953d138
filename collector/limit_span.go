package collector

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// spanLimits is a decoder's view of the limiter: it remembers the accounts that requests are about, so that most spans
// and points cost a comparison and some additions. It is not safe for concurrent use. Without a limiter everything is kept.
type spanLimits struct {
	limiter *limiter
	now     int64
	day     uint16 // the same, in days since 1970
	request uint32 // a number of the one being decoded
	ledger  *ledger

	seen    []allowance // in the order in which tenants came
	index   map[tenant.ID]int32
	last    int32
	since   int64   // when seen was empty
	touched []int32 // those of seen that the request has used

	key   int64 // the API key that the request came with
	known knownLately
}

// allowance is what a request may use of an account before it asks again.
type allowance struct {
	id      tenant.ID // of account, here because every span compares it
	account *account
	next    int32  // the allowance that the span after this one's had the last time
	request uint32 // that verdict, usage and spent are of
	verdict verdict
	usage   usage // not charged yet
	spent   spent // charged
}

// ledger is what requests have cost, so that it can be given back when they are not stored.
type ledger []charge

type charge struct {
	account *account
	spent   spent
}

const chargeSize = 96 // bytes of a charge

// reset forgets all charges.
func (l *ledger) reset() {
	if len(*l) > maxKeptValues {
		*l = nil
		return
	}
	l.cut(0)
}

// giveBack returns the charges from one on, and forgets them.
func (l *ledger) giveBack(from int) {
	for i := range (*l)[from:] {
		c := &(*l)[from+i]
		c.account.refund(&c.spent)
	}
	l.cut(from)
}

func (l *ledger) cut(from int) {
	clear((*l)[from:]) // of accounts that may be forgotten
	*l = (*l)[:from]
}

const (
	// maxSeen bounds what a body with a tenant a span can make a decoder keep.
	maxSeen = 4096
	// seenFor is how long an account is used without looking it up: the limiter may have forgotten it.
	seenFor = int64(time.Second)
)

// begin starts a request. What it costs comes to the ledger.
func (s *spanLimits) begin(now time.Time, to *ledger) {
	if s.limiter == nil {
		return
	}
	s.now, s.day, s.ledger = s.limiter.time(now), uint16(now.Unix()/(24*60*60)), to
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

// end charges what the request has used since it was asked for last, and writes all that it has cost to the ledger.
func (s *spanLimits) end() {
	for _, at := range s.touched {
		a := &s.seen[at]
		a.account.charge(&a.usage)
		a.spent.add(&a.usage.spent)
		if a.spent != (spent{}) {
			*s.ledger = append(*s.ledger, charge{a.account, a.spent})
		}
		a.usage, a.spent = usage{}, spent{}
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

// use returns the allowance of a tenant that this request sends something of.
func (s *spanLimits) use(id tenant.ID) *allowance {
	a := s.of(id)
	if a.request != s.request { // the first of this request
		a.request, a.verdict, a.usage, a.spent = s.request, verdict{}, usage{}, spent{}
		s.touched = append(s.touched, s.last)
	}
	return a
}

// settle charges what was used, and asks what holds next.
func (a *allowance) settle(s *spanLimits) {
	a.verdict = a.account.settle(s.limiter, &a.usage, s.now)
	a.spent.add(&a.usage.spent)
	a.usage = usage{}
}

// admit decides about the checked span of size bytes. ok is false when it has to be refused. keep is false when
// its tenant is over its quota and its row of trace_spans is to be left out, though what is counted of it is counted.
func (d *decoder) admit(id tenant.ID, size int) (keep, ok bool) {
	if d.limits.limiter == nil {
		return true, true
	}
	a := d.limits.use(id)
	v, u := &a.verdict, &a.usage
	if v.left == 0 {
		a.settle(&d.limits)
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
