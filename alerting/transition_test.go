package alerting

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/tenant"
)

// Whatever is observed, an alert says what a plain model says: a tenant burns from when it fired until it was evaluated
// and did not; the alert is resolved when nobody burns; each change that people hear of makes a version.
func TestTransitionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 24, 9, 0, 0, 0, time.UTC)
		var a *Alert
		burning := map[tenant.ID]float64{}
		for range rapid.IntRange(1, 30).Draw(t, "observations") {
			now = now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			var firing []Condition
			fires, dark := map[tenant.ID]bool{}, map[tenant.ID]bool{}
			for i := range 4 {
				id := tenant.ID(fmt.Sprint("t", i))
				if rapid.Bool().Draw(t, "fires") {
					rate := rapid.Float64Range(1, 1000).Draw(t, "rate")
					firing = append(firing, Condition{Rule: "r", Severity: Page, Tenant: id, Burn: Burn{Rate: rate}})
					fires[id] = true
				} else {
					dark[id] = rapid.Bool().Draw(t, "no data")
				}
			}
			o := &Observation{At: now, Firing: firing, Evaluated: func(k Key) bool { return !dark[k.Tenant] }}
			groups, bad := group(o.Firing)
			if len(bad) > 0 {
				t.Fatal(bad)
			}
			g := groups[groupKey{"r", Page}]
			was := len(burning)
			for id := range burning {
				if !fires[id] && !dark[id] {
					delete(burning, id)
				}
			}
			joined := false
			for _, c := range firing {
				_, ok := burning[c.Tenant]
				joined = joined || !ok
				burning[c.Tenant] = c.Burn.Rate
			}
			if a == nil {
				if len(firing) == 0 {
					continue
				}
				a = openAlert(g, now)
			} else {
				version := a.version
				e := a.observe(g, o, time.Hour)
				switch {
				case (e == nothing) != (a.version == version):
					t.Fatalf("event %q made version %d of %d", e, a.version, version)
				case joined && e != changed && e != reopened:
					t.Fatalf("a tenant joined: event %q", e)
				case was > 0 && len(burning) == 0 && e != resolved:
					t.Fatalf("the last tenant left: event %q", e)
				}
			}
			if (a.State == Resolved) != (len(burning) == 0) || (a.ResolvedAt != nil) != (a.State == Resolved) {
				t.Fatalf("%d tenants burn and the alert is %s", len(burning), a.State)
			}
			if len(a.Burning()) != len(burning) {
				t.Fatalf("%d tenants burn in the alert, want %d", len(a.Burning()), len(burning))
			}
			worst := math.Inf(1)
			for _, m := range a.Burning() {
				if burning[m.Tenant] != m.Burn.Rate || m.Burn.Rate > worst || m.PeakRate < m.Burn.Rate || m.ResolvedAt != nil || m.StartedAt.After(now) {
					t.Fatalf("tenant %+v, want rate %v", m, burning[m.Tenant])
				}
				worst = m.Burn.Rate
			}
			if a.urgentVersion > a.version {
				t.Fatal("an urgent version from the future")
			}
		}
	})
}

// Numbers that JSON cannot hold must not keep an alert from being stored.
func TestClean(t *testing.T) {
	b := clean(Burn{Rate: math.Inf(1), Factor: math.NaN(), BudgetRemaining: math.Inf(-1)})
	if b.Rate != 1e9 || b.Factor != 0 || b.BudgetRemaining != -1e9 {
		t.Errorf("%+v", b)
	}
}

func TestWords(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	target := func(targets ...string) string {
		var m []Member
		for _, s := range targets {
			m = append(m, Member{Burn: Burn{Target: s}})
		}
		return allowed(m)
	}
	f(target("99.9\u202f%"), "allowed 0.1\u202f%")
	f(target("99.95 %", "99.95"), "allowed 0.05\u202f%")
	f(target("99.95\u202f%", "99\u202f%", "99.5\u202f%"), "allowed 0.05 to 1\u202f%")
	f(target("100 %"), "allowed 0\u202f%")
	f(target("most"), "")
	f(target("99 %", ""), "")
	f(target(), "")
	f(budget(0.5912), "59\u202f% left")
	f(budget(-0.06), "overspent by 6\u202f%")
	f(budget(-0.065), "overspent by 7\u202f%") // as the console's −7 %
	f(budget(-499), "overspent by more than 999\u202f%")
	f(budget(0), "no budget left")
	f(points(0.2312), "23 points of budget")
	f(points(0.0121), "1 point of budget")
	f(points(0.002), "less than a point of budget")
	f(points(0), "no budget")
	f(limit(&Burn{Factor: 13.44, Long: time.Hour, Short: 5 * time.Minute}), "over 13.44× for 1\u202fh and 5\u202fmin")
	f(limit(&Burn{}), "")
	f(last(time.Hour), "the last hour")
	f(last(6*time.Hour), "the last 6\u202fh")
}

// How quickly somebody took an alert counts from when it last began to ask.
func TestAcknowledgedAfter(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	a := openAlert([]Condition{{Rule: "r", Severity: Page, Tenant: "acme", Burn: Burn{Rate: 20}}}, at)
	f := func(acked time.Duration, want string) {
		t.Helper()
		taken := at.Add(acked)
		a.State, a.AckedBy, a.AckedAt = Acknowledged, "somebody", &taken
		if got := NewView(a, nil, "").AckedAfter; got != want {
			t.Errorf("acknowledged after %q, want %q", got, want)
		}
	}
	f(90*time.Second, "1\u202fmin 30\u202fs")
	reopened := at.Add(time.Hour)
	a.ReopenedAt = &reopened
	f(time.Hour+time.Minute, "1\u202fmin")
}
