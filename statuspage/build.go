package statuspage

import (
	"math"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

// state is what the publisher knows: the public view, and what was last measured of each component, which must outlive
// a restart but is not what customers see while people say otherwise.
type state struct {
	View     *View             `json:"view"`
	Measured map[string]Health `json:"measured"` // by component id, hidden ones too
}

// buildState makes the state that follows last, which is nil at first; m is nil when nothing was measured yet. It is pure.
func buildState(name string, r *records, m *measurement, last *state, now time.Time) *state {
	if last == nil {
		last = &state{View: &View{}}
	}
	v := &View{Name: name, RecordsAt: r.at.UTC(), Groups: []ViewGroup{}, Incidents: []ViewIncident{}, Changelog: []ViewEntry{}}
	if m != nil {
		v.MeasuredAt = m.at.UTC()
	} else {
		v.MeasuredAt = last.View.MeasuredAt
	}
	next := &state{View: v, Measured: map[string]Health{}}
	before := map[string]*ViewComponent{}
	for _, c := range last.View.Components() {
		before[c.ID] = c
	}
	shown := map[string]string{}
	for i := range r.components {
		if r.components[i].Visible {
			shown[r.components[i].ID] = r.components[i].Name
		}
	}
	for i := range r.components {
		c := &r.components[i]
		known := last.Measured[c.ID].Status
		if known == "" {
			known = Operational
		}
		h := computeHealth(c, m, known)
		next.Measured[c.ID] = h
		if !c.Visible {
			continue
		}
		vc := buildComponent(c, h, r.incidents, m, before[c.ID], now)
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Name != c.Group {
			v.Groups = append(v.Groups, ViewGroup{Name: c.Group})
		}
		g := &v.Groups[len(v.Groups)-1]
		g.Components = append(g.Components, vc)
	}
	for i := range r.incidents {
		v.Incidents = append(v.Incidents, buildIncident(&r.incidents[i], shown))
	}
	for i := range r.changelog {
		if e := &r.changelog[i]; !e.PublishedAt.After(now) {
			v.Changelog = append(v.Changelog, ViewEntry{ID: e.ID, Title: e.Title, Body: e.Body, Type: e.Type, Product: e.Product,
				Version: e.Version, PublishedAt: e.PublishedAt.UTC(), EffectiveAt: utc(e.EffectiveAt), UpdatedAt: later(e.UpdatedAt, e.PublishedAt)})
		}
	}
	return next
}

// computeHealth returns a component's state as measured, before anything that people said.
func computeHealth(c *Component, m *measurement, last Status) Health {
	var hs []Health
	for _, name := range c.SLOs {
		if m != nil {
			if s, ok := m.slos[name]; ok {
				hs = append(hs, Judge(s.evidence, last))
				continue
			}
		}
		hs = append(hs, Health{Status: last, NoData: true})
	}
	if len(hs) == 0 {
		return Health{Status: Operational, NoData: true}
	}
	return worstHealth(hs)
}

// effective joins what was measured with what people said: a manual state wins, and an open incident makes it worse, never
// better.
func effective(c *Component, measured Status, open []Incident) Status {
	if c.ManualStatus != nil {
		return *c.ManualStatus
	}
	s := measured
	for i := range open {
		if open[i].ResolvedAt == nil {
			if said, ok := open[i].affectedNow()[c.ID]; ok {
				s = worse(s, said)
			}
		}
	}
	return s
}

func buildComponent(c *Component, h Health, incidents []Incident, m *measurement, before *ViewComponent, now time.Time) ViewComponent {
	v := ViewComponent{ID: c.ID, Name: c.Name, Description: c.Description, Status: effective(c, h.Status, incidents),
		Measured: len(c.SLOs) > 0, CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(), Since: c.CreatedAt.UTC()}
	if v.Status == h.Status && v.Status != Operational && !h.NoData {
		v.Failing = roundShare(h.ErrorRatio())
	}
	if before != nil {
		v.Since = before.Since
		if before.Status != v.Status {
			v.Since = now.UTC().Truncate(time.Second)
		}
	} else if v.Status != Operational {
		v.Since = now.UTC().Truncate(time.Second)
	}
	v.UpdatedAt = later(v.UpdatedAt, v.Since)
	v.Uptime, v.Days = buildDays(c, incidents, m, before, now)
	return v
}

func buildDays(c *Component, incidents []Incident, m *measurement, before *ViewComponent, now time.Time) (uptime float64, days []ViewDay) {
	today := now.UTC().Truncate(24 * time.Hour)
	days = make([]ViewDay, barDays)
	counts, allowed, known := make([]slo.Counts, barDays), 1.0, false
	for i := range days {
		days[i] = ViewDay{Day: today.AddDate(0, 0, i-barDays+1), Worked: -1}
	}
	if m != nil {
		for _, s := range uptimeSLOs(c, m) {
			known = true
			allowed = min(allowed, s.allowed)
			for _, d := range s.days {
				if i := int(d.Day.UTC().Sub(days[0].Day) / (24 * time.Hour)); i >= 0 && i < barDays && !d.Day.Before(days[0].Day) {
					counts[i].Good += d.Good
					counts[i].Total += d.Total
				}
			}
		}
	}
	if !known && before != nil && c.measured() { // not measured since the start: the days that were known stay
		uptime = before.Uptime
		for _, d := range before.Days {
			if i := int(d.Day.Sub(days[0].Day) / (24 * time.Hour)); i >= 0 && i < barDays && !d.Day.Before(days[0].Day) {
				days[i].Worked, days[i].Level = d.Worked, d.Level
			}
		}
	} else {
		var sum slo.Counts
		for i, n := range counts {
			sum.Good, sum.Total = sum.Good+n.Good, sum.Total+n.Total
			days[i].Worked, days[i].Level = worked(n), judgeDay(n, allowed)
		}
		uptime = worked(sum)
	}
	markIncidents(c.ID, incidents, days, now)
	return uptime, days
}

func (c *Component) measured() bool { return len(c.SLOs) > 0 }

// uptimeSLOs returns the SLOs whose counts make the bars: those of availability, because the bars show the share of
// requests that worked; latency only where there is nothing else.
func uptimeSLOs(c *Component, m *measurement) []sloMeasurement {
	var availability, latency []sloMeasurement
	for _, name := range c.SLOs {
		if s, ok := m.slos[name]; !ok {
			continue
		} else if s.evidence.Kind == slo.Latency {
			latency = append(latency, s)
		} else {
			availability = append(availability, s)
		}
	}
	if len(availability) > 0 {
		return availability
	}
	return latency
}

// markIncidents bites what incidents said off the days they touched, and links the day to the worst of them.
func markIncidents(component string, incidents []Incident, days []ViewDay, now time.Time) {
	linked := make([]dayLevel, len(days))
	for i := range incidents {
		for _, span := range incidents[i].spans(component, now) {
			level := levelOf(span.status)
			if level == levelGood {
				continue
			}
			for d := range days {
				if span.from.Before(days[d].Day.Add(24*time.Hour)) && span.to.After(days[d].Day) {
					days[d].Level = worseLevel(days[d].Level, level)
					if worseLevel(linked[d], level) != linked[d] {
						linked[d], days[d].Incident = level, incidents[i].ID
					}
				}
			}
		}
	}
}

// span is a stretch of time in which an incident gave a component one state.
type span struct {
	from, to time.Time
	status   Status
}

// spans returns the states that the incident gave a component, the oldest first. What the first update says holds from
// the incident's beginning, because trouble begins before it is told.
func (i *Incident) spans(component string, now time.Time) []span {
	var ss []span
	for n, u := range slices.Backward(i.Updates) {
		for _, a := range u.Affected {
			if a.Component != component {
				continue
			}
			from := u.DisplayAt
			if n == len(i.Updates)-1 {
				from = i.StartedAt
			}
			if len(ss) > 0 {
				ss[len(ss)-1].to = from
			}
			ss = append(ss, span{from: from, to: now, status: a.Status})
		}
	}
	if i.ResolvedAt != nil && len(ss) > 0 && ss[len(ss)-1].to.After(*i.ResolvedAt) {
		ss[len(ss)-1].to = later(*i.ResolvedAt, ss[len(ss)-1].from)
	}
	return ss
}

func buildIncident(i *Incident, shown map[string]string) ViewIncident {
	v := ViewIncident{ID: i.ID, Name: i.Name, Impact: i.Impact, Phase: i.Status, Worst: Operational, StartedAt: i.StartedAt.UTC(),
		MonitoringAt: utc(i.MonitoringAt), ResolvedAt: utc(i.ResolvedAt), CreatedAt: i.CreatedAt.UTC(), UpdatedAt: i.UpdatedAt.UTC(),
		Updates: make([]ViewUpdate, len(i.Updates))}
	state := map[string]Status{}
	for n, u := range slices.Backward(i.Updates) {
		vu := ViewUpdate{ID: u.ID, Phase: u.Status, Body: u.Body, DisplayAt: u.DisplayAt.UTC(), CreatedAt: u.CreatedAt.UTC(),
			UpdatedAt: u.UpdatedAt.UTC(), Affected: []ViewAffected{}}
		for _, a := range u.Affected {
			name, ok := shown[a.Component]
			if !ok {
				continue // hidden, or gone
			}
			old, known := state[a.Component]
			if !known {
				old = Operational
			}
			state[a.Component] = a.Status
			v.Worst = worse(v.Worst, a.Status)
			vu.Affected = append(vu.Affected, ViewAffected{Component: a.Component, Name: name, Old: old, New: a.Status})
		}
		v.Updates[n] = vu
	}
	if v.Worst == Operational { // by its shown components only, so that a hidden one does not leak
		v.Worst = v.Impact.statusOf()
	}
	return v
}

// worked returns the share of requests that worked, negative for no requests.
func worked(c slo.Counts) float64 {
	if c.Total == 0 {
		return -1
	}
	return roundShare(1 - c.ErrorRatio())
}

// roundShare keeps the five digits that are shown, rounded down for what is left whole, so that the exact traffic cannot
// be told from the shares and a view changes only when the page does.
func roundShare(s float64) float64 { return math.Floor(s*1e5+1e-7) / 1e5 }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b.UTC()
	}
	return a.UTC()
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
