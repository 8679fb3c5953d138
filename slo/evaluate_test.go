package slo

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

func TestPPM(t *testing.T) {
	f := func(p PPM, want string) {
		t.Helper()
		b, err := json.Marshal(map[string]PPM{"p": p})
		if err != nil || string(b) != `{"p":"`+want+`"}` {
			t.Errorf("%d is written %s, %v", p, b, err)
		}
		var back map[string]PPM
		if err := json.Unmarshal(b, &back); err != nil || back["p"] != p {
			t.Errorf("%s is read %d, %v", b, back["p"], err)
		}
		if got := p.String(); got != want+"\u202f%" {
			t.Errorf("%d prints %q", p, got)
		}
	}
	f(999_000, "99.9")
	f(999_999, "99.9999")
	f(990_000, "99")
	f(1, "0.0001")
	f(One, "100")
	for _, bad := range []string{"", "x", "101", "-1", "99.99999", "1/3"} {
		var p PPM
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is read as %d", bad, p)
		}
	}
}

func TestLowestTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		factor := rapid.Float64Range(1.001, 100_000).Draw(t, "factor")
		var p PPM
		s := lowestTarget(factor)
		if err := p.UnmarshalText([]byte(s[:len(s)-len("\u202f%")])); err != nil {
			t.Fatal(err)
		}
		if !(BurnWindow{Factor: factor}).canFire(p) {
			t.Fatalf("%v can still not fire at %s", factor, s)
		}
	})
}

// countsBy returns counts for an SLO's windows, asked for from the shortest up: the i-th began at start.
func countsBy(d *Definition, now time.Time, f func(i int, start time.Time) Counts) windowCounts {
	w := windowCounts{starts: newReadPlan(now, startsOf([]Definition{*d}, now)).starts}
	w.counts = make([]Counts, len(w.starts))
	for i := range w.starts {
		last := len(w.starts) - 1 - i
		w.counts[last] = f(i, w.starts[last])
	}
	return w
}

// drawCounts returns counts for an SLO's windows in which a longer window holds what a shorter one does.
func drawCounts(t *rapid.T, d *Definition, now time.Time) windowCounts {
	var sum Counts
	return countsBy(d, now, func(int, time.Time) Counts {
		total := rapid.Uint64Range(0, 100_000).Draw(t, "total")
		bad := min(total, rapid.Uint64Range(0, 1000).Draw(t, "bad"))
		sum.Total, sum.Good = sum.Total+total, sum.Good+total-bad
		return sum
	})
}

func TestEvaluateProperties(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		d := &Definition{
			Name: "pay", Window: 30 * day, Target: PPM(rapid.IntRange(940_000, 999_999).Draw(t, "target")),
			Policy: Policy{Windows: DefaultWindows(30 * day), Confidence: 0.99},
		}
		counts := drawCounts(t, d, now)
		s := evaluate(d, "acme", d.Target, counts, d.windowsAt(now), now)
		// More failures, of the same requests: the budget shrinks, rates rise, and what fires goes on firing.
		worse := windowCounts{starts: counts.starts, counts: slices.Clone(counts.counts)}
		n := rapid.Uint64Range(1, 1000).Draw(t, "more")
		for i := range worse.counts {
			worse.counts[i].Good -= min(worse.counts[i].Good, n)
		}
		s2 := evaluate(d, "acme", d.Target, worse, d.windowsAt(now), now)
		if s2.ErrorBudgetRemaining > s.ErrorBudgetRemaining {
			t.Fatalf("budget rose from %v to %v with %d more failures", s.ErrorBudgetRemaining, s2.ErrorBudgetRemaining, n)
		}
		for i := range s.BurnRates {
			a, b := s.BurnRates[i], s2.BurnRates[i]
			if a.Firing && !b.Firing {
				t.Fatalf("more failures end an alert: %+v, then %+v", a, b)
			}
			if a.Firing && (a.LowerRate() <= a.Factor || a.ShortRate < a.Factor || a.LongCounts.Bad() < minFailures(a.Severity)) {
				t.Fatalf("fires without reason: %+v", a)
			}
			if a.LowerRate() > a.LongRate+1e-9 || a.LongCounts.Total > 0 && a.UpperRate() < a.LongRate-1e-9 {
				t.Fatalf("bounds do not hold the rate: %+v", a)
			}
		}
		if at := s.ExhaustsAt; at != nil && (!at.After(now.Add(-time.Second)) || at.After(now.Add(d.Window))) {
			t.Fatalf("exhausts at %s", at)
		}
		if early, late := s.ExhaustsBetween(); s.ExhaustsAt != nil && (early == nil || early.After(*s.ExhaustsAt) || late != nil && late.Before(*s.ExhaustsAt)) {
			t.Fatalf("exhausts at %s, between %v and %v", s.ExhaustsAt, early, late)
		}
		if (s.State == StatePage) != (s.firing(Page) != nil) {
			t.Fatalf("state %s, firing %+v", s.State, s.firing(Page))
		}
		if s.Total == 0 && s.State != StateNoData {
			t.Fatalf("state %s without requests", s.State)
		}
	})
}

// What is firing and what was evaluated are told apart for each severity.
func TestObserve(t *testing.T) {
	const slo, acme = "pay", tenant.ID("acme")
	d := Definition{Name: slo, Target: 999_000, Window: 30 * day, Policy: Policy{Windows: DefaultWindows(30 * day), Confidence: 0.99}}
	// f gives the counts by window, from 5m to 30d, as bad of total.
	f := func(name string, firing []alerting.Severity, page, ticket bool, badOfTotal ...Counts) {
		t.Helper()
		now := time.Now()
		counts := countsBy(&d, now, func(i int, _ time.Time) Counts { return badOfTotal[min(i, len(badOfTotal)-1)] })
		s := newSnapshot([]Definition{d}, []map[tenant.ID]windowCounts{{acme: counts}}, targets{}, now)
		o := observe(s)
		var got []alerting.Severity
		for _, c := range o.Firing {
			got = append(got, c.Severity)
		}
		if len(got) != len(firing) || len(got) > 0 && got[0] != firing[0] {
			t.Errorf("%s: firing %v, want %v", name, got, firing)
		}
		if e := o.Evaluated(alerting.Key{Rule: slo, Tenant: acme, Severity: alerting.Page}); e != page {
			t.Errorf("%s: page evaluated %v, want %v", name, e, page)
		}
		if e := o.Evaluated(alerting.Key{Rule: slo, Tenant: acme, Severity: alerting.Ticket}); e != ticket {
			t.Errorf("%s: ticket evaluated %v, want %v", name, e, ticket)
		}
		if !o.Evaluated(alerting.Key{Rule: "deleted", Tenant: acme, Severity: alerting.Page}) {
			t.Errorf("%s: a deleted SLO goes on", name)
		}
	}
	c := func(bad, total uint64) Counts { return Counts{Good: total - bad, Total: total} }
	f("fine", nil, true, true, c(0, 100))
	f("outage", []alerting.Severity{alerting.Page}, true, false, c(100, 100), c(500, 1000), c(500, 2000))
	f("slow burn", []alerting.Severity{alerting.Ticket}, true, true, c(4, 1000), c(40, 10_000), c(400, 100_000))
	f("silence for five minutes", []alerting.Severity{alerting.Page}, false, false, c(0, 0), c(500, 1000))
	f("silence for five minutes after slow burn", nil, false, false, c(0, 0), c(4, 1000), c(40, 10_000), c(400, 100_000))
	f("silence for six hours", nil, false, false, c(0, 0), c(0, 0), c(0, 0), c(0, 0), c(0, 0), c(5000, 10_000))
}

// A tenant that sends no more while others do has left; nothing is known when all are silent or counting began lately.
func TestHasLeft(t *testing.T) {
	d := Definition{Name: "pay", Target: 999_000, Window: 30 * day, Policy: Policy{Windows: DefaultWindows(30 * day), Confidence: 0.99}}
	now := time.Now()
	at := func(last time.Duration) windowCounts { // a hundred requests of which the last came so long ago
		return countsBy(&d, now, func(_ int, start time.Time) Counts {
			if start.Before(startOf(endOf(now), last)) {
				return Counts{Good: 50, Total: 100}
			}
			return Counts{}
		})
	}
	f := func(name string, silent, others, applied time.Duration, page, ticket bool) {
		t.Helper()
		def := d
		def.AppliedAt = now.Add(-applied)
		counts := map[tenant.ID]windowCounts{"other": at(others)}
		if silent < d.Window {
			counts["acme"] = at(silent)
		}
		o := observe(newSnapshot([]Definition{def}, []map[tenant.ID]windowCounts{counts}, targets{}, now))
		for severity, want := range map[alerting.Severity]bool{alerting.Page: page, alerting.Ticket: ticket} {
			if got := o.Evaluated(alerting.Key{Rule: "pay", Tenant: "acme", Severity: severity}); got != want {
				t.Errorf("%s: %s evaluated %v, want %v", name, severity, got, want)
			}
		}
	}
	f("silent for three hours", 3*time.Hour, 0, 90*day, false, false)
	f("silent for six hours", 6*time.Hour, 0, 90*day, true, false)
	f("silent for three days", 3*day, 0, 90*day, true, true)
	f("silent for longer than the window", 30*day, 0, 90*day, true, true)
	f("all are silent", 3*day, 3*day, 90*day, false, false)
	f("applied yesterday", 30*day, 0, day, true, false)
	f("applied an hour ago", 30*day, 0, time.Hour, false, false)
}
