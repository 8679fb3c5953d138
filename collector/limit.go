package collector

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// Plans knows which plan each tenant has. *tenant.Store is one.
type Plans interface {
	// Plans returns the plan of every tenant that somebody gave one.
	Plans(ctx context.Context) (map[tenant.ID]tenant.Plan, error)
}

// QuotaSource knows the quotas that hold now. *tenant.Gates is one.
type QuotaSource interface {
	// Quotas returns those of the plans, and those of tenants that have another than their plan's.
	Quotas(ctx context.Context) (tenant.Quotas, map[tenant.ID]tenant.Quota, error)
}

// limiter holds tenants to their quotas. It is safe for concurrent use: a request looks each of its tenants up once, and
// then asks the account every maxVerdict spans.
//
// Accounts are made as tenants appear, and forgotten when nobody sent anything of theirs for accountIdle, or
// when there are too many. A tenant that comes back then has its whole burst again. One with metric series is kept as
// long as those count for anything.
type limiter struct {
	quotas tenant.Quotas
	source Plans       // nil: everybody is unregistered
	agreed QuotaSource // nil: quotas hold
	log    *slog.Logger
	start  time.Time // what times are measured from, by the monotonic clock
	max    int       // accounts in a shard

	room    seriesRoom
	plans   atomic.Pointer[plans]
	planned chan struct{} // closed when plans were read, or could not be
	seed    maphash.Seed
	shards  [64]shard
	keys    keyLimits
	names   *names

	overMu sync.Mutex // guards over and worst
	over   []*account // that were over their quota at the last report or since; some, if there are very many
	worst  []OverQuota
}

type shard struct {
	mu       sync.Mutex
	accounts map[tenant.ID]*account
}

// plans is which terms each tenant has. It is never changed.
type plans struct {
	version uint64
	of      map[tenant.ID]tenant.Plan
	terms   map[tenant.Plan]*terms
	own     map[tenant.ID]*terms // of tenants that have another quota than their plan's
}

// unregistered is the name of what holds for tenants without a plan.
const unregistered = "unregistered"

const (
	planRefresh = 10 * time.Second
	planTimeout = 5 * time.Second
	accountIdle = time.Hour      // the longest time over which spans, points and routes are limited
	seriesIdle  = 48 * time.Hour // by then no series is of today or yesterday
	maxAccounts = 100_000        // about 60 MB
	maxListed   = 1000           // accounts over their quota that are reported on
)

func newLimiter(quotas tenant.Quotas, source Plans, log *slog.Logger, now time.Time) *limiter {
	l := &limiter{quotas: quotas, source: source, log: log, start: now, max: maxAccounts / len(limiter{}.shards), seed: maphash.MakeSeed(), planned: make(chan struct{})}
	for i := range l.shards {
		l.shards[i].accounts = make(map[tenant.ID]*account)
	}
	p := &plans{terms: map[tenant.Plan]*terms{"": newTerms(unregistered, quotas.Unregistered)}}
	for _, plan := range tenant.Plans() {
		p.terms[plan] = newTerms(string(plan), quotas.Of(plan))
	}
	l.plans.Store(p)
	l.room.max, l.room.odd = maxShown, rand.Uint64()|1
	l.keys.quota = quotas.Key
	l.names = newNames(maxNames)
	return l
}

// time returns now as the accounts count it.
func (l *limiter) time(now time.Time) int64 { return int64(now.Sub(l.start)) }

func (l *limiter) termsOf(p *plans, id tenant.ID) *terms {
	if t := p.own[id]; t != nil {
		return t
	}
	if t := p.terms[p.of[id]]; t != nil {
		return t
	}
	return p.terms[""]
}

// account returns the account of a tenant. The id may lie in memory that is used again.
func (l *limiter) account(id tenant.ID, now int64) *account {
	s := &l.shards[maphash.String(l.seed, string(id))%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[id]
	if a == nil {
		if len(s.accounts) >= l.max {
			s.forgetOne()
		}
		p := l.plans.Load()
		id = tenant.ID(strings.Clone(string(id)))
		a = newAccount(id, l.termsOf(p, id), p.version, &l.room, now)
		s.accounts[id] = a
	}
	a.used.Store(now)
	return a
}

// forgetOne makes room: of some accounts, the one that was not used for longest. Who sends much is never among them, so a
// flood of invented tenants gives nobody a new burst.
func (s *shard) forgetOne() {
	var oldest *account
	n := 0
	for _, a := range s.accounts { // in random order
		if oldest == nil || a.used.Load() < oldest.used.Load() {
			oldest = a
		}
		if n++; n == 16 {
			break
		}
	}
	delete(s.accounts, oldest.id)
	oldest.forget()
}

func (l *limiter) forgetIdle(now int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, a := range s.accounts {
			if idle := now - a.used.Load(); idle > int64(seriesIdle) || idle > int64(accountIdle) && !a.showsSeries() {
				delete(s.accounts, id)
				a.forget()
			}
		}
		s.mu.Unlock()
	}
}

func (l *limiter) accounts() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.accounts)
		s.mu.Unlock()
	}
	return n
}

// run keeps the plans fresh, reports who is over its quota and forgets who is idle, until ctx is done.
func (l *limiter) run(ctx context.Context) {
	l.refresh(ctx)
	close(l.planned)
	tick := time.NewTicker(planRefresh)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.refresh(ctx)
		l.report(time.Now())
		if n%30 == 0 {
			now := l.time(time.Now())
			l.forgetIdle(now)
			l.keys.forgetIdle(now)
			l.names.forgetIdle(now)
		}
	}
}

// refresh reads the plans. While PostgreSQL is away the last ones hold.
func (l *limiter) refresh(ctx context.Context) {
	if l.source == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	of, err := l.source.Plans(ctx)
	if err != nil {
		if ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded { //nolint:errorlint // a context's error is never wrapped
			limitMetrics.planErrors.Inc()
			l.log.Warn("cannot read the tenants' plans: their quotas stay as they were", "error", err)
		}
		return
	}
	l.plans.Store(l.plans.Load().next(of))
	if l.agreed == nil {
		return
	}
	quotas, own, err := l.agreed.Quotas(ctx)
	if err != nil {
		if ctx.Err() == nil || ctx.Err() == context.DeadlineExceeded { //nolint:errorlint // a context's error is never wrapped
			limitMetrics.planErrors.Inc()
			l.log.Warn("cannot read what plans allow: quotas stay as they were", "error", err)
		}
		return
	}
	l.plans.Store(l.plans.Load().with(&quotas, own))
}

// next returns the plans with other tenants on them.
func (p *plans) next(of map[tenant.ID]tenant.Plan) *plans {
	return &plans{version: p.version + 1, of: of, terms: p.terms, own: p.own}
}

// with returns the plans with other quotas. Terms that have not changed stay the same ones, for an account whose terms
// change may show all its series anew.
func (p *plans) with(quotas *tenant.Quotas, own map[tenant.ID]tenant.Quota) *plans {
	n := &plans{version: p.version + 1, of: p.of, terms: make(map[tenant.Plan]*terms, len(p.terms)), own: make(map[tenant.ID]*terms, len(own))}
	same := func(was *terms, name string, q tenant.Quota) *terms {
		if was != nil && was.plan == name && was.quota == q {
			return was
		}
		return newTerms(name, q)
	}
	n.terms[""] = same(p.terms[""], unregistered, quotas.Unregistered)
	for _, plan := range tenant.Plans() {
		n.terms[plan] = same(p.terms[plan], string(plan), quotas.Of(plan))
	}
	for id, q := range own {
		name := string(p.of[id])
		if name == "" {
			name = unregistered
		}
		n.own[id] = same(p.own[id], name, q)
	}
	return n
}
