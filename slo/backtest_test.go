package slo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// A backtest finds the alerts that evaluating at the end of every minute would have raised, from the rollup as from the
// requests: with outages, trickles, silences, a tenant that leaves, and late beginnings.
func TestBacktestFindsWhatEvaluatingWouldHave(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	e := newEnv(t)
	policy := Policy{Confidence: 0.99, Windows: []BurnWindow{
		{Long: 30 * time.Minute, Short: 3 * time.Minute, Factor: 14, Severity: Page},
		{Long: time.Hour, Short: 10 * time.Minute, Factor: 5, Severity: Page},
		{Long: 2 * time.Hour, Short: 20 * time.Minute, Factor: 2, Severity: Ticket},
	}}
	d := Definition{
		Name: "pay", Title: "Pay", Kind: Latency, Threshold: time.Second, Target: 990_000, Window: 7 * day, Policy: policy,
		TargetsByTenant: map[tenant.ID]PPM{"strict": 999_000}, Selector: Selector{Product: "shop", Routes: []string{"/pay", "/pay/*"}, Methods: []string{"POST"}},
	}
	if _, err := e.store.Apply(t.Context(), "tester", []Definition{d}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := e.pg.Owner.Exec(t.Context(), `UPDATE control.slo_revisions SET at = now() - interval '90 days'`); err != nil {
		t.Fatal(err)
	}
	const minutes = 6 * 60
	from := time.Now().UTC().Truncate(time.Hour).Add(-day)
	var requests []request
	for _, id := range []tenant.ID{"steady", "strict", "quiet", "", "o'neill\\\t", "leaves"} {
		perMinute, failing := 1+r.IntN(8), 0.0
		for m := range minutes {
			if r.IntN(40) == 0 {
				perMinute = r.IntN(8) // none at times
			}
			if r.IntN(30) == 0 {
				failing = []float64{0, 0, 0.002, 0.05, 0.3, 1}[r.IntN(6)]
			}
			if id == "leaves" && m > minutes/3 || id == "quiet" && m%7 > 0 || id == "strict" && m < minutes/4 {
				continue
			}
			for range perMinute {
				q := request{
					TS: from.Add(time.Duration(m)*time.Minute + time.Duration(r.Int64N(int64(time.Minute)))), Product: "shop", Tenant: string(id),
					Service: "s", Route: []string{"/pay", "/pay/x", "/other"}[r.IntN(3)], Method: "POST", Status: 200, DurationNs: uint64(time.Second),
				}
				if r.Float64() < failing {
					q.DurationNs++
				}
				requests = append(requests, q)
			}
		}
	}
	e.insert(t, requests...)

	// The oracle: what the engine sees at the end of each minute, and what alerting makes of it.
	type key struct {
		id       tenant.ID
		severity alerting.Severity
	}
	want, open := []string{}, map[key]time.Time{}
	line := func(id tenant.ID, s Severity, from time.Time, to *time.Time) string {
		end := "open"
		if to != nil {
			end = to.Format("15:04")
		}
		return fmt.Sprintf("%s %q %s to %s", s, id, from.Format("15:04"), end)
	}
	for m := range minutes {
		end := from.Add(time.Duration(m+1) * time.Minute)
		s, err := e.reader.Evaluate(t.Context(), end.Add(-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		o := observe(s)
		firing := map[key]bool{}
		for _, c := range o.Firing {
			k := key{c.Tenant, c.Severity}
			firing[k] = true
			if _, ok := open[k]; !ok {
				open[k] = end
			}
		}
		for k, since := range open {
			if !firing[k] && o.Evaluated(alerting.Key{Rule: "pay", Tenant: k.id, Severity: k.severity}) {
				want = append(want, line(k.id, Severity(k.severity), since, &end))
				delete(open, k)
			}
		}
	}
	for k, since := range open {
		want = append(want, line(k.id, Severity(k.severity), since, nil))
	}
	slices.Sort(want)

	f := func(source string, d Definition) {
		t.Helper()
		b, err := e.reader.Backtest(t.Context(), d, nil, from, from.Add(minutes*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, ep := range b.Episodes {
			got = append(got, line(ep.Tenant, ep.Severity, ep.OpenedAt, ep.ResolvedAt))
		}
		slices.Sort(got)
		if b.Source != source || b.Tenants != 6 || !slices.Equal(got, want) {
			t.Errorf("%s, %d tenants: got\n\t%s\nwant from %s\n\t%s", b.Source, b.Tenants, strings.Join(got, "\n\t"), source, strings.Join(want, "\n\t"))
		}
		one := tenant.ID("o'neill\\\t")
		b, err = e.reader.Backtest(t.Context(), d, &one, from, from.Add(minutes*time.Minute))
		if err != nil || b.Tenants != 1 {
			t.Errorf("one tenant: %+v, %v", b, err)
		}
	}
	if len(want) == 0 {
		t.Error("no alerts: the test shows nothing")
	}
	f("rollup", d)
	other := d
	other.Selector.ExcludeStatuses, other.Selector.ExcludeRoutes = []uint16{418, 500}, []string{"/pay/y*"}
	f("requests", other)
}

func TestBacktestOfBadInput(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	d := Definition{Name: "pay", Kind: Availability, Target: 990_000, Window: 7 * day, Selector: Selector{Product: "shop"}, Policy: Policy{Windows: DefaultWindows(7 * day)}}
	now := time.Now()
	f := func(name string, from, to time.Time, change func(*Definition)) {
		t.Helper()
		d := d
		change(&d)
		if _, err := e.reader.Backtest(t.Context(), d, nil, from, to); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("nothing between", now, now, func(*Definition) {})
	f("too long", now.Add(-32*day), now, func(*Definition) {})
	f("no product", now.Add(-day), now, func(d *Definition) { d.Selector.Product = "" })
	b, err := e.reader.Backtest(t.Context(), d, nil, now.Add(-31*day), now)
	if err != nil || len(b.Episodes) != 0 || !b.Since.IsZero() {
		t.Errorf("without requests: %+v, %v", b, err)
	}
}
