package collector

import (
	"fmt"

	"github.com/nexis-limited/headroom/tenant"
)

// seriesTokens is what metric series a tenant may still show.
type seriesTokens struct {
	fresh float64 // so many that were not there yesterday
	at    int64
	day   uint16
	today int64 // so many it has shown on that day
}

// newSeriesTokens begins with as many as may be there at a time: after a restart nothing is known of them.
func newSeriesTokens(q *tenant.Quota, now int64) seriesTokens {
	return seriesTokens{fresh: float64(max(q.NewSeriesPerHour, q.ActiveSeries)), at: now}
}

// admitSeries reports whether a series of the tenant may be named for a day. isNew says that it was not there the day before.
func (a *account) admitSeries(day uint16, isNew bool, now int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, s := &a.terms.quota, &a.series
	perHour := float64(q.NewSeriesPerHour)
	if hours := elapsed(&s.at, now) / 3600; s.fresh < perHour {
		s.fresh = min(s.fresh+perHour*hours, perHour)
	}
	if day > s.day {
		s.day, s.today = day, 0
	}
	if q.ActiveSeries > 0 && s.today >= q.ActiveSeries && day == s.day {
		return fmt.Errorf("%s has %d metric series today, the most that the plan %q allows (active-series)", a.name(), s.today, a.terms.plan)
	}
	if isNew && perHour > 0 {
		if s.fresh < 1 {
			return fmt.Errorf("%s shows more than %d new metric series an hour, the most that the plan %q allows (new-series-per-hour)",
				a.name(), q.NewSeriesPerHour, a.terms.plan)
		}
		s.fresh--
	}
	if day == s.day { // what comes late was another day's
		s.today++
	}
	return nil
}

// admitSeries reports whether the point's tenant may have the series; if not, the point is refused. It is for series
// that have no name yet on their day.
func (d *decoder) admitSeries(s seriesDay) bool {
	if d.limits.limiter == nil {
		return true
	}
	a := d.limits.of(tenant.ID(viewString(d.metric.tenant))).account
	before := s
	before.day--
	a.follow(d.limits.limiter) // who sends metrics alone settles nothing
	err := a.admitSeries(s.day, !d.named.known(before), d.limits.now)
	if err != nil {
		d.out.reject(overQuota, func() error { return err })
	}
	return err == nil
}
