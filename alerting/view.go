package alerting

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// View is an alert in words. NewView makes it for everybody who shows one, so that Slack and the console say the same.
// Times stay times: who shows them knows the reader's zone. Words written here name UTC.
type View struct {
	Alert    string
	Rule     string
	Product  string
	State    State
	Severity Severity

	Title    string // what a heading says: "Checkout availability burns for 41 tenants"
	Sentence string // all that matters: "… since 09:14 UTC. Worst: Mossgrove Foods, 106×, gone about 12:53."
	Text     string // the sentence for a lock screen, with what it asks of the reader: "Page: …"
	Share    string // "338 of 3,930 failed in the last hour (8.6 %)"
	Allowed  string // "allowed 0.1 %"; empty when the target is not known
	Limit    string // what had to be exceeded: "over 14.4× for 1 h and 5 min, 99 % sure"
	For      string // how long it burns, or lasted: "38 min"

	At         time.Time // as of when this is
	Since      time.Time
	ResolvedAt *time.Time
	ReopenedAt *time.Time
	AckedAt    *time.Time
	AckedBy    string
	AckedAfter string // "90 s"

	Tenants   []TenantView // the worst few
	Count     int          // tenants that burn; in a resolved alert those that did
	Overspent int          // of them, without any budget left

	URL     string // of the alert in the console
	OpenURL string // of what to open first: the only tenant, else the alert
	SLOURL  string
}

// TenantView is one tenant in a View.
type TenantView struct {
	ID     tenant.ID
	Name   string
	State  State
	Burn   string     // "106×", in a resolved alert the peak
	Budget string     // "59 % left", "overspent by 6 %"
	GoneAt *time.Time // when the budget runs out at this rate; nil when it does not or has
	Gone   string     // the same in words: "gone about 12:53", "enough for 2 d 17 h"
	Spent  string     // of a resolved alert: "23 points of budget"
	URL    string
}

// worstShown is how many tenants a message names.
const worstShown = 3

// untaggedName is what people call requests that named no tenant.
const untaggedName = "untagged requests"

// NewView puts an alert into words. Names may lack tenants; base is where the console's addresses begin.
func NewView(a *Alert, names map[tenant.ID]string, base string) *View {
	v := &View{
		Alert: a.ID, Rule: a.Rule, Product: a.Product, State: a.State, Severity: a.Severity,
		At: a.ObservedAt.UTC(), Since: a.StartedAt.UTC(), ResolvedAt: a.ResolvedAt, ReopenedAt: a.ReopenedAt,
		AckedAt: a.AckedAt, AckedBy: a.AckedBy,
		URL: base + "/alerts/" + a.ID, SLOURL: base + "/slos/" + url.PathEscape(a.Rule),
	}
	members := a.Burning()
	if a.State == Resolved {
		v.At = a.ResolvedAt.UTC()
		members = slices.Clone(a.Members)
		slices.SortStableFunc(members, func(x, y Member) int { // what cost most; to the point, as it is shown
			return cmp.Or(cmp.Compare(math.Round(y.Spent()*100), math.Round(x.Spent()*100)), cmp.Compare(x.Burn.BudgetRemaining, y.Burn.BudgetRemaining))
		})
	}
	v.Count = len(members)
	for i := range members {
		if members[i].Burn.BudgetRemaining < 0 {
			v.Overspent++
		}
	}
	for i := range members[:min(len(members), worstShown)] {
		v.Tenants = append(v.Tenants, newTenantView(&members[i], a, names, base, v.At))
	}
	v.For = theme.Duration(v.At.Sub(v.Since))
	if a.AckedAt != nil {
		told := a.OpenedAt
		if a.ReopenedAt != nil { // nobody had acknowledged it then
			told = *a.ReopenedAt
		}
		v.AckedAfter = theme.Duration(a.AckedAt.Sub(told))
	}
	v.OpenURL = v.URL
	if v.Count == 1 {
		v.OpenURL = v.Tenants[0].URL
	}
	v.evidence(a, members)
	v.sentences(a)
	return v
}

func newTenantView(m *Member, a *Alert, names map[tenant.ID]string, base string, at time.Time) TenantView {
	t := TenantView{ID: m.Tenant, Name: tenantName(m.Tenant, names), State: m.State, Burn: theme.Burn(m.Burn.Rate), Budget: budget(m.Burn.BudgetRemaining)}
	t.URL = base + "/tenants/" + url.PathEscape(string(m.Tenant))
	if m.Tenant == tenant.Untagged {
		t.URL = base + "/untagged"
	}
	if a.State == Resolved {
		t.Burn, t.Spent = theme.Burn(m.PeakRate), points(m.Spent())
		return t
	}
	if e := m.Burn.ExhaustsAt; e != nil && m.Burn.BudgetRemaining > 0 && e.After(at) {
		utc := e.UTC()
		t.GoneAt, t.Gone = &utc, gone(utc, at)
	}
	return t
}

func tenantName(id tenant.ID, names map[tenant.ID]string) string {
	if id == tenant.Untagged {
		return untaggedName
	}
	return cmp.Or(names[id], string(id))
}

// Some names how many a view is about: the tenant's name when it is one.
func (v *View) some() string {
	if v.Count == 1 {
		return v.Tenants[0].Name
	}
	return theme.Count(v.Count, "tenant", "tenants")
}

// sentences writes what is true in words.
func (v *View) sentences(a *Alert) {
	if a.State == Resolved {
		v.Title = a.Title + ": resolved after " + v.For
		v.Sentence = a.Title + " burned for " + v.some() + " from " + clock(v.Since, v.At) + " to " + theme.Clock(v.At) + " UTC, " + v.For + "."
		v.Text = "Resolved after " + v.For + ": " + a.Title + ", " + v.some() + "."
		if cost := v.cost(); cost != "" {
			v.Sentence += " " + cost
			v.Text += " " + cost
		}
		return
	}
	v.Title = a.Title + " burns for " + v.some()
	v.Sentence = v.Title + " since " + clock(v.Since, v.At) + " UTC"
	if v.Count > 0 {
		worst := v.Tenants[0]
		facts := worst.Burn
		if worst.Gone != "" {
			facts += ", " + worst.Gone
		} else {
			facts += ", " + worst.Budget
		}
		if v.Count == 1 {
			v.Sentence += ": " + facts + "."
		} else {
			v.Sentence += ". Worst: " + worst.Name + ", " + facts + "."
		}
	}
	v.Text = severityWord(v.Severity) + ": " + v.Sentence
	if v.State == Acknowledged {
		v.Text = "Acknowledged by " + v.AckedBy + ": " + v.Sentence
	}
}

// cost says what a resolved alert spent.
func (v *View) cost() string {
	switch worst := v.Tenants; {
	case len(worst) == 0:
		return ""
	case v.Count == 1:
		return upperFirst(worst[0].Spent) + " spent, " + worst[0].Budget + "."
	case v.Overspent > 0:
		return theme.Num(v.Overspent) + " overspent; " + worst[0].Name + " lost most: " + worst[0].Spent + ", " + worst[0].Budget + "."
	default:
		return worst[0].Name + " lost most: " + worst[0].Spent + ", " + worst[0].Budget + "."
	}
}

// evidence counts what failed. Tenants are added up when they burn over the same window; otherwise the worst one's
// numbers stand for themselves.
func (v *View) evidence(a *Alert, members []Member) {
	if len(members) == 0 {
		return
	}
	worst := &members[0].Burn
	v.Limit = limit(worst)
	if a.State == Resolved {
		return // the counts of a window that is over say nothing about now
	}
	same := !slices.ContainsFunc(members, func(m Member) bool { return m.Burn.Long != worst.Long })
	bad, total, whose := worst.Bad, worst.Total, ""
	if same {
		bad, total = 0, 0
		for _, m := range members {
			bad, total = bad+m.Burn.Bad, total+m.Burn.Total
		}
	} else {
		whose = v.Tenants[0].Name + ": "
		members = members[:1]
	}
	if total > 0 {
		v.Share = whose + theme.Num(bad) + " of " + theme.Num(total) + " " + a.BadIs + " in " + last(worst.Long) +
			" (" + theme.Ratio(float64(bad)/float64(total)) + ")"
	}
	v.Allowed = allowed(members)
}

func severityWord(s Severity) string {
	if s == Page {
		return "Page"
	}
	return "Ticket"
}

// More returns how many tenants the view counts and does not name.
func (v *View) More() int { return v.Count - len(v.Tenants) }

// SeverityWord returns "Page" or "Ticket".
func (v *View) SeverityWord() string { return severityWord(v.Severity) }

// OpenLabel is what a button to OpenURL says.
func (v *View) OpenLabel() string {
	if v.OpenURL == v.URL {
		return "Open alert"
	}
	return "Open tenant"
}

func clock(t, now time.Time) string { return theme.Stamp(t, now) }

func shortFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
