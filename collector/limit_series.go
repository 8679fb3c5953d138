package collector

import (
	"fmt"
	"sync/atomic"

	"github.com/nexis-limited/headroom/tenant"
)

// seriesQuota is which metric series a tenant has shown and how many more it may. The account's lock guards it.
//
// A series is charged when it is named, at most once a day. That is a day of the collector's clock and not of the points':
// one that comes late, or a little ahead of midnight, begins no day and is no other series. What is charged is
// remembered here, apart from which rows are stored (see namedSeries), so no midnight, no other tenant and no damaged file
// makes a series new that is not.
type seriesQuota struct {
	fresh float64 // so many may come that were there neither today nor yesterday
	at    int64
	day   uint16
	today int64 // so many it has shown on that day, with those that are not stored yet

	// shown has the last day of each series of today and yesterday, by 32 bits of its hash. Of a tenant with 200,000, one
	// new series in 20,000 is so taken for another and let in free: a map that tells all apart takes twice the memory.
	shown map[uint32]uint16
}

// freshSeries returns how many new series there may be to begin with: as many as may be there at a time, for after a
// restart nothing is known of them.
func freshSeries(q *tenant.Quota) float64 {
	if q.ActiveSeries == 0 {
		return max(float64(q.NewSeriesPerHour), maxShown) // no plan says how many there are
	}
	return float64(max(q.NewSeriesPerHour, q.ActiveSeries))
}

// seriesRoom bounds how many series are remembered of all tenants. When there is no room, nobody's are forgotten: those
// that come then are charged whenever they are named.
type seriesRoom struct {
	max  int64
	held atomic.Int64
	odd  uint64 // random
}

// key returns by what a series is remembered: 32 bits of its hash that nobody outside can choose, for who could would have
// series taken for each other.
func (r *seriesRoom) key(series uint64) uint32 { return uint32(series * r.odd >> 32) }

func (r *seriesRoom) take() bool {
	if r.held.Add(1) <= r.max {
		return true
	}
	r.held.Add(-1)
	return false
}

// maxShown is how many series are remembered by default: about 40 MB.
const maxShown = 2_000_000

// showsSeries reports whether something is known of the tenant's series that a new account would not know.
func (a *account) showsSeries() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.series.shown) > 0
}

// forget makes room: the limiter does not have the account any more.
func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.room.held.Add(-int64(len(a.series.shown)))
	a.series.shown, a.forgotten = nil, true
}

// seriesCharge is what a series has cost that is not stored yet. Its owner calls settle or giveBack.
type seriesCharge struct {
	account *account // nil when it has cost nothing
	day     uint16
	fresh   bool
}

// admitSeries charges the tenant for a series that is to be named, or says why it may not have it.
func (a *account) admitSeries(l *limiter, series uint64, day uint16, now int64) (seriesCharge, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.follow(l)
	q, s := &a.terms.quota, &a.series
	perHour := float64(q.NewSeriesPerHour)
	if hours := elapsed(&s.at, now) / 3600; s.fresh < perHour {
		s.fresh = min(s.fresh+perHour*hours, perHour)
	}
	s.turn(&l.room, day)
	key := l.room.key(series)
	last, shown := s.shown[key]
	switch {
	case shown && last == s.day:
		return seriesCharge{}, nil
	case q.ActiveSeries > 0 && s.today >= q.ActiveSeries:
		a.refusePoint(l)
		return seriesCharge{}, fmt.Errorf("%s has %d metric series today, the most that the plan %q allows (active-series)", a.name(), s.today, a.terms.plan)
	case !shown && perHour > 0 && s.fresh < 1:
		a.refusePoint(l)
		return seriesCharge{}, fmt.Errorf("%s shows more than %d new metric series an hour, the most that the plan %q allows (new-series-per-hour)",
			a.name(), q.NewSeriesPerHour, a.terms.plan)
	}
	c := seriesCharge{account: a, day: s.day, fresh: !shown && perHour > 0}
	if c.fresh {
		s.fresh--
	}
	s.today++
	return c, nil
}

// turn begins a day. Requests that are decoded side by side bring times that differ a little, so the day before is
// still this one; a clock that went further back is followed.
func (s *seriesQuota) turn(room *seriesRoom, day uint16) {
	if day == s.day || day+1 == s.day {
		return
	}
	kept := make(map[uint32]uint16) // a map never gives memory back
	for series, last := range s.shown {
		if last+1 == day {
			kept[series] = last
		}
	}
	room.held.Add(int64(len(kept) - len(s.shown)))
	s.day, s.today, s.shown = day, 0, kept
}

// settle remembers that the series is stored and paid for.
func (c seriesCharge) settle(series uint64) {
	a := c.account
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, key := &a.series, a.room.key(series)
	last, shown := s.shown[key]
	switch {
	case shown && last >= c.day: // stored by another lane at the same time, so it was paid twice
		s.giveBack(c)
	case a.forgotten:
	case shown || a.room.take():
		s.shown[key] = c.day
	}
}

// giveBack returns what a series has cost that is not stored.
func (c seriesCharge) giveBack() {
	if c.account == nil {
		return
	}
	c.account.mu.Lock()
	defer c.account.mu.Unlock()
	c.account.series.giveBack(c)
}

func (s *seriesQuota) giveBack(c seriesCharge) {
	if c.fresh {
		s.fresh++
	}
	if c.day == s.day {
		s.today--
	}
}

// admitSeries reports whether the point's tenant may have the series that is to be named; if not, the point is refused.
func (d *decoder) admitSeries(series uint64) (seriesCharge, bool) {
	l := d.limits.limiter
	if l == nil {
		return seriesCharge{}, true
	}
	a := d.limits.of(tenant.ID(viewString(d.metric.tenant))).account
	charge, err := a.admitSeries(l, series, d.limits.day, d.limits.now)
	if err != nil {
		d.out.reject(overQuota, func() error { return err })
		d.limits.use(tenant.ID(viewString(d.metric.tenant))).spent.refusedPoints++ // the account has counted it
	}
	return charge, err == nil
}
