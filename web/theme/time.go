package theme

import (
	"strconv"
	"time"
)

// Duration returns a length of time in its two largest units: "38 min", "4 min 50 s", "34 h 42 min", "3 d 2 h". Hours
// run to 48, minutes are whole from 10 on.
func Duration(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return unit(int64(d.Round(time.Millisecond)/time.Millisecond), "ms")
	case d < time.Minute:
		return unit(int64(d/time.Second), "s")
	case d < 10*time.Minute:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < time.Hour:
		return unit(int64(d/time.Minute), "min")
	case d < 2*day:
		return two(d, time.Hour, "h", time.Minute, "min")
	case d < 10*day:
		return two(d, day, "d", time.Hour, "h")
	}
	return unit(int64(d/day), "d")
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	s := unit(int64(d/big), bigName)
	if rest := int64(d % big / small); rest > 0 {
		s += " " + unit(rest, smallName)
	}
	return s
}

func unit(n int64, name string) string { return strconv.FormatInt(n, 10) + NarrowSpace + name }

// Ago returns how long before now t was, "6 s ago"; "just now" within a second, and "in 5 min" for what is to come.
func Ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d <= -time.Second:
		return "in " + Duration(d)
	case d < time.Second:
		return "just now"
	default:
		return Duration(d) + " ago"
	}
}

// Clock returns the time of day in UTC, "09:14". The page names the zone.
func Clock(t time.Time) string { return t.UTC().Format("15:04") }

// Day returns the date in UTC, "12 Nov 2026".
func Day(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

// Stamp returns the time in UTC as short as now allows: "09:14" on the same day, "12 Nov, 09:14" in the same year,
// "12 Nov 2025, 09:14" before.
func Stamp(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	switch {
	case t.Year() != now.Year():
		return t.Format("2 Jan 2006, 15:04")
	case t.YearDay() != now.YearDay():
		return t.Format("2 Jan, 15:04")
	}
	return t.Format("15:04")
}

// ISO returns the time in UTC as RFC 3339 to the second, for datetime attributes.
func ISO(t time.Time) string { return t.UTC().Format(time.RFC3339) }
