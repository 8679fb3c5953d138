package slo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// span is a stretch of time: from is in it, to is not. Both are whole minutes, or whole hours.
type span struct{ from, to time.Time }

// endOf returns where windows that end now end: with the present minute, as far as it has come.
func endOf(now time.Time) time.Time { return now.UTC().Truncate(time.Minute).Add(time.Minute) }

// startOf returns where a rolling window begins that ends at end. A window of n minutes is the present minute and the n-1
// before it. One of a day or more begins at a full hour and so is up to 59 minutes longer: a minute counts for nothing
// in it, and reading the minutes at the beginning of each such window would double the cost of a cycle (ADR 0009).
func startOf(end time.Time, window time.Duration) time.Time {
	start := end.Add(-window)
	if window >= day {
		return start.Truncate(time.Hour)
	}
	return start
}

// readPlan says how the counts of several windows that end at the same moment are read: the time that they cover is cut
// where a window begins, and of each piece the whole hours are read from the hourly rollup and the rest from the minutes.
// So every request is read once, and a window's counts are the sums of both from its beginning on.
type readPlan struct {
	starts  []time.Time // ascending, distinct: where windows begin
	minutes []span      // ascending, apart from each other
	hours   []span
}

// newReadPlan returns the plan for windows that begin at starts, at least one, and end now. All are whole minutes.
func newReadPlan(now time.Time, starts []time.Time) readPlan {
	p := readPlan{starts: slices.Clone(starts)}
	slices.SortFunc(p.starts, time.Time.Compare)
	p.starts = slices.CompactFunc(p.starts, time.Time.Equal)
	end := endOf(now)
	for i, from := range p.starts {
		to := end
		if i+1 < len(p.starts) {
			to = p.starts[i+1]
		}
		firstHour, lastHour := from.Add(time.Hour-1).Truncate(time.Hour), to.Truncate(time.Hour)
		if !firstHour.Before(lastHour) {
			p.minutes = appendSpan(p.minutes, span{from, to})
			continue
		}
		p.minutes = appendSpan(p.minutes, span{from, firstHour})
		p.hours = appendSpan(p.hours, span{firstHour, lastHour})
		p.minutes = appendSpan(p.minutes, span{lastHour, to})
	}
	return p
}

// appendSpan adds a span that does not begin before the others end, joining what touches. An empty one adds nothing.
func appendSpan(spans []span, s span) []span {
	if !s.from.Before(s.to) {
		return spans
	}
	if n := len(spans); n > 0 && spans[n-1].to.Equal(s.from) {
		spans[n-1].to = s.to
		return spans
	}
	return append(spans, s)
}

// only returns the plan for reading what of it is in some spans, which are in order and apart.
func (p readPlan) only(spans []span) readPlan {
	q := readPlan{starts: p.starts}
	minutes := intersect(p.minutes, spans)
	for _, s := range intersect(p.hours, spans) {
		firstHour, lastHour := s.from.Add(time.Hour-1).Truncate(time.Hour), s.to.Truncate(time.Hour)
		if !firstHour.Before(lastHour) {
			minutes = append(minutes, s)
			continue
		}
		minutes = append(minutes, span{s.from, firstHour}, span{lastHour, s.to})
		q.hours = append(q.hours, span{firstHour, lastHour})
	}
	q.minutes = union(minutes)
	return q
}

// tier is one of the rollups that counts are read from.
type tier struct {
	table, column string
	spans         []span
}

// tiers returns the rollups that have something to read.
func (p readPlan) tiers() []tier {
	all := []tier{{"sli_1m", "minute", p.minutes}, {"sli_1h", "hour", p.hours}}
	return slices.DeleteFunc(all, func(t tier) bool { return len(t.spans) == 0 })
}

// within returns how many of the plan's starts, the first ones, have something after them in a tier.
func (p readPlan) within(t tier) int {
	end := t.spans[len(t.spans)-1].to
	n, _ := slices.BinarySearchFunc(p.starts, end, time.Time.Compare)
	return n
}

// sql returns the query for one tier: a row for each SLO, revision and tenant with its good and total requests from each
// of the starts on that are within the tier. Rows of other revisions than the definitions' can be among them: looking for
// both together costs more than all the rest. tenants is a condition on the column of this name, or empty.
//
// The hourly rollup is ordered by what is grouped by, so that ClickHouse needs no table of groups: a fifth of the time.
func (p readPlan) sql(t tier, defs []Definition, tenants string) string {
	var names, revisions []string
	for i := range defs {
		names = append(names, "'"+defs[i].Name+"'") // of letters, digits and hyphens
		revisions = append(revisions, fmt.Sprint(defs[i].SLIRevision))
	}
	slices.Sort(revisions)
	where := fmt.Sprintf("slo IN (%s) AND revision IN (%s)", strings.Join(names, ", "), strings.Join(slices.Compact(revisions), ", "))
	if tenants != "" {
		where += " AND " + tenants
	}
	columns := "slo, revision, tenant"
	for _, s := range p.starts[:p.within(t)] {
		if s.After(t.spans[0].from) {
			columns += fmt.Sprintf(",\n    sumIf(good, %[1]s >= %[2]s), sumIf(total, %[1]s >= %[2]s)", t.column, literal(s))
		} else {
			columns += ",\n    sum(good), sum(total)"
		}
	}
	return fmt.Sprintf(`SELECT %s
FROM %s
WHERE %s
    AND (%s)
GROUP BY slo, revision, tenant
SETTINGS optimize_aggregation_in_order = %d`,
		columns, t.table, where, within(t.column, t.spans), map[bool]int{true: 1}[t.column == "hour"])
}

func literal(t time.Time) string { return "toDateTime('" + t.UTC().Format(time.DateTime) + "', 'UTC')" }

func within(column string, spans []span) string {
	parts := make([]string, len(spans))
	for i, s := range spans {
		parts[i] = fmt.Sprintf("%[1]s >= %[2]s AND %[1]s < %[3]s", column, literal(s.from), literal(s.to))
	}
	return strings.Join(parts, "\n      OR ")
}

// windowCounts are the requests of one tenant, or of all together, in each of several windows that end now. The zero value
// has seen none.
type windowCounts struct {
	starts   []time.Time // of the plan, shared
	counts   []Counts    // from each start on
	excluded []Counts    // what corrections took out of them; nil for nothing
}

// since returns the requests in the window that begins at start, which is one of the plan's.
func (w windowCounts) since(start time.Time) Counts {
	for i, s := range w.starts {
		if s.Equal(start) {
			return w.counts[i]
		}
	}
	return Counts{}
}

// add adds what there was from each of the first starts on.
func (w *windowCounts) add(starts []time.Time, counts []Counts) {
	if w.counts == nil {
		w.starts, w.counts = starts, make([]Counts, len(starts))
	}
	for i, c := range counts {
		w.counts[i].Good += c.Good
		w.counts[i].Total += c.Total
	}
}

// merge adds another tenant's windows.
func (w *windowCounts) merge(other windowCounts) {
	w.add(other.starts, other.counts)
	if other.excluded == nil {
		return
	}
	if w.excluded == nil {
		w.excluded = make([]Counts, len(w.starts))
	}
	for i, c := range other.excluded {
		w.excluded[i].Good += c.Good
		w.excluded[i].Total += c.Total
	}
}

// exclude takes out what there was from each of the first starts on. A little more than is in may have come meanwhile.
func (w *windowCounts) exclude(counts []Counts) {
	if w.excluded == nil {
		w.excluded = make([]Counts, len(w.starts))
	}
	for i, c := range counts {
		left := w.counts[i]
		total := min(left.Total, c.Total)
		bad := min(left.Bad(), c.Bad(), total)
		w.counts[i] = Counts{Total: left.Total - total, Good: left.Total - total - min(left.Bad()-bad, left.Total-total)}
		w.excluded[i].Total += total
		w.excluded[i].Good += total - bad
	}
}

// excludedSince returns what corrections took out of the window that begins at start.
func (w windowCounts) excludedSince(start time.Time) Counts {
	if w.excluded == nil {
		return Counts{}
	}
	return windowCounts{starts: w.starts, counts: w.excluded}.since(start)
}
