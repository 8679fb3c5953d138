package statuspage

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

type spanView struct {
	Status   Status
	X, Width string // percent of the lane
}

type laneView struct {
	Name, Label string
	Spans       []spanView
}

type incidentView struct {
	common
	Heading, State, Lede, From, To string
	Shown                          Status
	Facts                          []fact
	Lanes                          []laneView
	Updates                        []updateView
}

func (r *rendering) incidents() error {
	for n := range r.v.Incidents {
		i := &r.v.Incidents[n]
		us, err := r.updateViews(i)
		if err != nil {
			return err
		}
		v := incidentView{Heading: i.Name, Shown: i.Worst, State: i.Worst.Word() + ", going on", Updates: us}
		began := at(i.StartedAt, r.now)
		end := r.now
		v.Facts = []fact{{"Began", i.StartedAt.Format("Mon 2 Jan 2006, 15:04") + " UTC"}}
		if i.ResolvedAt != nil {
			end = *i.ResolvedAt
			took := roughly(end.Sub(i.StartedAt))
			v.Shown, v.State = Operational, "Resolved"
			v.Lede = "It began " + began + " and was over after " + took + "."
			v.Facts = append(v.Facts, fact{"Ended", end.Format("Mon 2 Jan 2006, 15:04") + " UTC"}, fact{"Took", took})
		} else {
			v.Lede = "It began " + began + agoClause(i.StartedAt, r.now) + ", and is going on."
			v.Facts = append(v.Facts, fact{"So far", roughly(r.now.Sub(i.StartedAt))})
		}
		if len(i.Updates) > 0 {
			first, last := &i.Updates[len(i.Updates)-1], &i.Updates[0]
			if p := r.updates.firstParagraph(last.Body, 320); p != "" {
				v.Lede += " " + p
			}
			v.Facts = append(v.Facts, fact{"First told", theme.Stamp(first.DisplayAt, r.now) + " UTC"})
			if i.ResolvedAt == nil {
				v.Facts = append(v.Facts, fact{"Last update", when(last.DisplayAt, r.now)})
			}
		}
		v.Lanes = lanes(i, end, r.now)
		v.From, v.To = theme.Stamp(i.StartedAt, r.now), theme.Stamp(end, r.now)
		v.common = r.common("history", i.Name+" · "+r.o.Name+" status", v.State+". "+i.Name+". It began "+began+".", "/incidents/"+i.ID)
		if err := r.page("/incidents/"+i.ID, "incident", v); err != nil {
			return err
		}
	}
	return nil
}

// lanes returns the states over time of each component that the incident named. It is pure.
func lanes(i *ViewIncident, end, now time.Time) []laneView {
	total := end.Sub(i.StartedAt)
	if total <= 0 {
		return nil
	}
	var order []string
	names := map[string]string{}
	spans := map[string][]span{}
	for n, u := range slices.Backward(i.Updates) {
		from := u.DisplayAt
		if n == len(i.Updates)-1 {
			from = i.StartedAt
		}
		for _, a := range u.Affected {
			ss, known := spans[a.Component]
			if !known {
				order, names[a.Component] = append(order, a.Component), a.Name
				if from.After(i.StartedAt) {
					ss = append(ss, span{i.StartedAt, end, Operational})
				}
			}
			if len(ss) > 0 {
				ss[len(ss)-1].to = from
			}
			spans[a.Component] = append(ss, span{from, end, a.New})
		}
	}
	var out []laneView
	for _, id := range order {
		l := laneView{Name: names[id]}
		var words []string
		for _, s := range joined(spans[id], end) {
			l.Spans = append(l.Spans, spanView{s.status, percent(s.from.Sub(i.StartedAt), total), percent(s.to.Sub(s.from), total)})
			words = append(words, s.status.Word()+" from "+theme.Stamp(s.from, now)+" to "+theme.Stamp(s.to, now)+" UTC")
		}
		l.Label = strings.Join(words, ", ")
		out = append(out, l)
	}
	return out
}

// joined leaves out spans without length and those past the end, and makes one of neighbours with the same status: an
// update that repeats a component's state is no change of it.
func joined(list []span, end time.Time) []span {
	var out []span
	for _, s := range list {
		if !s.to.After(s.from) || !s.from.Before(end) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].status == s.status {
			out[n-1].to = s.to
			continue
		}
		out = append(out, s)
	}
	return out
}

func percent(part, whole time.Duration) string {
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(whole))
}

type monthView struct {
	Path, Title, Count string
	Rows               []rowView
}

type historyView struct {
	common
	Heading, Lede string
	Months        []monthView
	Newer, Older  *month
}

// monthsOnFirst is how many months /history itself shows.
const monthsOnFirst = 3

func (r *rendering) history() error {
	ms := months(r.v, r.o.MaxMonths, r.now)
	view := func(ms []month) (vs []monthView) {
		for _, m := range ms {
			count := "No incidents"
			if m.Count > 0 {
				count = theme.Count(m.Count, "incident", "incidents")
			}
			vs = append(vs, monthView{m.Path, m.Title, count, r.rows(m.Rows)})
		}
		return vs
	}
	at := func(i int) *month {
		if i < 0 || i >= len(ms) {
			return nil
		}
		return &ms[i]
	}
	first := min(monthsOnFirst, len(ms))
	h := historyView{Heading: "History", Lede: "Every incident, newest first, by the UTC day on which it began.", Months: view(ms[:first]), Older: at(first)}
	h.common = r.common("history", "History · "+r.o.Name+" status", "Past incidents of "+r.o.Name+".", "/history")
	if err := r.page("/history", "history", h); err != nil {
		return err
	}
	for i := range ms {
		h := historyView{Heading: "Incidents in " + ms[i].Title, Lede: "By the UTC day on which they began.", Months: view(ms[i : i+1]),
			Newer: at(i - 1), Older: at(i + 1)}
		h.common = r.common("history", ms[i].Title+" · "+r.o.Name+" status", "Incidents of "+r.o.Name+" in "+ms[i].Title+".", "/history/"+ms[i].Path)
		if err := r.page("/history/"+ms[i].Path, "history", h); err != nil {
			return err
		}
	}
	return nil
}

type entryView struct {
	ID, Title, Word, Tone, Product, Version, Date, Left string
	At                                                  time.Time
	Body                                                template.HTML
}

type changelogView struct {
	common
	Entries []entryView
}

// tone returns the class that colours a type's tag.
func (t EntryType) tone() string {
	switch t {
	case Added:
		return "good"
	case Deprecated:
		return "warn"
	case Removed:
		return "part"
	case Security:
		return "bad"
	}
	return ""
}

func (r *rendering) changelog() error {
	c := changelogView{common: r.common("changelog", "Changelog · "+r.o.Name, "What changed in "+r.o.Name+", newest first.", "/changelog")}
	for i := range r.v.Changelog {
		e := &r.v.Changelog[i]
		body, err := r.entries.html(e.Body)
		if err != nil {
			return err
		}
		c.Entries = append(c.Entries, entryView{ID: e.ID, Title: e.Title, Word: e.Type.Word(), Tone: e.Type.tone(), Product: e.Product,
			Version: e.Version, Date: theme.Day(e.PublishedAt), At: e.PublishedAt, Body: body, Left: timeLeft(e.EffectiveAt, r.now)})
	}
	return r.page("/changelog", "changelog", c)
}

// timeLeft says how long there is until a change takes effect.
func timeLeft(at *time.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	switch days := int(at.Sub(now).Hours()+23) / 24; {
	case !at.After(now):
		return "In effect since " + theme.Day(*at)
	default:
		return theme.Count(days, "day", "days") + " left, until " + theme.Day(*at)
	}
}

type cellView struct{ Text, Word, Href string }

type dayView struct {
	ISO, Label string
	Cells      []cellView
}

type uptimeGroup struct {
	N             int
	Name          string
	Names, Uptime []string
	Days          []dayView
}

type uptimeView struct {
	common
	Groups []uptimeGroup
}

func (r *rendering) uptime() error {
	u := uptimeView{common: r.common("status", "Uptime by day · "+r.o.Name+" status", "Share of requests that worked, each day.", "/uptime")}
	for n := range r.v.Groups {
		g := uptimeGroup{N: n, Name: r.v.Groups[n].Name}
		if g.Name == "" {
			g.Name = "Components"
		}
		var cs []*ViewComponent
		for i := range r.v.Groups[n].Components {
			if c := &r.v.Groups[n].Components[i]; c.Measured && len(c.Days) == barDays {
				cs = append(cs, c)
				g.Names = append(g.Names, c.Name)
				g.Uptime = append(g.Uptime, cell(c.Uptime))
			}
		}
		if len(cs) == 0 {
			continue
		}
		for d := barDays - 1; d >= 0; d-- {
			day := cs[0].Days[d].Day
			row := dayView{ISO: day.Format(time.DateOnly), Label: day.Format("Mon 2 Jan 2006")}
			for _, c := range cs {
				x := cellView{Text: cell(c.Days[d].Worked), Word: c.Days[d].Level.word()}
				if id := c.Days[d].Incident; id != "" {
					x.Href = "/incidents/" + id
				}
				row.Cells = append(row.Cells, x)
			}
			g.Days = append(g.Days, row)
		}
		u.Groups = append(u.Groups, g)
	}
	return r.page("/uptime", "uptime", u)
}

func cell(share float64) string {
	if share < 0 {
		return "No data"
	}
	return theme.Availability(share)
}
