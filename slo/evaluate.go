package slo

import (
	"slices"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// windows are where the windows of a definition begin, for all tenants at the same moment.
type windows struct {
	budget time.Time
	until  time.Time // the end of a calendar window; zero for a rolling one
	words  string
	pairs  []windowPair // as in the policy
}

type windowPair struct{ long, short time.Time }

// windowsAt returns where the definition's windows begin that end now.
func (d *Definition) windowsAt(now time.Time) windows {
	end := endOf(now)
	w := windows{budget: startOf(end, d.Window), words: d.WindowWords(), pairs: make([]windowPair, len(d.Policy.Windows))}
	for i, p := range d.Policy.Windows {
		w.pairs[i] = windowPair{startOf(end, p.Long), startOf(end, p.Short)}
	}
	if d.Calendar != nil {
		w.budget, w.until = d.Calendar.period(end.Add(-time.Minute))
	}
	return w
}

// startsOf returns where all windows begin that evaluating the definitions takes.
func startsOf(defs []Definition, now time.Time) []time.Time {
	var all []time.Time
	for i := range defs {
		w := defs[i].windowsAt(now)
		all = append(all, w.budget)
		for _, p := range w.pairs {
			all = append(all, p.long, p.short)
		}
	}
	return all
}

// evaluate returns how an SLO stands for a tenant whose target is target. It does no I/O. The windows are d's at now, and
// the counts are for them.
func evaluate(d *Definition, t tenant.ID, target PPM, counts windowCounts, at windows, now time.Time) Status {
	s := Status{
		SLO: d.Name, Revision: d.Revision, Title: d.Title, Product: d.Selector.Product, Tenant: t, Target: target,
		Window: d.Window, WindowWords: at.words, From: at.budget, Counts: counts.since(at.budget), Excluded: counts.excludedSince(at.budget), At: now,
	}
	if d.Calendar != nil {
		until := at.until // not the parameter's address, which would put every call's on the heap
		s.Until = &until
	}
	s.ErrorBudgetRemaining = errorBudgetRemaining(s.Counts, target)
	s.BurnRates = make([]BurnRate, 0, len(d.Policy.Windows))
	for i, w := range d.Policy.Windows {
		s.BurnRates = append(s.BurnRates, evaluatePair(w, d.Policy.Confidence, target, counts.since(at.pairs[i].long), counts.since(at.pairs[i].short)))
	}
	if b := s.present(); b != nil {
		s.ExhaustsAt = s.exhaustsAt(b.LongRate)
	}
	s.State = stateOf(&s)
	return s
}

// minFailures returns how many requests must have failed in the long window. The bound alone is not enough where a tenant
// sends next to nothing: at 99.9 % that of 1 failure of 1 request is ten times the allowed rate, and of 3 of 32 over six
// hours fourteen times. Nobody is woken by three requests; a ticket is written from the second on.
func minFailures(s Severity) uint64 {
	if s == Page {
		return 4
	}
	return 2
}

// evaluatePair decides whether one pair of windows fires: the lower bound of the error ratio is over the factor in the
// long window, so that there is evidence, and the ratio itself is in the short one, so that it goes on now. Without a
// confidence the ratio alone counts in both.
func evaluatePair(w BurnWindow, confidence float64, target PPM, long, short Counts) BurnRate {
	b := BurnRate{BurnWindow: w, LongCounts: long, ShortCounts: short, target: target, confidence: confidence}
	b.LongRate = burnRate(b.LongCounts.ErrorRatio(), target)
	b.ShortRate = burnRate(b.ShortCounts.ErrorRatio(), target)
	// The bound is never above the ratio, and the ratio is quickly found.
	b.evident = b.LongRate > w.Factor && (confidence == 0 || b.LongCounts.Bad() >= minFailures(w.Severity) && b.LowerRate() > w.Factor)
	b.Firing = b.evident && b.ShortCounts.Total > 0 && b.ShortRate >= w.Factor
	return b
}

// watching reports whether the pair is over its factor as far as one can see, but with too few requests to tell. A long
// window that is still full of a trouble that has ended is not.
func (b *BurnRate) watching() bool {
	return !b.evident && b.LongCounts.Total > 0 && b.LongRate >= b.Factor &&
		(b.ShortCounts.Total == 0 || b.ShortRate >= b.Factor)
}

// stateOf returns the worst state that holds. An SLO whose shortest long window saw no request has no data, unless its
// budget is known to be gone.
func stateOf(s *Status) State {
	state, lately, shortest := StateOK, s.Counts, s.Window
	for i := range s.BurnRates {
		b := &s.BurnRates[i]
		if b.Long < shortest {
			lately, shortest = b.LongCounts, b.Long
		}
		switch {
		case b.Firing && b.Severity == Page:
			return StatePage
		case b.Firing:
			state = StateTicket
		case b.watching() && state == StateOK:
			state = StateWatching
		}
	}
	switch {
	case s.Total == 0:
		return StateNoData
	case state == StateTicket:
		return StateTicket
	case s.ErrorBudgetRemaining <= 0:
		return StateExhausted
	case lately.Total == 0:
		return StateNoData
	}
	return state
}

// present returns the pair that says how fast the budget burns now: the fastest that fires, else that with the shortest
// long window. It is nil when there is no pair.
func (s *Status) present() *BurnRate {
	present := s.Worst()
	if present == nil || present.Firing {
		return present
	}
	for i := range s.BurnRates {
		if b := &s.BurnRates[i]; b.Long < present.Long {
			present = b
		}
	}
	return present
}

// exhaustsAt returns when the budget runs out if it goes on burning at a rate: what is left ÷ rate, as a rate of 1 uses
// the whole up over the window. Of a rolling window the remaining share × window is left; of a calendar window all of it
// but what was used of the part that is over. It is nil when the budget is gone, nothing burns, or it would take longer
// than the window.
func (s *Status) exhaustsAt(rate float64) *time.Time {
	if s.ErrorBudgetRemaining <= 0 || rate <= 0 {
		return nil
	}
	left, bound := s.ErrorBudgetRemaining*float64(s.Window), float64(s.Window)
	if s.Until != nil {
		left = float64(s.Until.Sub(s.From)) - (1-s.ErrorBudgetRemaining)*float64(s.At.Sub(s.From))
		bound = float64(s.Until.Sub(s.At))
	}
	if left/rate >= bound {
		return nil
	}
	at := s.At.UTC().Add(time.Duration(left / rate)).Truncate(time.Second)
	return &at
}

// ExhaustsBetween returns when the budget runs out at the upper and at the lower confidence bound of the present rate, nil for
// not within the window. ExhaustsAt lies between them.
func (s *Status) ExhaustsBetween() (earliest, latest *time.Time) {
	b := s.present()
	if b == nil || s.ExhaustsAt == nil {
		return nil, nil
	}
	return s.exhaustsAt(b.UpperRate()), s.exhaustsAt(b.LowerRate())
}

// newSnapshot evaluates every SLO for every tenant that it has counts of, and for all tenants together. counts holds,
// for each definition by its place, the windows of each tenant.
func newSnapshot(defs []Definition, counts []map[tenant.ID]windowCounts, targets targets, now time.Time) *Snapshot {
	now = now.UTC()
	s := &Snapshot{At: now, SLOs: defs, byTenant: map[tenant.ID][]*Status{}}
	for i := range defs {
		d := &defs[i]
		at := d.windowsAt(now)
		fleet := windowCounts{}
		tenants := make([]tenant.ID, 0, len(counts[i]))
		for t, windows := range counts[i] {
			tenants = append(tenants, t)
			fleet.merge(windows)
		}
		slices.Sort(tenants)
		for _, t := range tenants {
			s.Statuses = append(s.Statuses, evaluate(d, t, targets.of(d, t), counts[i][t], at, now))
		}
		s.Fleet = append(s.Fleet, evaluate(d, tenant.Untagged, d.Target, fleet, at, now))
	}
	for i := range s.Statuses { // after all appends: the pointers are into the final array
		st := &s.Statuses[i]
		s.byTenant[st.Tenant] = append(s.byTenant[st.Tenant], st)
	}
	return s
}
