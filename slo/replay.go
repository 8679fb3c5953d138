package slo

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// series are the requests of a tenant, or of all together, minute by minute from a first minute on.
type series struct {
	from time.Time
	sums []Counts // sums[i] are those of the first i minutes
}

// newSeries returns n minutes from a first one on, to be filled in order.
func newSeries(from time.Time, n int) *series {
	return &series{from: from, sums: make([]Counts, 1, n+1)}
}

// put adds the requests of a minute that is not before those that were put. What comes after the last minute is left out.
func (s *series) put(minute time.Time, c Counts) {
	i := int(minute.Sub(s.from) / time.Minute)
	if i < 0 || i+1 >= cap(s.sums) {
		return
	}
	s.fill(i + 1)
	last := &s.sums[i+1]
	last.Good, last.Total = last.Good+c.Good, last.Total+c.Total
}

// fill brings the series to n minutes, those that were not put without requests.
func (s *series) fill(n int) {
	for len(s.sums) <= n {
		s.sums = append(s.sums, s.sums[len(s.sums)-1])
	}
}

// between returns the requests of the minutes from the i-th to the one before the j-th.
func (s *series) between(i, j int) Counts {
	a, b := s.sums[i], s.sums[j]
	return Counts{Good: b.Good - a.Good, Total: b.Total - a.Total}
}

// clock holds where each window of a definition begins at each minute of a stretch of time, as minutes from a first one
// on; it is the same for all tenants.
type clock struct {
	d        *Definition
	from, to int     // evaluated is at the end of each of these minutes
	starts   []int32 // for each minute the budget's and then long and short of each pair
	width    int
	zero     time.Time // when minute 0 begins
}

// newClock returns the clock for evaluating at the end of every minute in [from, to), all whole minutes.
func newClock(d *Definition, zero, from, to time.Time) *clock {
	minutes := func(t time.Time) int { return int(t.Sub(zero) / time.Minute) }
	c := &clock{d: d, from: minutes(from), to: minutes(to), width: 1 + 2*len(d.Policy.Windows), zero: zero}
	c.starts = make([]int32, 0, c.width*(c.to-c.from))
	add := func(t time.Time) { c.starts = append(c.starts, int32(max(0, minutes(t)))) }
	for m := from; m.Before(to); m = m.Add(time.Minute) {
		w := d.windowsAt(m)
		add(w.budget)
		for _, p := range w.pairs {
			add(p.long)
			add(p.short)
		}
	}
	return c
}

// at sets s to how the SLO stood at the end of a minute. s is reused from call to call.
func (c *clock) at(minute int, requests *series, target PPM, s *Status) {
	starts := c.starts[(minute-c.from)*c.width:][:c.width]
	s.At = c.zero.Add(time.Duration(minute+1)*time.Minute - time.Second)
	s.Counts = requests.between(int(starts[0]), minute+1)
	s.ErrorBudgetRemaining = errorBudgetRemaining(s.Counts, target)
	s.BurnRates = s.BurnRates[:0]
	for i, w := range c.d.Policy.Windows {
		long, short := requests.between(int(starts[1+2*i]), minute+1), requests.between(int(starts[2+2*i]), minute+1)
		s.BurnRates = append(s.BurnRates, evaluatePair(w, c.d.Policy.Confidence, target, long, short))
	}
}

// quiet reports whether nothing failed in any pair's window that ends with the minute, so that nothing can fire.
func (c *clock) quiet(minute int, requests *series) bool {
	starts := c.starts[(minute-c.from)*c.width:][:c.width]
	first := minute
	for i := range c.d.Policy.Windows {
		first = min(first, int(starts[1+2*i]))
	}
	return requests.between(first, minute+1).Bad() == 0
}

// Episode is an alert that was, or would have been, open for one tenant.
type Episode struct {
	Tenant     tenant.ID
	Severity   Severity
	OpenedAt   time.Time  // the end of the minute that showed it
	ResolvedAt *time.Time // nil when it was still open at the end
	Peak       float64    // the highest burn rate in the long window of the fastest pair
	Window     BurnWindow // the pair that opened it
}

// replay evaluates a tenant's requests at the end of every minute and returns the alerts as package alerting would have
// opened and resolved them. fleet are the requests of all tenants; both begin with the clock's minute 0 and reach its end.
func (c *clock) replay(id tenant.ID, target PPM, requests, fleet *series) []Episode {
	var episodes []Episode
	open := map[Severity]int{} // places in episodes
	var s, all Status
	for m := c.from; m < c.to; m++ {
		if len(open) == 0 && c.quiet(m, requests) {
			continue
		}
		c.at(m, requests, target, &s)
		b := s.raised()
		if b != nil {
			i, ok := open[b.Severity]
			if !ok {
				i = len(episodes)
				open[b.Severity] = i
				episodes = append(episodes, Episode{Tenant: id, Severity: b.Severity, OpenedAt: s.At.Add(time.Second), Window: b.BurnWindow})
			}
			episodes[i].Peak = max(episodes[i].Peak, b.LongRate)
		}
		for severity, i := range open {
			if b != nil && b.Severity == severity {
				continue
			}
			c.at(m, fleet, c.d.Target, &all)
			if settled(c.d, &s, &all, severity) {
				at := s.At.Add(time.Second)
				episodes[i].ResolvedAt = &at
				delete(open, severity)
			}
		}
	}
	return episodes
}
