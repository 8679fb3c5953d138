package dashboards

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

var day = time.Date(2026, 11, 24, 9, 52, 0, 0, time.UTC)

func TestRangesFitTheirSteps(t *testing.T) {
	for _, p := range presets() {
		w, _, err := parseRange(p.Name, day.Add(17*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Span / p.Step; n > maxPoints || n < 24 {
			t.Errorf("%s has %d points", p.Name, n)
		}
		if !w.To.Equal(day.Add(time.Minute)) || w.To.Sub(w.From) != p.Span {
			t.Errorf("%s runs from %s to %s", p.Name, w.From, w.To)
		}
		a := w.aligned()
		if a.From.After(w.From) || a.To.Before(w.To) || a.To.Sub(a.From)%w.Step != 0 {
			t.Errorf("%s aligned runs from %s to %s", p.Name, a.From, a.To)
		}
	}
	if _, _, err := parseRange("2w", day); err == nil {
		t.Error("an unknown range gave no error")
	}
}

func TestParseStep(t *testing.T) {
	f := func(s string, span, want time.Duration, wantErr string) {
		t.Helper()
		got, err := parseStep(s, window{From: day.Add(-span), To: day})
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("parseStep(%q, %s): %v, want %q", s, span, err, wantErr)
			}
			return
		}
		if err != nil || got != want {
			t.Errorf("parseStep(%q, %s) = %s, %v; want %s", s, span, got, err, want)
		}
	}
	f("", time.Hour, time.Minute, "")
	f("", 24*time.Hour, 5*time.Minute, "")
	f("", 7*24*time.Hour, time.Hour, "")
	f("", 400*24*time.Hour, 24*time.Hour, "")
	f("5m", time.Hour, 5*time.Minute, "")
	f("1h30m", 48*time.Hour, 90*time.Minute, "")
	f("5", time.Hour, 0, `step: must be a duration such as 1m, 5m or 1h (got "5")`)
	f("30s", time.Hour, 0, `step: must be at least 1m (got "30s")`)
	f("-1m", time.Hour, 0, "at least 1m")
	f("90s", time.Hour, 0, "whole minutes")
	f("1m", 48*time.Hour, 0, `step: gives 2880 points, more than 2,000: use 2m or more (got "1m")`)
}

// A page and the next hold every row once, whatever the numbers.
func TestPaginate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := make([]int, rapid.IntRange(0, 500).Draw(t, "rows"))
		for i := range rows {
			rows[i] = i
		}
		size := rapid.IntRange(1, 60).Draw(t, "size")
		var got []int
		_, _, pages := paginate(rows, 1, size)
		for p := 1; p <= pages; p++ {
			part, at, _ := paginate(rows, p, size)
			if at != p {
				t.Fatalf("page %d is %d", p, at)
			}
			got = append(got, part...)
		}
		if !slices.Equal(got, rows) {
			t.Fatalf("%d rows in %d pages came back as %d", len(rows), pages, len(got))
		}
	})
}

func status(name string, id tenant.ID, state slo.State, left, rate float64) slo.Status {
	return slo.Status{SLO: name, Title: strings.ToUpper(name[:1]) + name[1:], Tenant: id, State: state, ErrorBudgetRemaining: left, Target: 999_000,
		Counts: slo.Counts{Good: 990, Total: 1000},
		BurnRates: []slo.BurnRate{{BurnWindow: slo.BurnWindow{Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Severity: slo.Page}, LongRate: rate,
			LongCounts: slo.Counts{Good: 90, Total: 100}, Firing: burning(state)}}}
}

func TestRowsAreWorstFirst(t *testing.T) {
	snap := &slo.Snapshot{SLOs: []slo.Definition{{Name: "a"}, {Name: "b", Kind: slo.Latency, Threshold: time.Second}}, Statuses: []slo.Status{
		status("a", "fine", slo.StateOK, 0.9, 0.1), status("a", "few", slo.StateWatching, 0.7, 900), status("a", "page", slo.StatePage, 0.6, 20),
		status("a", "worse", slo.StatePage, 0.8, 106), status("a", "over", slo.StateExhausted, -0.2, 0), status("a", "idle", slo.StateNoData, 1, 0),
		status("b", "fine", slo.StateOK, 0.2, 0.1), status("b", "ticket", slo.StateTicket, 0.5, 3.4),
	}}
	rows := mergeRows([]tenantTotals{{Tenant: "fine", Requests: 10}, {Tenant: "new", Requests: 5}}, snap, []tenant.Tenant{{ID: "page", Name: "Page & Co", Plan: tenant.Enterprise}}, "")
	if err := sortRows(rows, "", ""); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.Name)
	}
	if want := []string{"worse", "Page & Co", "ticket", "over", "few", "fine", "new", "idle"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	fine := rows[5]
	if fine.SLO.SLO != "b" || fine.Budget != 0.2 || fine.LimitMS != 1000 || !fine.in(showLow) || fine.in(showOverspent) {
		t.Errorf("fine: %+v", fine)
	}
	h := budgetsOf(rows)
	if h.Overspent != 1 || h.Low != 1 || h.Tenants != 6 {
		t.Errorf("histogram %+v", h)
	}
	total := h.Overspent
	for _, n := range h.Bins {
		total += n
	}
	if total != h.Tenants || len(h.Bars()) != budgetBins+1 {
		t.Errorf("the bars hold %d of %d tenants", total, h.Tenants)
	}
}

func TestVerdictTakesTheWordsOfTheAlert(t *testing.T) {
	snap := &slo.Snapshot{SLOs: []slo.Definition{{Name: "pay", Title: "Pay"}}, Statuses: []slo.Status{
		status("pay", "one", slo.StatePage, 0.5, 106), status("pay", "two", slo.StatePage, 0.5, 40), status("pay", "three", slo.StateOK, 1, 0)}}
	name := func(id tenant.ID) string { return "T-" + string(id) }
	burns := burnsOf(snap, nil, name, day)
	if len(burns) != 1 || burns[0].Heading != "Pay burns for 2 tenants" || burns[0].Evidence != "10\u202f% fail: 20 of 200 in the last 1\u202fh." ||
		burns[0].WorstName != "T-one" || burns[0].Rate != "106×" {
		t.Fatalf("got %+v", burns)
	}
	view := openAlert{View: &alerting.View{Alert: "a-1", Rule: "pay", Severity: alerting.Page, Title: "Pay burns for 2 tenants", Share: "20 of 200 failed", Allowed: "allowed 0.1 %",
		Count: 2, Since: day.Add(-38 * time.Minute), Tenants: []alerting.TenantView{{ID: "one", Name: "One", Burn: "106×", Gone: "gone about 12:53"}}}}
	burns = burnsOf(snap, []openAlert{view}, name, day)
	if len(burns) != 1 || burns[0].Evidence != "20 of 200 failed, allowed 0.1 %." || burns[0].WorstName != "One" || burns[0].Gone != "gone about 12:53" {
		t.Fatalf("got %+v", burns)
	}
	rows := mergeRows(nil, snap, nil, "")
	v := verdictOf(snap, burns, rows, budgetsOf(rows), day)
	if v.Bold != "Pay burns for 2 tenants since 09:14 UTC." || v.Context != "For the other tenant with traffic nothing burns." || v.Glyph != "page" {
		t.Errorf("got %+v", v)
	}
	// An alert that nothing burns for any more is still told.
	if burns := burnsOf(&slo.Snapshot{}, []openAlert{view}, name, day); len(burns) != 1 || burns[0].Worst != "one" {
		t.Errorf("got %+v", burns)
	}
	// One that burns already but is in no alert yet counts too.
	view.Count = 1
	if burns := burnsOf(snap, []openAlert{view}, name, day); burns[0].Heading != "Pay burns for 2 tenants" || burns[0].Alert == nil {
		t.Errorf("got %+v", burns)
	}
	if v := verdictOf(nil, nil, nil, budgetHistogram{}, day); !strings.Contains(v.Bold, "not known") {
		t.Errorf("without SLOs: %+v", v)
	}
}

// What the minutes hold no more is read from the hours, also over a short span.
func TestOldSpansAreReadByTheHour(t *testing.T) {
	f := func(ago time.Duration, step, wantTable, wantErr string) {
		t.Helper()
		in := SpanInput{From: day.Add(-ago), To: day.Add(-ago + 2*time.Hour)}
		w, err := in.span(day)
		if err != nil {
			t.Fatal(err)
		}
		w.Step, err = parseStep(step, w)
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%s ago, step %q: %v, want %q", ago, step, err, wantErr)
			}
			return
		}
		if err != nil || w.fleetTier().Table != wantTable || w.seriesTier().Table != wantTable {
			t.Errorf("%s ago, step %q: %s, %s, %v; want %s", ago, step, w.fleetTier().Table, w.seriesTier().Table, err, wantTable)
		}
	}
	f(34*24*time.Hour, "", "latency_1m", "")
	f(35*24*time.Hour, "", "latency_1h", "")
	f(300*24*time.Hour, "2h", "latency_1h", "")
	f(300*24*time.Hour, "5m", "", "must be whole hours")
}

// Silence does not fill a budget, and an alert begins for each tenant in its own time.
func TestVerdictOfTenant(t *testing.T) {
	f := func(s slo.Status, alerts []tenantAlert, bold string, context ...string) {
		t.Helper()
		d := &tenantData{layout: &layout{Now: day}, ID: s.Tenant, Statuses: []sloRow{{Status: &s}}}
		if s.Total > 0 {
			d.Tightest = &s
		}
		v := verdictOfTenant(d, &slo.Snapshot{}, alerts)
		if got := strings.ReplaceAll(v.Bold+"|"+strings.Join(v.Context, "|"), "\u202f", " "); got != strings.Join(append([]string{bold}, context...), "|") {
			t.Errorf("got %q", got)
		}
	}
	idle := status("pay", "acme", slo.StateNoData, 0.4, 0)
	f(idle, nil, "No traffic lately that an SLO counts.", "Tightest: Pay, 40 % of the budget left.")
	idle.Counts = slo.Counts{}
	f(idle, nil, "No traffic that an SLO counts. The budgets are full.", "")
	view := &alerting.View{Rule: "pay", Severity: alerting.Page, Since: day.Add(-time.Hour)}
	f(status("pay", "acme", slo.StatePage, 0.4, 100), []tenantAlert{{view, day.Add(-5 * time.Minute)}},
		"Pay: 10 % fail: 10 of 100 in the last 1 h, since "+theme.Clock(day.Add(-5*time.Minute))+".",
		"That is 100× what the budget allows; 40 % is left.", "No other tenant burns this SLO.")
}

func TestChartsHoldNoNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "points")
		spec := chartSpec{Height: 100, Log: rapid.Bool().Draw(t, "log"), Limit: math.NaN(), Format: axisMillis, Unit: "ms", Fill: true, Floor: 1}
		if rapid.Bool().Draw(t, "limited") {
			spec.Limit = rapid.Float64Range(1, 1e5).Draw(t, "limit")
		}
		values := make([]float64, n)
		for i := range values {
			spec.Times = append(spec.Times, day.Add(time.Duration(i)*time.Minute))
			values[i] = math.NaN()
			if rapid.Bool().Draw(t, "has") {
				values[i] = rapid.Float64Range(0, 1e6).Draw(t, "value")
			}
		}
		spec.Series = []chartSeries{{"P95", "p95", values}}
		c := drawChart(spec)
		if c.Empty {
			return
		}
		for _, s := range []string{c.Lines[0].D, c.RoomD} {
			if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
				t.Fatalf("the path holds no numbers: %s", s)
			}
		}
		if !json.Valid([]byte(c.Data)) {
			t.Fatalf("not JSON: %s", c.Data)
		}
		if len(c.XTicks) > 7 || len(c.YTicks) > 8 {
			t.Fatalf("%d and %d labels", len(c.XTicks), len(c.YTicks))
		}
	})
}

func TestChartShowsLoneValuesAndItsTopLabel(t *testing.T) {
	spec := chartSpec{Height: 100, Limit: math.NaN(), Format: theme.Pct, Floor: 1}
	for i := range 5 {
		spec.Times = append(spec.Times, day.Add(time.Duration(i)*time.Minute))
	}
	spec.Series = []chartSeries{{"Errors", "err", []float64{math.NaN(), 3.6, math.NaN(), 1, 2}}}
	c := drawChart(spec)
	if got, want := c.Lines[0].Dots, "M250 10.7h.01"; got != want {
		t.Errorf("dots %q, want %q", got, want)
	}
	for _, y := range c.YTicks {
		if top := y.At + float64(y.Shift); top < 11 || y.At > labelHeight && y.Shift > 0 {
			t.Errorf("the label %q stands at %g", y.Label, top)
		}
	}
}

func TestSparkColoursOnlyWhatIsOverTheLimit(t *testing.T) {
	s := drawSpark([]float64{100, math.NaN(), 200, 900}, 800, "the last hour")
	if s.LimitY <= 0 || s.Line != "M0 19.8h2M69.3 17.6L104 2" || !strings.Contains(s.Title, "now 900\u202fms, over the limit of 800\u202fms") {
		t.Errorf("got %+v", s)
	}
	if s := drawSpark([]float64{10, 20}, 800, "the last hour"); s.LimitY != -1 {
		t.Errorf("a line far below its limit: %+v", s)
	}
	if s := drawSpark([]float64{math.NaN()}, 800, "the last hour"); s.Line != "" {
		t.Errorf("no values: %+v", s)
	}
}

func TestMeterAndInterval(t *testing.T) {
	f := func(left float64, width, class, text string) {
		t.Helper()
		m := budgetBar(left)
		if m.Width != width || m.Class != class || strings.ReplaceAll(m.Text, "\u202f", " ") != text {
			t.Errorf("budgetBar(%g) = %+v", left, m)
		}
	}
	f(0.59, "59%", "", "59 %")
	f(1, "100%", "", "100 %")
	f(0.17, "17%", "low", "17 %")
	f(-0.06, "6%", "over", "−6 %")
	f(-3.1, "100%", "over", "−310 %")
	i := drawInterval(10, 100, 1e9, 10)
	if i.Factor != "50%" || i.Point != "75%" || i.Low != "50%" || i.High != "100%" || i.AlertWidth != "50%" {
		t.Errorf("got %+v", i)
	}
}
