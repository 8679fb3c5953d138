package slo

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Correction is a stretch of time, once or again and again, whose requests do not count for the SLOs and tenants that it
// names: a maintenance, an exclusion that was agreed on, a fault of others. It may lie in the past. Counts stay as they are
// in the rollups, so that taking a correction back brings the budget back to what it was.
type Correction struct {
	ID        string
	Reason    string
	SLOs      []string    // by name; all when empty
	Tenants   []tenant.ID // all when empty
	StartsAt  time.Time   // whole minutes
	EndsAt    time.Time
	Repeats   string // an RRULE of RFC 5545, such as FREQ=WEEKLY;BYDAY=SU; empty for once
	TimeZone  string // whose clock it repeats by; UTC by default
	CreatedBy string
	CreatedAt time.Time

	RevokedAt             *time.Time // nil while it is in force
	RevokedBy, RevokedWhy string
}

const (
	maxCorrection       = 31 * day
	maxCorrectionReason = 1000 // bytes
	maxCorrectionNames  = 1000
)

// check reports what is wrong with a correction that somebody wants to make.
func (c *Correction) check() error {
	if strings.TrimSpace(c.Reason) == "" || len(c.Reason) > maxCorrectionReason || !printable(strings.ReplaceAll(c.Reason, "\n", "")) {
		return fault.InvalidField("reason", c.Reason, "must say why, in at most %d bytes without control characters", maxCorrectionReason)
	}
	if len(c.SLOs) > maxCorrectionNames {
		return fault.InvalidField("slos", fmt.Sprint(len(c.SLOs)), "has more than %d names: leave it out for all SLOs", maxCorrectionNames)
	}
	if len(c.Tenants) > maxCorrectionNames {
		return fault.InvalidField("tenants", fmt.Sprint(len(c.Tenants)), "has more than %d ids: leave it out for all tenants", maxCorrectionNames)
	}
	for _, t := range []struct {
		field string
		at    time.Time
	}{{"starts_at", c.StartsAt}, {"ends_at", c.EndsAt}} {
		if !t.at.Equal(t.at.Truncate(time.Minute)) {
			return fault.InvalidField(t.field, t.at.Format(time.RFC3339Nano), "must be a whole minute: requests are counted by the minute")
		}
	}
	if !c.StartsAt.Before(c.EndsAt) {
		return fault.InvalidField("ends_at", c.EndsAt.Format(time.RFC3339), "must be after starts_at")
	}
	if c.EndsAt.Sub(c.StartsAt) > maxCorrection {
		return fault.InvalidField("ends_at", c.EndsAt.Format(time.RFC3339), "is more than %s after starts_at", Shorthand(maxCorrection))
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "Local" {
		return fault.InvalidField("time_zone", c.TimeZone, "is not a time zone: use a name of the IANA database, such as Europe/Berlin")
	}
	_, err := c.rule()
	return err
}

// rule returns how the correction repeats, nil for once.
func (c *Correction) rule() (*rrule.RRule, error) {
	if c.Repeats == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return nil, err
	}
	o, err := rrule.StrToROptionInLocation(c.Repeats, zone)
	if err != nil {
		return nil, fault.InvalidField("repeats", c.Repeats, "is not an RRULE such as FREQ=WEEKLY;BYDAY=SU: %v", err)
	}
	if o.Freq > rrule.DAILY || len(o.Byhour)+len(o.Byminute)+len(o.Bysecond)+len(o.Bysetpos) > 0 || !o.Dtstart.IsZero() {
		return nil, fault.InvalidField("repeats", c.Repeats, "may repeat by the day, week, month or year, at the time of starts_at")
	}
	o.Dtstart = c.StartsAt.In(zone)
	r, err := rrule.NewRRule(*o)
	if err != nil {
		return nil, fault.InvalidField("repeats", c.Repeats, "is not an RRULE such as FREQ=WEEKLY;BYDAY=SU: %v", err)
	}
	return r, nil
}

// spans returns what of [from, to) the correction covers, in order; occurrences that overlap are one.
func (c *Correction) spans(from, to time.Time) []span {
	starts := []time.Time{c.StartsAt}
	length := c.EndsAt.Sub(c.StartsAt)
	if r, err := c.rule(); err != nil {
		return nil // of an RRULE that an older release took: it corrects nothing rather than anything
	} else if r != nil {
		starts = r.Between(from.Add(-length), to, true)
	}
	var all []span
	for _, s := range starts {
		s = s.UTC().Truncate(time.Minute)
		all = append(all, span{s, s.Add(length)})
	}
	return intersect(union(all), []span{{from, to}})
}

// concerns reports whether the correction names the SLO.
func (c *Correction) concerns(slo string) bool {
	return len(c.SLOs) == 0 || slices.Contains(c.SLOs, slo)
}

// union returns the spans in order, those that overlap or touch as one.
func union(spans []span) []span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int { return a.from.Compare(b.from) })
	var out []span
	for _, s := range sorted {
		if n := len(out); n > 0 && !out[n-1].to.Before(s.from) {
			if out[n-1].to.Before(s.to) {
				out[n-1].to = s.to
			}
		} else if s.from.Before(s.to) {
			out = append(out, s)
		}
	}
	return out
}

// intersect returns what is in both of two lists of spans that are in order and apart.
func intersect(a, b []span) []span {
	var out []span
	for len(a) > 0 && len(b) > 0 {
		s := span{a[0].from, a[0].to}
		if s.from.Before(b[0].from) {
			s.from = b[0].from
		}
		if b[0].to.Before(s.to) {
			s.to = b[0].to
		}
		if s.from.Before(s.to) {
			out = append(out, s)
		}
		if a[0].to.Before(b[0].to) {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// subtract returns what is in a but not in b; both are in order and apart.
func subtract(a, b []span) []span {
	var out []span
	for _, s := range a {
		for _, x := range b {
			if !x.to.After(s.from) || !s.to.After(x.from) {
				continue
			}
			if s.from.Before(x.from) {
				out = append(out, span{s.from, x.from})
			}
			if s.from = x.to; !s.from.Before(s.to) {
				break
			}
		}
		if s.from.Before(s.to) {
			out = append(out, s)
		}
	}
	return out
}

// exclusion is what does not count for some definitions, by their places, and for some tenants, or all when there are none.
type exclusion struct {
	defs    []int
	tenants []tenant.ID
	spans   []span
}

// exclusions returns what corrections take out of [from, to), so that no minute of an SLO and tenant is in two of them.
func exclusions(defs []Definition, corrections []Correction, from, to time.Time) []exclusion {
	type group struct {
		*exclusion
		key string
	}
	var groups []group
	put := func(def int, t *tenant.ID, spans []span) {
		if len(spans) == 0 {
			return
		}
		key := fmt.Sprint(t != nil, spans)
		if t != nil {
			key = fmt.Sprint(def, key) // tenants of one definition that have the same go together
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.key == key })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{&exclusion{spans: spans}, key})
		}
		g := groups[i]
		if !slices.Contains(g.defs, def) {
			g.defs = append(g.defs, def)
		}
		if t != nil {
			g.tenants = append(g.tenants, *t)
		}
	}
	covered := make([][]span, len(corrections))
	for i := range corrections {
		covered[i] = corrections[i].spans(from, to)
	}
	for d := range defs {
		var all []span
		some := map[tenant.ID][]span{}
		for i := range corrections {
			c := &corrections[i]
			switch {
			case !c.concerns(defs[d].Name) || len(covered[i]) == 0:
			case len(c.Tenants) == 0:
				all = append(all, covered[i]...)
			default:
				for _, t := range c.Tenants {
					some[t] = append(some[t], covered[i]...)
				}
			}
		}
		all = union(all)
		put(d, nil, all)
		for t, spans := range some {
			put(d, &t, subtract(union(spans), all))
		}
	}
	out := make([]exclusion, len(groups))
	for i, g := range groups {
		out[i] = *g.exclusion
	}
	return out
}
