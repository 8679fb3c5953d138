package slo

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every minute of every window is read exactly once, and nothing else is.
func TestReadPlanCoversEveryMinuteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, int64(400*day)).Draw(t, "now")))
		end := endOf(now)
		var starts []time.Time
		for _, m := range rapid.SliceOfN(rapid.IntRange(1, 4000), 1, 6).Draw(t, "minutes") {
			starts = append(starts, startOf(end, time.Duration(m)*time.Minute))
		}
		p := newReadPlan(now, starts)
		read := map[time.Time]int{}
		for _, s := range p.minutes {
			for m := s.from; m.Before(s.to); m = m.Add(time.Minute) {
				read[m]++
			}
		}
		for _, s := range p.hours {
			if s.from.Truncate(time.Hour) != s.from || s.to.Truncate(time.Hour) != s.to {
				t.Fatalf("%v are no whole hours", s)
			}
			for _, start := range starts {
				if s.from.Before(start) && start.Before(s.to) && start.Truncate(time.Hour) != start {
					t.Fatalf("%v is read by the hour, but a window begins at %v", s, start)
				}
			}
			for m := s.from; m.Before(s.to); m = m.Add(time.Minute) {
				read[m]++
			}
		}
		first := slices.MinFunc(starts, time.Time.Compare)
		if len(read) != int(end.Sub(first)/time.Minute) {
			t.Fatalf("%d minutes are read, want %d", len(read), int(end.Sub(first)/time.Minute))
		}
		for m := first; m.Before(end); m = m.Add(time.Minute) {
			if read[m] != 1 {
				t.Fatalf("minute %v is read %d times", m, read[m])
			}
		}
	})
}

func TestStartOf(t *testing.T) {
	end := endOf(time.Date(2026, 11, 23, 10, 17, 42, 0, time.UTC))
	f := func(window time.Duration, want string) {
		t.Helper()
		if got := startOf(end, window).Format(time.DateTime); got != want {
			t.Errorf("%s begins at %s, want %s", window, got, want)
		}
	}
	f(time.Minute, "2026-11-23 10:17:00")
	f(6*time.Hour, "2026-11-23 04:18:00")
	f(day, "2026-11-22 10:00:00")
	f(30*day, "2026-10-24 10:00:00")
}

func queries(now time.Time, defs []Definition, tenants string) string {
	p := newReadPlan(now, startsOf(defs, now))
	var parts []string
	for _, t := range p.tiers() {
		parts = append(parts, p.sql(t, defs, tenants))
	}
	return strings.Join(parts, ";\n\n")
}

func TestQuery(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 17, 42, 0, time.UTC)
	defs := []Definition{
		{Name: "checkout", SLIRevision: 2, Window: 30 * day, Policy: Policy{Windows: DefaultWindows(30 * day)}},
		{Name: "search", SLIRevision: 1, Window: 28 * day},
	}
	f := func(golden, got string) {
		t.Helper()
		want, err := os.ReadFile(golden)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			err = os.WriteFile(golden, []byte(got+"\n"), 0o644)
			want = []byte(got + "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		if got+"\n" != string(want) {
			t.Errorf("%s differs (UPDATE_GOLDEN=1 writes it):\n%s", golden, got)
		}
	}
	f("testdata/all_tenants.sql", queries(now, defs, ""))
	f("testdata/one_tenant.sql", queries(now, defs[:1], "tenant IN {tenants:Array(String)}"))
}
