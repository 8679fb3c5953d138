package slo

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCalendarPeriod(t *testing.T) {
	f := func(duration int, unit, start, zone, at, from, to string) {
		t.Helper()
		c := Calendar{Count: duration, Unit: unit, Start: start, TimeZone: zone}
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		a, b := c.period(moment)
		if got := a.Format(time.RFC3339); got != from {
			t.Errorf("%+v at %s begins at %s, want %s", c, at, got, from)
		}
		if got := b.Format(time.RFC3339); got != to {
			t.Errorf("%+v at %s ends at %s, want %s", c, at, got, to)
		}
	}
	// Summer time comes and goes within a month: 743 and 745 hours.
	f(1, "M", "2020-01-01 00:00:00", "Europe/Berlin", "2026-03-15T12:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")
	f(1, "M", "2020-01-01 00:00:00", "Europe/Berlin", "2026-10-31T22:59:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")
	f(1, "M", "2020-01-01 00:00:00", "Europe/Berlin", "2026-10-31T23:00:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z")
	// February, in a leap year and not.
	f(1, "M", "2020-01-01 00:00:00", "UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z")
	f(1, "M", "2020-01-01 00:00:00", "UTC", "2027-02-28T23:59:59Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z")
	// Before the start, other days of the month, quarters, pairs of weeks.
	f(1, "M", "2030-05-15 06:30:00", "UTC", "2026-11-15T06:29:00Z", "2026-10-15T06:30:00Z", "2026-11-15T06:30:00Z")
	f(1, "Q", "2026-02-01 00:00:00", "UTC", "2026-11-24T00:00:00Z", "2026-11-01T00:00:00Z", "2027-02-01T00:00:00Z")
	f(2, "w", "2026-11-02 00:00:00", "UTC", "2026-11-24T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-30T00:00:00Z")
	// A quarter to the hour in UTC, and a midnight that the clock skipped (Brazil, 2018).
	f(1, "w", "2026-11-22 00:00:00", "Asia/Kathmandu", "2026-11-28T18:14:00Z", "2026-11-21T18:15:00Z", "2026-11-28T18:15:00Z")
	f(1, "M", "2018-10-04 00:00:00", "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04T02:00:00Z", "2018-12-04T02:00:00Z")
}

// Periods follow each other without a gap, hold the moment asked for, and begin at the same time of the local day.
func TestCalendarPeriodsAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]string{"w", "M", "Q"}).Draw(t, "unit")
		zone := rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Auckland"}).Draw(t, "zone")
		c := Calendar{Count: rapid.IntRange(1, calendarUnits[unit].most).Draw(t, "count"), Unit: unit, TimeZone: zone}
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Date(rapid.IntRange(1990, 2060).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month")),
			rapid.IntRange(1, 28).Draw(t, "day"), 12, 0, 0, 0, location) // at noon, which no zone here skips
		c.Start = start.Format(calendarLayout)
		at := time.Unix(rapid.Int64Range(1_600_000_000, 2_500_000_000).Draw(t, "at"), 0)
		from, to := c.period(at)
		if at.Before(from) || !at.Before(to) {
			t.Fatalf("%s is not in %s to %s", at, from, to)
		}
		if f, u := c.period(to); !f.Equal(to) || !u.After(to) {
			t.Fatalf("after %s to %s comes %s to %s", from, to, f, u)
		}
		if f, u := c.period(from.Add(-time.Minute)); !u.Equal(from) || !f.Before(from) {
			t.Fatalf("before %s to %s comes %s to %s", from, to, f, u)
		}
		if local := from.In(location); local.Hour() != 12 || local.Minute() != 0 || unit != "w" && local.Day() != start.Day() ||
			unit == "w" && local.Weekday() != start.Weekday() {
			t.Fatalf("begins at %s, the start is %s", local, start)
		}
	})
}
