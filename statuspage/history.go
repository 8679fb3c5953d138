package statuspage

import (
	"time"
)

// recentDays is how much history the first page tells.
const recentDays = 14

// historyRow is a day with its incidents, or a run of days without any.
type historyRow struct {
	Label     string
	Incidents []*ViewIncident // the newest first
}

// recent returns the rows of the last days, today first. It is pure.
func recent(v *View, days int, now time.Time) []historyRow {
	today := now.UTC().Truncate(24 * time.Hour)
	byDay := map[time.Time][]*ViewIncident{}
	for i := range v.Incidents {
		d := v.Incidents[i].StartedAt.Truncate(24 * time.Hour)
		byDay[d] = append(byDay[d], &v.Incidents[i])
	}
	return rows(byDay, today, today.AddDate(0, 0, 1-days), now)
}

// rows returns the days from the newest down to the oldest, quiet ones joined.
func rows(byDay map[time.Time][]*ViewIncident, newest, oldest, now time.Time) []historyRow {
	var out []historyRow
	quiet := time.Time{} // the newest day of the run without incidents
	flush := func(until time.Time) {
		if !quiet.IsZero() {
			out = append(out, historyRow{Label: dayRange(until, quiet, now)})
			quiet = time.Time{}
		}
	}
	for d := newest; !d.Before(oldest); d = d.AddDate(0, 0, -1) {
		if is := byDay[d]; len(is) > 0 {
			flush(d.AddDate(0, 0, 1))
			out = append(out, historyRow{Label: dayRange(d, d, now), Incidents: is})
		} else if quiet.IsZero() {
			quiet = d
		}
	}
	flush(oldest)
	return out
}

// month is one month of history.
type month struct {
	Path  string // "2026-11"
	Title string // "November 2026"
	Rows  []historyRow
	Count int
}

// months returns the months from the present one to that of the oldest incident, at most limit. It is pure.
func months(v *View, limit int, now time.Time) []month {
	first := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-now.UTC().Day())
	oldest := first
	byDay := map[time.Time][]*ViewIncident{}
	for i := range v.Incidents {
		at := v.Incidents[i].StartedAt
		d := at.Truncate(24 * time.Hour)
		byDay[d] = append(byDay[d], &v.Incidents[i])
		if at.Before(oldest) {
			oldest = d.AddDate(0, 0, 1-d.Day())
		}
	}
	var ms []month
	for m := first; !m.Before(oldest) && len(ms) < limit; m = m.AddDate(0, -1, 0) {
		last := m.AddDate(0, 1, -1)
		if today := now.UTC().Truncate(24 * time.Hour); last.After(today) {
			last = today
		}
		one := month{Path: m.Format("2006-01"), Title: m.Format("January 2006")}
		for _, r := range rows(byDay, last, m, now) {
			one.Rows = append(one.Rows, r)
			one.Count += len(r.Incidents)
		}
		ms = append(ms, one)
	}
	return ms
}
