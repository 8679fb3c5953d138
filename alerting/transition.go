package alerting

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// event is what an observation did to an alert, as far as people want to hear of it.
type event string

const (
	nothing      event = ""
	opened       event = "opened"
	reopened     event = "reopened"
	changed      event = "changed"   // tenants joined or left
	refreshed    event = "refreshed" // the same tenants, but the numbers that people saw are old
	resolved     event = "resolved"
	acknowledged event = "acknowledged"
)

// urgent reports whether the event is told at once. The others wait for the pace of updates.
func (e event) urgent() bool { return e != nothing && e != changed && e != refreshed }

// tell makes a new version of the alert for an event, which the notifications then catch up with.
func (a *Alert) tell(e event, at time.Time) {
	if e == nothing {
		return
	}
	a.version++
	a.notifiedAt = at
	if e.urgent() {
		a.urgentVersion = a.version
	}
}

// openAlert makes the alert of conditions that fire and belong to none yet.
func openAlert(firing []Condition, at time.Time) *Alert {
	c := firing[0]
	a := &Alert{ID: newID(), Rule: c.Rule, Severity: c.Severity, State: Firing, StartedAt: at, OpenedAt: at}
	a.update(firing, at)
	for _, m := range a.Members {
		if m.StartedAt.Before(a.StartedAt) {
			a.StartedAt = m.StartedAt
		}
	}
	a.tell(opened, at)
	return a
}

// observe brings the alert to what was seen. Firing holds the conditions of its rule and severity. An alert that was
// resolved burns again; the caller has decided that it is the same one.
func (a *Alert) observe(firing []Condition, o *Observation, refreshEvery time.Duration) event {
	joined := a.update(firing, o.At)
	left := a.release(firing, o)
	a.ObservedAt = o.At
	a.sort()
	e := nothing
	switch {
	case a.State == Resolved && len(firing) > 0:
		e = reopened
		at := o.At
		a.State, a.ResolvedAt, a.ReopenedAt, a.AckedBy, a.AckedAt = Firing, nil, &at, "", nil
	case a.State != Resolved && len(a.Burning()) == 0:
		e = resolved
		at := o.At
		a.State, a.ResolvedAt = Resolved, &at
	case joined || left:
		e = changed
	case len(firing) > 0 && o.At.Sub(a.notifiedAt) >= refreshEvery:
		e = refreshed
	}
	a.tell(e, o.At)
	return e
}

// update writes what fires into the members and reports whether any of them is new.
func (a *Alert) update(firing []Condition, at time.Time) (joined bool) {
	known := make(map[tenant.ID]int, len(a.Members))
	for i := range a.Members {
		known[a.Members[i].Tenant] = i
	}
	for _, c := range firing {
		a.Title, a.Product, a.BadIs = c.Title, c.Product, c.BadIs
		since := c.Since
		if since.IsZero() || since.After(at) {
			since = at
		}
		i, ok := known[c.Tenant]
		if !ok {
			i = len(a.Members)
			a.Members = append(a.Members, Member{Tenant: c.Tenant, State: Resolved, BudgetBefore: c.Burn.BudgetRemaining})
			known[c.Tenant] = i
		}
		m := &a.Members[i]
		if m.State == Resolved {
			m.State, m.StartedAt, m.ResolvedAt = Firing, since, nil
			joined = true
		}
		m.Burn, m.PeakRate, m.changed = c.Burn, max(m.PeakRate, c.Burn.Rate), true
	}
	if a.ObservedAt.IsZero() {
		a.ObservedAt = at
		a.sort()
	}
	return joined
}

// release resolves the members that were evaluated and do not fire. Those without data stay as they are.
func (a *Alert) release(firing []Condition, o *Observation) (left bool) {
	fires := make(map[tenant.ID]bool, len(firing))
	for _, c := range firing {
		fires[c.Tenant] = true
	}
	for i := range a.Members {
		m := &a.Members[i]
		key := Key{Rule: a.Rule, Tenant: m.Tenant, Severity: a.Severity}
		if m.State == Resolved || fires[m.Tenant] || o.Evaluated == nil || !o.Evaluated(key) {
			continue
		}
		at := o.At
		m.State, m.ResolvedAt, m.changed, left = Resolved, &at, true, true
		if o.Current != nil {
			if b, ok := o.Current(key); ok {
				m.Burn = clean(b)
			}
		}
	}
	return left
}

// groupKey is what makes conditions one alert.
type groupKey struct {
	rule     string
	severity Severity
}

// group sorts the firing conditions into alerts. A condition that no alert can be made of is returned as an error and
// left out, so that it does not hide the others. Of two for the same tenant the worse counts.
func group(firing []Condition) (map[groupKey][]Condition, []error) {
	var bad []error
	groups := map[groupKey][]Condition{}
	for _, c := range firing {
		if err := c.check(); err != nil {
			bad = append(bad, err)
			continue
		}
		c.Title, c.BadIs, c.Burn = cmp.Or(c.Title, c.Rule), cmp.Or(c.BadIs, "failed"), clean(c.Burn)
		k := groupKey{c.Rule, c.Severity}
		groups[k] = append(groups[k], c)
	}
	for k, g := range groups {
		slices.SortFunc(g, func(x, y Condition) int {
			return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(y.Burn.Rate, x.Burn.Rate))
		})
		groups[k] = slices.CompactFunc(g, func(x, y Condition) bool { return x.Tenant == y.Tenant })
	}
	return groups, bad
}

func (c *Condition) check() error {
	switch {
	case c.Rule == "":
		return fault.InvalidField("rule", "", "is empty")
	case c.Severity != Page && c.Severity != Ticket:
		return fault.InvalidField("severity", string(c.Severity), "must be page or ticket")
	}
	_, err := tenant.ParseID(string(c.Tenant))
	return err
}

// clean keeps numbers that no database or JSON takes out of the burn: an SLO of 100 % burns infinitely fast.
func clean(b Burn) Burn {
	finite := func(f float64) float64 {
		switch {
		case math.IsNaN(f):
			return 0
		case f > 1e9:
			return 1e9
		case f < -1e9:
			return -1e9
		}
		return f
	}
	b.Rate, b.Factor, b.BudgetRemaining, b.Confidence = finite(b.Rate), finite(b.Factor), finite(b.BudgetRemaining), finite(b.Confidence)
	return b
}
