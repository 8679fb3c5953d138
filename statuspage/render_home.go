package statuspage

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/web/theme"
)

type fact struct{ Label, Text string }

type updateView struct {
	ID, Word, When, Changes, Late string
	At                            time.Time
	Glyph                         template.HTML
	Body                          template.HTML
}

type openView struct {
	ID, Name, Href string
	Worst          Status
	Facts          []fact
	Updates        []updateView
}

type rowView struct {
	Label string
	Items []rowItem
}

type rowItem struct {
	Href, Name, Text, End, Tone string
	Glyph                       template.HTML
}

type barView struct{ Class, Href, Text string }

type componentView struct {
	Name, Description, Uptime, Label string
	Status                           Status
	Measured                         bool
	Bars                             []barView
}

type groupView struct {
	Name, Word string
	Status     Status
	Open       bool
	Measured   bool
	Bars       []string
	Components []componentView
}

type newsView struct {
	ID, Title, Text, Word, Tone, Of, Date string
	At                                    time.Time
}

type homeView struct {
	common
	Verdict     verdict
	Facts       []fact
	Lead        *openView
	Others      []openView
	Groups      []groupView
	AnyMeasured bool
	Rows        []rowView
	News        []newsView
}

func (r *rendering) home() error {
	d := judgement(r.v, r.stale, r.now)
	h := homeView{Verdict: d, AnyMeasured: r.v.anyMeasured(), Rows: r.rows(recent(r.v, recentDays, r.now))}
	h.common = r.common("status", d.Title+" · "+r.o.Name+" status", r.o.Name+": "+d.Word+". "+d.Title+".", "/")
	open := r.v.Open()
	if len(open) > 0 {
		worst := worstOpen(open)
		for _, i := range open {
			o, err := r.open(i)
			if err != nil {
				return err
			}
			if i == worst {
				h.Lead, h.Facts = &o, o.Facts
				continue
			}
			h.Others = append(h.Others, o)
		}
	}
	for i := range r.v.Groups {
		h.Groups = append(h.Groups, r.group(&r.v.Groups[i], len(r.v.Groups) == 1))
	}
	for i := range r.v.Changelog[:min(3, len(r.v.Changelog))] {
		e := &r.v.Changelog[i]
		h.News = append(h.News, newsView{ID: e.ID, Title: e.Title, Text: r.entries.firstParagraph(e.Body, 220), Word: e.Type.Word(),
			Tone: e.Type.tone(), Of: strings.TrimSpace(e.Product + " " + e.Version), At: e.PublishedAt, Date: theme.Day(e.PublishedAt)})
	}
	return r.page("/", "home", h)
}

func (r *rendering) open(i *ViewIncident) (openView, error) {
	us, err := r.updateViews(i)
	o := openView{ID: i.ID, Name: i.Name, Href: "/incidents/" + i.ID, Worst: i.Worst, Updates: us}
	if len(i.Updates) > 0 {
		o.Facts = append(o.Facts, fact{"Last update", when(i.Updates[0].DisplayAt, r.now)})
	}
	o.Facts = append(o.Facts, fact{"Now", i.Phase.Word()})
	if names := i.affectedNames(); names != "" {
		o.Facts = append(o.Facts, fact{"Affected", names})
	}
	return o, err
}

// affectedNames returns the components that the incident has named, in the order in which it did.
func (i *ViewIncident) affectedNames() string {
	var names []string
	seen := map[string]bool{}
	for n := len(i.Updates) - 1; n >= 0; n-- {
		for _, a := range i.Updates[n].Affected {
			if !seen[a.Component] {
				seen[a.Component] = true
				names = append(names, a.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// backdatedAfter is from which delay on a page says that an update was written later than it is dated.
const backdatedAfter = 10 * time.Minute

func (r *rendering) updateViews(i *ViewIncident) ([]updateView, error) {
	us := make([]updateView, len(i.Updates))
	for n := range i.Updates {
		u := &i.Updates[n]
		body, err := r.updates.html(u.Body)
		if err != nil {
			return nil, err
		}
		us[n] = updateView{ID: u.ID, Word: u.Phase.Word(), When: when(u.DisplayAt, r.now), At: u.DisplayAt, Body: body,
			Glyph: phaseGlyph(u.Phase, i.Worst), Changes: changes(u.Affected)}
		if u.CreatedAt.Sub(u.DisplayAt) > backdatedAfter {
			us[n].Late = "Written later, at " + theme.Stamp(u.CreatedAt, r.now) + " UTC."
		}
	}
	return us, nil
}

// changes says which components changed by an update, such as "Checkout: partial outage. Search: working again.", in
// the order in which it names them.
func changes(as []ViewAffected) string {
	var parts []string
	for _, a := range as {
		word := strings.ToLower(a.New.Word())
		if a.New == Operational {
			if a.Old == Operational {
				continue
			}
			word = "working again"
		} else if a.New == a.Old {
			continue
		}
		parts = append(parts, a.Name+": "+word+".")
	}
	return strings.Join(parts, " ")
}

func (r *rendering) group(g *ViewGroup, alone bool) groupView {
	v := groupView{Name: g.Name, Status: g.Status()}
	v.Open = alone || v.Status != Operational
	v.Word = v.Status.Word()
	if n := len(g.Components); v.Status == Operational && n > 1 {
		v.Word = fmt.Sprintf("All %d working", n)
	}
	levels := make([]dayLevel, barDays)
	for i := range g.Components {
		c := &g.Components[i]
		v.Measured = v.Measured || c.Measured
		for n := range c.Days {
			if n < len(levels) {
				levels[n] = worseLevel(levels[n], c.Days[n].Level)
			}
		}
		v.Components = append(v.Components, r.component(c))
	}
	for _, l := range levels {
		v.Bars = append(v.Bars, l.class())
	}
	return v
}

func (r *rendering) component(c *ViewComponent) componentView {
	v := componentView{Name: c.Name, Description: c.Description, Status: c.Status, Measured: c.Measured}
	trouble := 0
	for i := range c.Days {
		d := &c.Days[i]
		b := barView{Class: d.Level.class(), Text: dayText(d, r.now)}
		if d.Incident != "" {
			b.Href = "/incidents/" + d.Incident
		}
		if d.Level > levelGood && d.Level != levelMaintenance {
			trouble++
		}
		v.Bars = append(v.Bars, b)
	}
	days := "no days with trouble"
	if trouble > 0 {
		days = theme.Count(trouble, "day", "days") + " with trouble"
	}
	v.Label = c.Name + ", last 90 days: " + days
	if c.Measured && c.Uptime >= 0 {
		v.Uptime = theme.Availability(c.Uptime)
		v.Label = c.Name + ", last 90 days: " + v.Uptime + " of requests worked, " + days
	}
	return v
}

func dayText(d *ViewDay, now time.Time) string {
	s := dayRange(d.Day, d.Day, now) + ": "
	if d.Worked < 0 {
		s += "no data"
	} else {
		s += theme.Availability(d.Worked)
	}
	if w := d.Level.word(); w != "" {
		s += ", " + w
	}
	return s
}

func (l dayLevel) class() string {
	return [...]string{levelNone: "dn", levelGood: "", levelDegraded: "d1", levelPartial: "d2", levelMajor: "d3", levelMaintenance: "dm"}[l]
}

func (l dayLevel) word() string {
	return [...]string{levelNone: "", levelGood: "", levelDegraded: "degraded", levelPartial: "partial outage", levelMajor: "major outage",
		levelMaintenance: "maintenance"}[l]
}

func (r *rendering) rows(hs []historyRow) []rowView {
	out := make([]rowView, 0, len(hs))
	for _, h := range hs {
		row := rowView{Label: h.Label}
		for _, i := range h.Incidents {
			row.Items = append(row.Items, r.rowItem(i))
		}
		out = append(out, row)
	}
	return out
}

func (r *rendering) rowItem(i *ViewIncident) rowItem {
	item := rowItem{Href: "/incidents/" + i.ID, Name: i.Name, Tone: tone(i.Worst), Glyph: shape(i.Worst),
		End: "Going on since " + theme.Stamp(i.StartedAt, r.now) + " UTC"}
	if len(i.Updates) > 0 {
		item.Text = r.updates.firstParagraph(i.Updates[0].Body, 280)
	}
	if i.ResolvedAt != nil {
		item.Tone, item.Glyph = "good", shape(Operational)
		end := at(*i.ResolvedAt, r.now)
		if i.ResolvedAt.Truncate(24 * time.Hour).Equal(i.StartedAt.Truncate(24 * time.Hour)) { // the row names the day
			end = at(*i.ResolvedAt, *i.ResolvedAt)
		}
		item.End = "Resolved " + end + ", after " + theme.Duration(i.ResolvedAt.Sub(i.StartedAt).Truncate(time.Minute))
	}
	return item
}
