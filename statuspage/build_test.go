package statuspage

import (
	"testing"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func measuredAs(bad uint64, at time.Time) *measurement {
	return &measurement{at: at, slos: map[string]sloMeasurement{"checkout": {allowed: 0.001, daysAt: at,
		evidence: Evidence{Windows: []Window{{5 * time.Minute, slo.Counts{Good: 1000 - bad, Total: 1000}}}},
		days:     []slo.DayCounts{{Day: at.Truncate(24 * time.Hour), Counts: slo.Counts{Good: 999_000, Total: 1_000_000}}}}}}
}

func recordsOf(c Component, is ...Incident) *records {
	c.ID, c.Name, c.Visible = "checkout", "Checkout", true
	return &records{at: noon, components: []Component{c}, incidents: is}
}

func TestWhatDecidesAStatus(t *testing.T) {
	set := func(s Status) *Status { return &s }
	follow := Component{SLOs: []string{"checkout"}}
	open := Incident{ID: "aaaaaaaaaaaa", Status: Investigating, StartedAt: noon.Add(-time.Hour), Updates: []IncidentUpdate{
		{DisplayAt: noon.Add(-time.Hour), Status: Investigating, Affected: []Affected{{"checkout", Partial}}}}}
	over := open
	over.ResolvedAt = &noon
	f := func(name string, r *records, m *measurement, last *state, want Status) {
		t.Helper()
		if got := buildState("x", r, m, last, noon).View.Components()[0].Status; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("measured", recordsOf(follow), measuredAs(600, noon), nil, Major)
	f("manual wins over measurements", recordsOf(Component{SLOs: follow.SLOs, ManualStatus: set(Operational)}), measuredAs(600, noon), nil, Operational)
	f("manual wins over incidents", recordsOf(Component{ManualStatus: set(Maintenance)}, open), nil, nil, Maintenance)
	f("an incident makes it worse", recordsOf(follow, open), measuredAs(0, noon), nil, Partial)
	f("an incident makes nothing better", recordsOf(follow, open), measuredAs(600, noon), nil, Major)
	f("a resolved incident says nothing", recordsOf(follow, over), measuredAs(0, noon), nil, Operational)
	f("nothing measured, nothing said", recordsOf(Component{}), nil, nil, Operational)

	before := buildState("x", recordsOf(follow), measuredAs(600, noon), nil, noon)
	f("the last known state stays without data", recordsOf(follow), nil, before, Major)
	manual := buildState("x", recordsOf(Component{SLOs: follow.SLOs, ManualStatus: set(Partial)}), measuredAs(0, noon), nil, noon)
	f("what people said is no last known state", recordsOf(follow), nil, manual, Operational)
}

func TestStatusHasItsSince(t *testing.T) {
	follow := Component{SLOs: []string{"checkout"}, CreatedAt: noon.Add(-24 * time.Hour), UpdatedAt: noon.Add(-24 * time.Hour)}
	s := buildState("x", recordsOf(follow), measuredAs(0, noon), nil, noon)
	if c := s.View.Components()[0]; !c.Since.Equal(follow.CreatedAt) || c.Failing != 0 {
		t.Errorf("at first: since %s, failing %v", c.Since, c.Failing)
	}
	s = buildState("x", recordsOf(follow), measuredAs(120, noon), s, noon.Add(time.Minute))
	c := s.View.Components()[0]
	if !c.Since.Equal(noon.Add(time.Minute)) || !c.UpdatedAt.Equal(c.Since) || c.Failing != 0.12 {
		t.Errorf("after a change: since %s, updated %s, failing %v", c.Since, c.UpdatedAt, c.Failing)
	}
	s = buildState("x", recordsOf(follow), measuredAs(130, noon), s, noon.Add(2*time.Minute))
	if c := s.View.Components()[0]; !c.Since.Equal(noon.Add(time.Minute)) {
		t.Errorf("without a change: since %s", c.Since)
	}
}

func TestDaysSurviveALostMeasurement(t *testing.T) {
	follow := Component{SLOs: []string{"checkout"}}
	s := buildState("x", recordsOf(follow), measuredAs(0, noon), nil, noon)
	if d := s.View.Components()[0].Days[barDays-1]; d.Worked != 0.999 || d.Level != levelGood {
		t.Fatalf("today: %+v", d)
	}
	next := buildState("x", recordsOf(follow), nil, s, noon.Add(24*time.Hour)).View.Components()[0]
	if d := next.Days[barDays-2]; d.Worked != 0.999 {
		t.Errorf("yesterday is lost: %+v", d)
	}
	if d := next.Days[barDays-1]; d.Worked != -1 || d.Level != levelNone {
		t.Errorf("today is made up: %+v", d)
	}
}

func TestIncidentsBiteTheirDays(t *testing.T) {
	end := noon.Add(-46 * time.Hour)
	i := Incident{ID: "bbbbbbbbbbbb", StartedAt: noon.Add(-49 * time.Hour), ResolvedAt: &end, Updates: []IncidentUpdate{
		{DisplayAt: end, Status: Resolved, Affected: []Affected{{"checkout", Operational}}},
		{DisplayAt: noon.Add(-48 * time.Hour), Status: Identified, Affected: []Affected{{"checkout", Major}}}}}
	days := buildState("x", recordsOf(Component{}, i), nil, nil, noon).View.Components()[0].Days
	for n, d := range days {
		hit := n == barDays-3
		if (d.Incident != "") != hit || (d.Level == levelMajor) != hit {
			t.Errorf("day %s: %+v", d.Day.Format(time.DateOnly), d)
		}
	}
}

// TestHiddenComponentsDoNotLeak covers a mistake that others made: what is hidden counted in the overall state.
func TestHiddenComponentsDoNotLeak(t *testing.T) {
	r := recordsOf(Component{}, Incident{ID: "cccccccccccc", Impact: ImpactNone, Status: Investigating, StartedAt: noon, Updates: []IncidentUpdate{
		{Status: Investigating, DisplayAt: noon, Affected: []Affected{{"secret", Major}}}}})
	major := Major
	r.components = append(r.components, Component{ID: "secret", Name: "Secret", ManualStatus: &major})
	v := buildState("x", r, nil, nil, noon).View
	if v.Overall() != Operational || len(v.Components()) != 1 || len(v.Incidents[0].Updates[0].Affected) != 0 {
		t.Errorf("overall %s, %d components, affected %v", v.Overall(), len(v.Components()), v.Incidents[0].Updates[0].Affected)
	}
}

func TestEntriesWaitForTheirTime(t *testing.T) {
	r := recordsOf(Component{})
	r.changelog = []Entry{{ID: "later", PublishedAt: noon.Add(time.Second)}, {ID: "now", PublishedAt: noon}}
	if es := buildState("x", r, nil, nil, noon).View.Changelog; len(es) != 1 || es[0].ID != "now" {
		t.Errorf("shown: %+v", es)
	}
}

func TestFollow(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	f := func(want Phase, monitoring, resolved int, us ...IncidentUpdate) {
		t.Helper()
		i := Incident{Updates: us}
		i.follow()
		is := func(got *time.Time, want int) bool {
			if want < 0 {
				return got == nil
			}
			return got != nil && got.Equal(at(want))
		}
		if i.Status != want || !is(i.MonitoringAt, monitoring) || !is(i.ResolvedAt, resolved) {
			t.Errorf("%s, monitoring %v, resolved %v", i.Status, i.MonitoringAt, i.ResolvedAt)
		}
	}
	u := func(minute int, p Phase) IncidentUpdate { return IncidentUpdate{DisplayAt: at(minute), Status: p} }
	f(Investigating, -1, -1, u(0, Investigating))
	f(Monitoring, 5, -1, u(9, Monitoring), u(5, Monitoring), u(0, Investigating))
	f(Resolved, 5, 9, u(9, Resolved), u(5, Monitoring))
	f(Resolved, 5, 9, u(30, Resolved), u(9, Resolved), u(5, Monitoring)) // what was learned later ends it no later
	f(Identified, -1, -1, u(12, Identified), u(9, Resolved), u(5, Monitoring))
	f(Resolved, 14, 15, u(15, Resolved), u(14, Monitoring), u(12, Identified), u(9, Resolved), u(5, Monitoring))
	f(Monitoring, 20, -1, u(0, Investigating), u(20, Monitoring)) // in whatever order they come
}

func TestRecentJoinsQuietDays(t *testing.T) {
	v := &View{Incidents: []ViewIncident{{ID: "a", StartedAt: noon}, {ID: "b", StartedAt: noon.AddDate(0, 0, -12)}}}
	var got []string
	for _, r := range recent(v, 14, noon) {
		got = append(got, r.Label)
	}
	want := []string{"Today", "13 to 23 Nov", "Thu 12 Nov", "Wed 11 Nov"}
	if len(got) != len(want) {
		t.Fatalf("%q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("row %d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestMonths(t *testing.T) {
	v := &View{Incidents: []ViewIncident{{StartedAt: noon}, {StartedAt: noon.AddDate(0, -3, 0)}}}
	ms := months(v, 24, noon)
	if len(ms) != 4 || ms[0].Path != "2026-11" || ms[3].Path != "2026-08" || ms[0].Count != 1 || ms[1].Count != 0 || ms[3].Count != 1 {
		t.Errorf("%+v", ms)
	}
	if ms := months(v, 2, noon); len(ms) != 2 {
		t.Errorf("%d months, want no more than 2", len(ms))
	}
	if ms := months(&View{}, 24, noon); len(ms) != 1 {
		t.Errorf("%d months without incidents, want this one", len(ms))
	}
}
