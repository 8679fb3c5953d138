package slo

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every minute of every window is read exactly once, and nothing else is.
func TestReadPlanCoversEveryMinuteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, int64(400*day)).Draw(t, "now")))
		var windows []time.Duration
		for _, m := range rapid.SliceOfN(rapid.IntRange(1, 4000), 1, 6).Draw(t, "minutes") {
			windows = append(windows, time.Duration(m)*time.Minute)
		}
		p := newReadPlan(now, windows)
		end := now.Truncate(time.Minute).Add(time.Minute)
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
			for m := s.from; m.Before(s.to); m = m.Add(time.Minute) {
				read[m]++
			}
		}
		longest := p.windows[len(p.windows)-1]
		if len(read) != int(longest/time.Minute) {
			t.Fatalf("%d minutes are read, want %d", len(read), int(longest/time.Minute))
		}
		for m := end.Add(-longest); m.Before(end); m = m.Add(time.Minute) {
			if read[m] != 1 {
				t.Fatalf("minute %v is read %d times", m, read[m])
			}
		}
		// One request a minute: each window has as many as it has minutes.
		var pieces []uint32
		var goods, totals []uint64
		for i, s := range p.starts {
			to := end
			if i+1 < len(p.starts) {
				to = p.starts[i+1]
			}
			pieces = append(pieces, uint32(s.Unix()))
			totals = append(totals, uint64(to.Sub(s)/time.Minute))
			goods = append(goods, 0)
		}
		for w, c := range p.counts(pieces, goods, totals) {
			if c.Total != uint64(w/time.Minute) {
				t.Fatalf("window %s has %d requests, want %d", w, c.Total, w/time.Minute)
			}
		}
	})
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
	f("testdata/all_tenants.sql", newReadPlan(now, windowsOf(defs)).sql(defs, false))
	f("testdata/one_tenant.sql", newReadPlan(now, windowsOf(defs[:1])).sql(defs[:1], true))
	f("testdata/minutes_only.sql", newReadPlan(now, []time.Duration{5 * time.Minute, 10 * time.Minute}).sql(defs[1:], false))
}
