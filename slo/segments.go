package slo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// span is a stretch of time: from is in it, to is not. Both are whole minutes, or whole hours.
type span struct{ from, to time.Time }

// readPlan says how the counts of several windows that end at the same moment are read: the time that they cover together
// is cut where a window begins, and each piece is read once, the whole hours in it from the hourly rollup and the rest
// from the minutes. A window's counts are those of all pieces from its beginning on.
//
// A window of n minutes is the present minute, as far as it has come, and the n-1 before it.
type readPlan struct {
	windows []time.Duration // ascending, distinct
	starts  []time.Time     // ascending; where pieces begin: those of the longest window first
	minutes []span          // ascending, apart from each other
	hours   []span
}

// newReadPlan returns the plan for windows that end now. There is at least one and all are whole minutes.
func newReadPlan(now time.Time, windows []time.Duration) readPlan {
	p := readPlan{windows: slices.Compact(slices.Sorted(slices.Values(windows)))}
	end := now.UTC().Truncate(time.Minute).Add(time.Minute)
	for _, w := range slices.Backward(p.windows) {
		p.starts = append(p.starts, end.Add(-w))
	}
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

// sql returns the query: a row for each SLO and tenant with, piece by piece, its beginning as a Unix time, good and total.
// Rows are of the definitions' present counts. With oneTenant it is for the query parameter tenant alone.
func (p readPlan) sql(defs []Definition, oneTenant bool) string {
	keys := make([]string, len(defs))
	for i := range defs {
		keys[i] = fmt.Sprintf("('%s', %d)", defs[i].Name, defs[i].SLIRevision) // names are of letters, digits and hyphens
	}
	starts := make([]string, len(p.starts))
	for i, s := range p.starts {
		starts[i] = fmt.Sprint(s.Unix())
	}
	where := "(slo, revision) IN (" + strings.Join(keys, ", ") + ")"
	if oneTenant {
		where += " AND tenant = {tenant:String}"
	}
	part := func(table, column string, spans []span) string {
		return fmt.Sprintf(`
        SELECT slo, tenant, roundDown(toUnixTimestamp(%[2]s), [%[3]s]) AS piece, sum(good) AS good, sum(total) AS total
        FROM %[1]s
        WHERE %[4]s
            AND (%[5]s)
        GROUP BY slo, tenant, piece`, table, column, strings.Join(starts, ", "), where, within(column, spans))
	}
	inner := part("sli_1m", "minute", p.minutes)
	if len(p.hours) > 0 {
		inner += "\n        UNION ALL" + part("sli_1h", "hour", p.hours)
	}
	return `SELECT slo, tenant, groupArray(piece) AS pieces, groupArray(good) AS goods, groupArray(total) AS totals
FROM (
    SELECT slo, tenant, piece, sum(good) AS good, sum(total) AS total
    FROM (` + inner + `
    )
    GROUP BY slo, tenant, piece
)
GROUP BY slo, tenant
ORDER BY slo, tenant`
}

func within(column string, spans []span) string {
	const layout = "2006-01-02 15:04:05"
	parts := make([]string, len(spans))
	for i, s := range spans {
		parts[i] = fmt.Sprintf("%[1]s >= toDateTime('%[2]s', 'UTC') AND %[1]s < toDateTime('%[3]s', 'UTC')",
			column, s.from.Format(layout), s.to.Format(layout))
	}
	return strings.Join(parts, "\n              OR ")
}

// counts sums the pieces of one row into the plan's windows.
func (p readPlan) counts(pieces []uint32, goods, totals []uint64) windowCounts {
	out := make(windowCounts, len(p.windows))
	for i, w := range p.windows {
		start := p.starts[len(p.starts)-1-i].Unix()
		var c Counts
		for j, piece := range pieces {
			if int64(piece) >= start {
				c.Good += goods[j]
				c.Total += totals[j]
			}
		}
		out[w] = c
	}
	return out
}
