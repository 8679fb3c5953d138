package statuspage

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

// verdict is the state of everything in words, the first thing on the page and in link previews.
type verdict struct {
	Status Status
	Word   string // of the state: "Partial outage"
	Title  string // the sentence
	Lede   string // what is affected, how much of it, since when
}

// judgement says how everything stands. stale makes it speak of the past, because the present is not known then.
func judgement(v *View, stale staleness, now time.Time) verdict {
	overall, open := v.Overall(), v.Open()
	troubled := trouble(v)
	d := verdict{Status: overall, Word: overall.Word()}
	switch {
	case len(open) > 0:
		worst := worstOpen(open)
		d.Title = worst.Name
		if overall == Operational || overall == Maintenance {
			d.Word = worst.Phase.Word()
		}
		d.Lede = openLede(v, open, worst, troubled, now)
	case len(v.Components()) == 0:
		d.Title = "Nothing has been reported"
		d.Lede = "There are no components on this page yet. Incidents will be told here."
	case overall == Operational && (stale.measured || stale.records):
		d.Title = "Everything worked at " + theme.Clock(asOf(v, stale)) + " UTC"
		d.Lede = "We have no newer information at the moment."
	case overall == Operational:
		d.Title = "Everything works"
		d.Lede = allGood(v)
	case overall == Maintenance:
		d.Title = nameList(troubled, "is", "are") + " in maintenance"
		d.Lede = "The work is planned. " + restWorks(v, troubled)
	default:
		d.Title = troubleTitle(troubled)
		d.Lede = strings.TrimSpace(shares(troubled) + " " + measuredOnly(troubled, now) + " " + restWorks(v, troubled))
	}
	return d
}

// trouble returns the components that do not work as they should, the worst first.
func trouble(v *View) []*ViewComponent {
	var cs []*ViewComponent
	for _, c := range v.Components() {
		if c.Status != Operational {
			cs = append(cs, c)
		}
	}
	slices.SortStableFunc(cs, func(a, b *ViewComponent) int { return b.Status.rank() - a.Status.rank() })
	return cs
}

// worstOpen returns the worst of the open incidents, of equal ones the newest.
func worstOpen(open []*ViewIncident) *ViewIncident {
	worst := open[0]
	for _, i := range open[1:] {
		if i.Worst.rank() > worst.Worst.rank() {
			worst = i
		}
	}
	return worst
}

func openLede(v *View, open []*ViewIncident, worst *ViewIncident, troubled []*ViewComponent, now time.Time) string {
	var parts []string
	for _, s := range []string{shares(troubled), others(troubled)} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	parts = append(parts, "It began "+at(worst.StartedAt, now)+agoClause(worst.StartedAt, now)+".")
	if n := len(open) - 1; n > 0 {
		parts = append(parts, theme.Count(n, "more incident is", "more incidents are")+" open below.")
	}
	return strings.TrimSpace(strings.Join(append(parts, restWorks(v, troubled)), " "))
}

func agoClause(t, now time.Time) string {
	if d := now.Sub(t); d >= time.Minute {
		return ", " + roughly(d) + " ago"
	}
	return ""
}

func troubleTitle(cs []*ViewComponent) string {
	if len(cs) == 1 {
		return cs[0].Name + ": " + strings.ToLower(cs[0].Status.Word())
	}
	return nameList(cs, "has", "have") + " trouble"
}

// nameList returns "Search is", "Search and Checkout are", "4 components are".
func nameList(cs []*ViewComponent, one, many string) string {
	switch len(cs) {
	case 1:
		return cs[0].Name + " " + one
	case 2:
		return cs[0].Name + " and " + cs[1].Name + " " + many
	case 3:
		return cs[0].Name + ", " + cs[1].Name + " and " + cs[2].Name + " " + many
	}
	return fmt.Sprintf("%d components %s", len(cs), many)
}

// shares says how much fails of the two worst components that a measurement made so.
func shares(cs []*ViewComponent) string {
	var parts []string
	for _, c := range cs {
		if c.Failing >= 0.005 && len(parts) < 2 {
			parts = append(parts, aboutShare(c.Failing)+" requests to "+c.Name)
		}
	}
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return "About " + parts[0] + " fail."
	}
	return "About " + parts[0] + " and " + parts[1] + " fail."
}

// others says how those stand that shares says nothing of, such as "Search is degraded.".
func others(cs []*ViewComponent) string {
	var parts []string
	for _, c := range cs {
		if c.Failing < 0.005 {
			parts = append(parts, c.Name+" is "+c.Status.adjective()+".")
		}
	}
	if len(parts) > 3 {
		return fmt.Sprintf("%d components are affected.", len(cs))
	}
	return strings.Join(parts, " ")
}

// adjective returns the state for a sentence about a component.
func (s Status) adjective() string {
	switch s {
	case Degraded:
		return "degraded"
	case Partial:
		return "partly down"
	case Major:
		return "down"
	case Maintenance:
		return "in maintenance"
	}
	return "working"
}

// aboutShare returns a share as people say it: "7 in 100".
func aboutShare(s float64) string {
	if n := math.Round(s * 100); n >= 1 {
		return fmt.Sprintf("%.0f in 100", n)
	}
	return fmt.Sprintf("%.0f in 1,000", math.Round(s*1000))
}

func measuredOnly(cs []*ViewComponent, now time.Time) string {
	since := cs[0].Since
	for _, c := range cs[1:] {
		if c.Since.Before(since) {
			since = c.Since
		}
	}
	return "Our measurements say so since " + theme.Stamp(since, now) + " UTC" + agoClause(since, now) + "."
}

func restWorks(v *View, troubled []*ViewComponent) string {
	if len(troubled) == 0 || len(troubled) == len(v.Components()) {
		return ""
	}
	return "Everything else works."
}

// allGood says how much worked in the days of the bars.
func allGood(v *View) string {
	n := len(v.Components())
	s := "All " + theme.Num(n) + " components do."
	if n == 1 {
		s = v.Components()[0].Name + " does."
	}
	for i := range v.Incidents {
		if r := v.Incidents[i].ResolvedAt; r != nil {
			return s + " The last incident ended on " + theme.Day(*r) + "."
		}
	}
	return s + " There has been no incident yet."
}

// asOf returns the time as of which the page is true: that of the older source, of those that are too old.
func asOf(v *View, stale staleness) time.Time {
	switch {
	case stale.records && stale.measured && v.MeasuredAt.Before(v.RecordsAt), stale.measured && !stale.records:
		return v.MeasuredAt
	}
	return v.RecordsAt
}

// staleNotice says how old the page is and what of it; empty while it is fresh.
func staleNotice(v *View, stale staleness, now time.Time) string {
	at := asOf(v, stale)
	as := "As of " + theme.Stamp(at, now) + " UTC, " + roughly(now.Sub(at)) + " ago."
	switch {
	case stale.records && stale.measured:
		return as + " We cannot read newer information at the moment, so this page may be out of date."
	case stale.measured:
		return as + " We cannot measure at the moment. What people write here still appears at once."
	case stale.records:
		return as + " Measurements are current, but newer messages cannot be read at the moment."
	}
	return ""
}

// roughly returns a length of time in whole minutes, hours or days, so that it stays the same for a minute.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "1" + theme.NarrowSpace + "min"
	case d < 90*time.Minute:
		return fmt.Sprintf("%d%smin", d/time.Minute, theme.NarrowSpace)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d%sh", d.Round(time.Hour)/time.Hour, theme.NarrowSpace)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// at returns a moment for the middle of a sentence: "at 09:14 UTC", "on 12 Nov at 09:14 UTC".
func at(t, now time.Time) string {
	if day, clock, ok := strings.Cut(theme.Stamp(t, now), ", "); ok {
		return "on " + day + " at " + clock + " UTC"
	}
	return "at " + theme.Clock(t) + " UTC"
}

// when returns a moment as pages say it: "09:46 UTC, 6 min ago", from the second day on only "12 Nov, 09:46 UTC".
func when(t, now time.Time) string {
	s := theme.Stamp(t, now) + " UTC"
	switch d := now.Sub(t); {
	case d < time.Minute && d > -2*time.Minute:
		return s + ", just now"
	case d >= time.Minute && d < 24*time.Hour:
		return s + ", " + roughly(d) + " ago"
	}
	return s
}

// dayRange returns "Today", "Thu 12 Nov", "13 to 23 Nov", "28 Oct to 3 Nov" for UTC days.
func dayRange(first, last, now time.Time) string {
	today := now.UTC().Truncate(24 * time.Hour)
	layout := "Mon 2 Jan"
	if first.Year() != today.Year() {
		layout = "Mon 2 Jan 2006"
	}
	switch {
	case first.Equal(last) && first.Equal(today):
		return "Today"
	case first.Equal(last):
		return first.Format(layout)
	case first.Month() == last.Month():
		return first.Format("2") + " to " + last.Format("2 Jan")
	}
	return first.Format("2 Jan") + " to " + last.Format("2 Jan")
}
