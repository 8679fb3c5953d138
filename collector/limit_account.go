package collector

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// account is what one tenant may still send.
type account struct {
	id   tenant.ID
	used atomic.Int64 // when it was last looked up, nanoseconds
	room *seriesRoom  // of the limiter

	mu        sync.Mutex // guards all below; held for some arithmetic
	version   uint64     // of the plans that terms are from
	terms     *terms
	at        int64   // when tokens were last added
	hard      amount  // tokens: spans are refused when there are none
	main      sampler // of all spans
	extra     sampler // of spans with errors and slow roots, which main would not keep
	points    float64 // tokens of numbers of metrics' points, which are refused when there are none
	slow      float64 // log2 of the nanoseconds that 99 of 100 roots take at most
	listed    bool    // in limiter.over
	lately    spent   // since the last report
	series    seriesQuota
	forgotten bool // by the limiter, though a request may still use it
}

// terms are a quota as numbers to calculate with.
type terms struct {
	plan       string
	quota      tenant.Quota
	soft, hard amount // a second
	points     float64
	burst      float64
}

func newTerms(plan string, q tenant.Quota) *terms {
	of := func(rate, times int64) float64 {
		if rate == 0 || times == 0 {
			return unlimited
		}
		return float64(rate) * float64(times)
	}
	return &terms{
		plan: plan, quota: q, burst: float64(max(q.BurstSeconds, 1)),
		soft: amount{of(q.SpansPerSecond, 1), of(q.BytesPerSecond, 1)},
		hard: amount{of(q.SpansPerSecond, q.HardLimit), of(q.BytesPerSecond, q.HardLimit)}, points: of(q.PointsPerSecond, 1),
	}
}

// usage is what a tenant has sent under a verdict.
type usage struct {
	spent
	slower int64 // roots that took longer than the verdict's slow
	faster int64
}

// spent is what is charged, and given back when it is not stored; and what was refused, which costs nothing.
type spent struct {
	offered amount  // and not refused
	kept    amount  // of these, by main
	extra   amount  // of the others, those with errors and slow roots
	stored  amount  // of the extra ones
	points  float64 // numbers of metrics' points

	refused, refusedPoints int64
}

func (s *spent) add(o *spent) {
	s.offered, s.kept = s.offered.plus(o.offered, 1), s.kept.plus(o.kept, 1)
	s.extra, s.stored = s.extra.plus(o.extra, 1), s.stored.plus(o.stored, 1)
	s.points += o.points
	s.refused += o.refused
	s.refusedPoints += o.refusedPoints
}

// verdict is what holds for a tenant's next spans and points.
type verdict struct {
	left                   int32 // for so many spans
	leftPoints             int32 // for so many numbers of points
	refused, pointsRefused bool
	level                  uint8  // of account.main
	extra                  uint8  // of account.extra
	slow                   uint64 // a root that took longer is slow, nanoseconds
}

// maxVerdict bounds for how many spans, or numbers of points, a verdict holds: so many more than it may can a tenant get
// through each lane.
const maxVerdict = 32

// firstSlow is the first guess of account.slow: 8 ms. slowStep is how far a root moves it: the guess doubles after 20 that
// are slower, and halves after 2,000 that are faster, so it comes to rest where 1 of 100 is slower.
const (
	firstSlow = 23.0
	slowStep  = 0.05
)

func newAccount(id tenant.ID, t *terms, version uint64, room *seriesRoom, now int64) *account {
	a := &account{
		id: id, version: version, terms: t, room: room, at: now, slow: firstSlow,
		hard: amount{}.plus(t.hard, t.burst), points: t.points * t.burst, series: seriesQuota{fresh: freshSeries(&t.quota), at: now},
	}
	a.main = sampler{tokens: amount{}.plus(t.soft, t.burst), opened: now}
	a.extra = a.main
	return a
}

// charge counts what was used.
func (a *account) charge(u *usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(u)
}

func (a *account) count(u *usage) {
	a.hard = a.hard.plus(u.offered, -1)
	a.main.charge(u.offered, u.kept)
	if u.extra.spans > 0 {
		a.extra.charge(u.extra, u.stored)
	}
	a.points -= u.points
	if u.slower+u.faster > 0 {
		a.slow = max(0, min(a.slow+slowStep*(0.99*float64(u.slower)-0.01*float64(u.faster)), 62))
	}
	a.lately.add(&u.spent)
}

// refund takes back what was charged for what is not stored. What the tenant's roots took stays learned.
func (a *account) refund(s *spent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hard = a.hard.plus(s.offered, 1)
	a.main.refund(s.offered, s.kept)
	a.extra.refund(s.extra, s.stored)
	a.points += s.points
}

// follow takes the tenant's terms when its plan, or what plans allow, has changed. The lock is held.
func (a *account) follow(l *limiter) {
	if p := l.plans.Load(); p.version != a.version {
		a.version = p.version
		if t := l.termsOf(p, a.id); t != a.terms {
			a.terms = t
			a.series.fresh = freshSeries(&t.quota) // with the old ones' rest, series may be refused that the plan allows
		}
	}
}

// settle charges what was used, and says what holds next.
func (a *account) settle(l *limiter, u *usage, now int64) verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.follow(l)
	t := a.terms
	a.count(u)
	seconds := elapsed(&a.at, now)
	a.hard = a.hard.plus(t.hard, seconds).within(amount{}.plus(t.hard, -1), amount{}.plus(t.hard, t.burst))
	a.main.refill(t.soft, t.burst, seconds)
	a.extra.refill(t.soft, t.burst, seconds)
	a.points = min(max(a.points+t.points*seconds, -t.points), t.points*t.burst)
	a.main.adjust(t.soft, t.burst, now)
	a.extra.adjust(t.soft, t.burst, now)
	v := verdict{
		left: maxVerdict, refused: a.hard.spans <= 0 || a.hard.bytes <= 0,
		leftPoints: maxVerdict, pointsRefused: a.points <= 0,
		level: a.main.level, extra: a.extra.level,
	}
	if v.level > 0 {
		v.slow = uint64(math.Exp2(a.slow))
	}
	if !v.refused && a.hard.spans < maxVerdict {
		v.left = int32(math.Ceil(a.hard.spans))
	}
	if !v.pointsRefused && a.points < maxVerdict {
		v.leftPoints = int32(math.Ceil(a.points))
	}
	if !a.listed && (v.refused || v.pointsRefused || v.level > 0) {
		a.listed = l.list(a)
	}
	return v
}

// elapsed returns the seconds since at, and sets it. Requests that are decoded side by side bring times that differ a
// little; a clock that went far back is followed. Neither adds anything.
func elapsed(at *int64, now int64) float64 {
	d := now - *at
	if d > 0 || d < -int64(time.Minute) {
		*at = now
	}
	return float64(max(d, 0)) / 1e9
}

// refusal says why spans are refused.
func (a *account) refusal() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := &a.terms.quota
	what, rate := "spans", q.SpansPerSecond
	if a.hard.spans > 0 {
		what, rate = "bytes of spans", q.BytesPerSecond
	}
	return fmt.Errorf("%s sends more than %d %s a second, the hard limit: %d times what the plan %q allows",
		a.name(), rate*q.HardLimit, what, q.HardLimit, a.terms.plan)
}

// name is how errors call the tenant.
func (a *account) name() string {
	if a.id == tenant.Untagged {
		return "who names no tenant"
	}
	return fmt.Sprintf("tenant %q", a.id)
}
