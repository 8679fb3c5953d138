package dashboards

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// burn is one SLO that burns now, for one tenant or many: what a callout says.
type burn struct {
	SLO       string
	Severity  slo.State // StatePage or StateTicket
	Title     string    // of the SLO
	Heading   string    // "Checkout availability burns for 41 tenants"
	Evidence  string    // the share with its base
	Tenants   int
	Worst     tenant.ID
	WorstName string
	Rate      string         // of the worst, "106×"
	Gone      string         // "gone about 12:53", "overspent", or empty when the budget lasts
	Alert     *alerting.View // nil until alerting has opened one
}

// burnsOf groups the statuses that burn by SLO and severity: the most urgent first, then those with the most tenants.
// Where an alert is open its words are taken, so that console and Slack say the same. An open alert that nothing burns
// for at this moment is listed too. name returns a tenant's name.
func burnsOf(snap *slo.Snapshot, alerts []openAlert, name func(tenant.ID) string, now time.Time) []burn {
	type key struct {
		slo   string
		state slo.State
	}
	groups := map[key][]*slo.Status{}
	if snap != nil {
		for i := range snap.Statuses {
			if s := &snap.Statuses[i]; burning(s.State) {
				k := key{s.SLO, s.State}
				groups[k] = append(groups[k], s)
			}
		}
	}
	list := make([]burn, 0, len(groups))
	listed := map[string]bool{}
	for k, members := range groups {
		b := burnOfGroup(snap, members, name, now)
		for _, a := range alerts {
			if a.Rule == k.slo && stateOf(a.Severity) == k.state {
				b.take(a.View, now)
			}
		}
		listed[k.slo] = true
		list = append(list, b)
	}
	for _, a := range alerts {
		if !listed[a.Rule] && a.Count > 0 {
			b := burn{SLO: a.Rule, Title: titleOf(snap, a.Rule), Severity: stateOf(a.Severity)}
			b.take(a.View, now)
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b burn) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(b.Tenants, a.Tenants), strings.Compare(a.SLO, b.SLO))
	})
	return list
}

func stateOf(s alerting.Severity) slo.State {
	if s == alerting.Page {
		return slo.StatePage
	}
	return slo.StateTicket
}

// burnOfGroup describes the tenants of one SLO that burn alike.
func burnOfGroup(snap *slo.Snapshot, members []*slo.Status, name func(tenant.ID) string, now time.Time) burn {
	worst := members[0]
	for _, s := range members[1:] {
		if worse(s, worst) {
			worst = s
		}
	}
	whom := name(worst.Tenant)
	if len(members) > 1 {
		whom = theme.Count(len(members), "tenant", "tenants")
	}
	b := burn{
		SLO: worst.SLO, Title: worst.Title, Severity: worst.State, Tenants: len(members), Worst: worst.Tenant, WorstName: name(worst.Tenant),
		Heading: worst.Title + " burns for " + whom, Gone: gone(worst, now),
	}
	pair := worst.Worst()
	if pair == nil { // an alert holds it that had its numbers before
		return b
	}
	var counts slo.Counts // of all members over the worst one's long window
	for _, s := range members {
		for _, r := range s.BurnRates {
			if r.Long == pair.Long {
				counts.Good += r.LongCounts.Good
				counts.Total += r.LongCounts.Total
				break // two pairs may share a long window
			}
		}
	}
	b.Rate = theme.Burn(pair.LongRate)
	b.Evidence = badShare(counts, rowOf(snap, worst).Threshold) + " in the last " + theme.Duration(pair.Long) + "."
	return b
}

// take puts an alert's words in place of ours.
func (b *burn) take(a *alerting.View, now time.Time) {
	b.Alert = a
	if a.Count >= b.Tenants { // else there are some that it does not hold yet
		b.Tenants, b.Heading = a.Count, a.Title
	}
	if a.Share != "" {
		b.Evidence = a.Share
		if a.Allowed != "" {
			b.Evidence += ", " + a.Allowed
		}
		b.Evidence += "."
	}
	if len(a.Tenants) > 0 {
		t := a.Tenants[0]
		b.Worst, b.WorstName, b.Rate, b.Gone = t.ID, t.Name, t.Burn, t.Gone
		if b.Gone == "" {
			b.Gone = t.Budget
		}
	}
}

// badShare is "8.6 % fail: 338 of 3,930", or for a latency SLO "8.6 % fail or take over 800 ms: …".
func badShare(c slo.Counts, threshold time.Duration) string {
	s := theme.Ratio(c.ErrorRatio()) + " fail"
	if threshold > 0 {
		s += " or take over " + roundMillis(threshold)
	}
	return s + ": " + theme.Num(c.Bad()) + " of " + theme.Num(c.Total)
}

// gone is "gone about 12:53", "overspent", or empty when the budget lasts.
func gone(s *slo.Status, now time.Time) string {
	switch {
	case s.ErrorBudgetRemaining <= 0 && s.State != slo.StateNoData:
		return "overspent"
	case s.ExhaustsAt != nil:
		return "gone about " + theme.Stamp(*s.ExhaustsAt, now)
	}
	return ""
}

// fleetVerdict is the sentence over the list of tenants, with one of context.
type fleetVerdict struct {
	Glyph, Word   string // shape and its accessible name
	Bold, Context string
}

// verdictOf says what is true of all tenants now.
func verdictOf(snap *slo.Snapshot, burns []burn, rows []tenantRow, h budgetHistogram, now time.Time) fleetVerdict {
	switch {
	case snap == nil:
		return fleetVerdict{"nodata", "Unknown", "Whether anything burns is not known now.", ""}
	case len(snap.SLOs) == 0:
		return fleetVerdict{"nodata", "No SLO", "No SLO is defined yet, so nothing can burn.", "Apply a first one: headroom slo apply FILE."}
	case len(burns) == 0:
		v := fleetVerdict{"fine", "Fine", "Nothing burns.", ""}
		switch {
		case h.Tenants == 0:
			v.Glyph, v.Word, v.Bold = "nodata", "No data", "No SLO has counted a request yet."
		case h.Overspent == 0 && h.Low == 0:
			v.Context = "All " + theme.Count(h.Tenants, "tenant", "tenants") + " with traffic have a quarter of their budgets or more."
			if h.Tenants == 1 {
				v.Context = "The one tenant with traffic has a quarter of its budgets or more."
			}
		default:
			v.Context = "Of " + theme.Count(h.Tenants, "tenant", "tenants") + " with traffic, " + theme.Num(h.Overspent) + " overspent and " +
				theme.Count(h.Low, "has", "have") + " less than a quarter of a budget left."
		}
		return v
	}
	worst := burns[0]
	hurt, quiet, fine := 0, 0, 0
	for i := range rows {
		switch r := &rows[i]; {
		case burning(r.State):
			hurt++
			if r.SLO != nil && silent(r.SLO) {
				quiet++
			}
		case !math.IsNaN(r.Budget):
			fine++
		}
	}
	v := fleetVerdict{Glyph: stateGlyph(worst.Severity), Word: stateWord(worst.Severity)}
	slos := map[string]bool{}
	for _, b := range burns {
		slos[b.SLO] = true
	}
	v.Bold = worst.Title + " burns"
	if len(slos) > 1 {
		v.Bold = theme.Count(len(slos), "SLO", "SLOs") + " burn"
	}
	v.Bold += " for " + theme.Count(max(hurt, worst.Tenants), "tenant", "tenants")
	if since := firstSince(burns); !since.IsZero() {
		v.Bold += " since " + theme.Stamp(since, now) + " UTC"
	}
	v.Bold += "."
	switch {
	case fine == 1:
		v.Context = "For the other tenant with traffic nothing burns."
	case fine > 1:
		v.Context = "For the other " + theme.Num(fine) + " tenants with traffic nothing burns."
	}
	if quiet > 0 {
		whose := theme.Num(quiet) + " of those that burn sent nothing lately"
		if quiet == hurt {
			whose = "Those that burn sent nothing lately"
		}
		v.Context = strings.TrimSpace(v.Context + " " + whose + ": an alert stays open until requests show that it is over.")
	}
	return v
}

// firstSince is when the first of the alerts began, zero without any.
func firstSince(burns []burn) time.Time {
	var first time.Time
	for _, b := range burns {
		if b.Alert != nil && (first.IsZero() || b.Alert.Since.Before(first)) {
			first = b.Alert.Since
		}
	}
	return first
}

// titleOf returns an SLO's title, its name when it is not defined any more.
func titleOf(snap *slo.Snapshot, name string) string {
	if snap != nil {
		for i := range snap.SLOs {
			if snap.SLOs[i].Name == name {
				return snap.SLOs[i].Title
			}
		}
	}
	return name
}

// stateWord is the word for a state, as people say it.
func stateWord(s slo.State) string {
	switch s {
	case slo.StatePage:
		return "Page"
	case slo.StateTicket:
		return "Ticket"
	case slo.StateExhausted:
		return "Overspent"
	case slo.StateWatching:
		return "Watching"
	case slo.StateOK:
		return "Within"
	}
	return "No traffic"
}

// stateGlyph is the name of a state's shape.
func stateGlyph(s slo.State) string {
	switch s {
	case slo.StatePage:
		return "page"
	case slo.StateTicket, slo.StateExhausted:
		return "ticket"
	case slo.StateWatching:
		return "watching"
	case slo.StateOK:
		return "fine"
	}
	return "nodata"
}
