package collector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// OverQuota is a tenant that sends more than its quota.
type OverQuota struct {
	Tenant        tenant.ID
	Plan          string // or "unregistered"
	KeptOneOf     int    // of so many traces one is kept, beside spans with errors and slow roots
	SampledAway   int64  // spans that were counted and not stored, since the last report
	Refused       int64  // spans that were refused, since the last report
	RefusedPoints int64  // points of metrics that were, for the tenant's points a second or its series
}

// String describes it in a log line.
func (o OverQuota) String() string {
	return fmt.Sprintf("%q (%s): 1 of %d traces kept, %d spans counted only, %d refused, %d points refused", string(o.Tenant), o.Plan, o.KeptOneOf, o.SampledAway, o.Refused, o.RefusedPoints)
}

// list puts an account on the list of those to report on. It reports whether there was room. The account's lock is held.
func (l *limiter) list(a *account) bool {
	l.overMu.Lock()
	defer l.overMu.Unlock()
	if len(l.over) >= maxListed {
		return false
	}
	l.over = append(l.over, a)
	return true
}

// How many of the tenants over their quota are told of, those that are over it most: in Stats, and in a line of the log.
const (
	reportWorst = 10
	logWorst    = 3
)

// report looks at the tenants over their quota, for Stats and for a line in the log, and takes those off the list that no
// longer are.
func (l *limiter) report(now time.Time) {
	l.overMu.Lock()
	listed := l.over
	l.over = nil
	l.overMu.Unlock()

	var still []*account
	var all []OverQuota
	for _, a := range listed { // without overMu: accounts are locked before it
		o, over := a.overQuota()
		if over {
			still = append(still, a)
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b OverQuota) int {
		return cmp.Or(cmp.Compare(b.Refused+b.SampledAway+b.RefusedPoints, a.Refused+a.SampledAway+a.RefusedPoints), cmp.Compare(a.Tenant, b.Tenant))
	})
	worst := all[:min(len(all), reportWorst)]
	l.overMu.Lock()
	fresh := len(l.worst) == 0
	l.over = append(l.over, still...)
	l.worst = worst
	l.overMu.Unlock()
	if len(worst) == 0 || !fresh && now.Unix()%60 >= int64(planRefresh/time.Second) {
		return // once when it begins, then once a minute
	}
	names := make([]string, 0, logWorst)
	for _, o := range worst[:min(len(worst), logWorst)] {
		names = append(names, o.String())
	}
	l.log.Warn("tenants are over their quota: --quota sets it, docs/fairness.md says what is kept", "tenants", len(all), "worst", strings.Join(names, "; "))
}

// overQuota says how far over its quota the tenant is, if it is or was since the last report.
func (a *account) overQuota() (OverQuota, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := &a.lately
	o := OverQuota{
		Tenant: a.id, Plan: a.terms.plan, KeptOneOf: 1 << a.main.level,
		SampledAway: int64(u.offered.spans - u.kept.spans - u.stored.spans), Refused: u.refused,
		RefusedPoints: u.refusedPoints,
	}
	over := o.SampledAway > 0 || o.Refused > 0 || o.RefusedPoints > 0
	a.lately = spent{}
	a.listed = over
	return o, over
}

// worstOver returns the tenants that were furthest over their quota at the last report.
func (l *limiter) worstOver() []OverQuota {
	l.overMu.Lock()
	defer l.overMu.Unlock()
	return slices.Clone(l.worst)
}

func (l *limiter) listed() int {
	l.overMu.Lock()
	defer l.overMu.Unlock()
	return len(l.over)
}
