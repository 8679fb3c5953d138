package dashboards

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

const (
	maxRoutes = 30 // rows of the table on the page; the CSV has more
	maxFailed = 20
)

// tenantData is the page of one tenant.
type tenantData struct {
	*layout
	ID       tenant.ID
	Name     string
	Plan     tenant.Plan
	Products []string
	Verdict  tenantVerdict
	Quota    *quotaNote // nil while the tenant keeps to its quota
	Terms    *tenantTerms
	Usage    usageDays
	Audit    string // address of its audit log, for those who may read it

	Totals   routeTotals
	Tightest *slo.Status
	Statuses []sloRow
	Worst    *sloRow // whose windows are shown in full

	Latency, Errors, Requests chart
	Routes                    []routeTotals
	RoutesCut                 bool // there are more than shown
	Failed                    []failedRequest
	Unseen                    bool // nothing is known of the id: no request, no SLO, no row in the list of tenants

	SLOPanel, SeriesPanel, RoutesPanel, FailedPanel, TermsPanel, UsagePanel panel
}

// sloRow is one SLO of a tenant with its definition.
type sloRow struct {
	*slo.Status
	Kind      slo.Kind
	Threshold time.Duration
	Name      string // of the tenant, where rows of several stand together
	Plan      tenant.Plan
	From      string // what the target comes from; empty where that is not known
	FromWhy   string // by whom and why, of a tenant's own
}

// Gone says when the budget runs out, or that it lasts.
func (r sloRow) Gone(now time.Time) string {
	switch {
	case r.Total == 0:
		return "no traffic"
	case r.ErrorBudgetRemaining <= 0:
		return "overspent"
	case r.ExhaustsAt != nil:
		return theme.Stamp(*r.ExhaustsAt, now)
	}
	return "lasts"
}

// Allowed is how many failures the budget grants for the requests so far.
func (r sloRow) Allowed() uint64 {
	return uint64(math.Round(float64(r.Total) * (1 - r.Target.Fraction())))
}

// TargetWords is "99.9 %" or "95 % within 800 ms".
func (r sloRow) TargetWords() string {
	if r.Kind == slo.Latency {
		return r.Target.String() + " within " + roundMillis(r.Threshold)
	}
	return r.Target.String()
}

// tenantVerdict is the band under a tenant's name.
type tenantVerdict struct {
	Glyph, Word, Tint string
	Bold              string
	Context           []string
	SLO               string // to link to
	Alert             *alerting.View
}

func (c *Console) tenantPage(w http.ResponseWriter, r *http.Request) error {
	id, err := tenantOf(r)
	if err != nil {
		return err
	}
	l, err := c.newLayout(r, "tenants", "", true)
	if err != nil {
		return err
	}
	d := &tenantData{layout: l, ID: id, Plan: tenant.Starter, Name: tenant.Tenant{ID: id}.DisplayName()}
	var snap *slo.Snapshot
	var points []point
	var alerts []openAlert
	named := false
	var g errgroup.Group
	ctx := r.Context()
	g.Go(func() error {
		snap, d.SLOPanel = c.snapshot(ctx, l)
		return nil
	})
	g.Go(func() error {
		in, err := c.store.ingest(ctx, id, l.Range)
		c.failed(ctx, "what the quota held back", err) // the page stands without it
		d.Quota = noteOn(in, l.Words, l.Now)
		return nil
	})
	g.Go(func() error {
		var err error
		points, err = c.store.series(ctx, id, seriesQuery{window: closed(l.Range)})
		d.SeriesPanel = c.failed(ctx, "the percentiles", err)
		return nil
	})
	g.Go(func() error {
		var err error
		d.Totals, d.Routes, d.Products, err = c.store.routes(ctx, id, l.Range, maxRoutes+1)
		d.RoutesPanel = c.failed(ctx, "the routes", err)
		return nil
	})
	g.Go(func() error {
		var err error
		d.Failed, err = c.store.failed(ctx, id, l.Range, maxFailed)
		d.FailedPanel = c.failed(ctx, "the failing requests", err)
		return nil
	})
	g.Go(func() error {
		known, err := c.opts.Tenants.List(ctx)
		if err != nil {
			c.failed(ctx, "the tenants' names and plans", err)
			named = true // it may be
		}
		if i := slices.IndexFunc(known, func(t tenant.Tenant) bool { return t.ID == id }); i >= 0 {
			d.Name, d.Plan, named = known[i].DisplayName(), known[i].Plan, true
		}
		return nil
	})
	g.Go(func() error {
		var err error
		if alerts, err = c.openAlerts(ctx); err != nil {
			c.failed(ctx, "the open alerts", err)
		}
		return nil
	})
	if id != tenant.Untagged {
		g.Go(func() error {
			var err error
			d.Terms, err = c.terms(ctx, id, l)
			d.TermsPanel = c.failed(ctx, "the plan", err)
			return nil
		})
		g.Go(func() error {
			var err error
			d.Usage, err = c.usageOf(ctx, id, l.Now)
			d.UsagePanel = c.failed(ctx, "the usage", err)
			return nil
		})
	}
	_ = g.Wait()                  // none returns an error
	if l.Own != tenant.Untagged { // alerts name the other tenants that burn
		alerts = nil
	}
	snap = standing(snap, alerts)
	l.countBurning(snap)
	if d.RoutesCut = len(d.Routes) > maxRoutes; d.RoutesCut {
		d.Routes = d.Routes[:maxRoutes]
	}
	d.Audit = auditOf(r, id)
	slices.Sort(d.Products)
	l.Title = d.Name
	l.Crumbs = []crumb{{"Tenants", "/tenants"}, {Label: d.Name}}
	if l.Own != tenant.Untagged {
		l.Crumbs = l.Crumbs[1:]
	}
	d.fill(snap, alertsOf(id, alerts), points)
	if !named && id != tenant.Untagged && snap != nil && d.Quota == nil && len(d.Statuses) == 0 && d.Totals.Requests == 0 && !d.RoutesPanel.Failed() {
		any, err := c.store.anyRequest(ctx, id)
		if err != nil {
			c.failed(ctx, "the tenant's first request", err) // the page says what it knows of the range
		}
		d.Unseen = err == nil && !any
	}
	return c.render(w, "tenant", http.StatusOK, l.Partial, d)
}

// tenantOf returns the tenant that the address names.
func tenantOf(r *http.Request) (tenant.ID, error) {
	id := r.PathValue("id")
	if id == "" {
		id = r.URL.Query().Get("id")
	}
	return tenant.ParseID(id)
}

// closed returns the window without the minute that is still running: half a minute would look like a fall.
func closed(w window) window {
	w.To = w.To.Add(-time.Minute)
	w.From = w.From.Add(-time.Minute)
	return w
}

func (d *tenantData) fill(snap *slo.Snapshot, alerts []tenantAlert, points []point) {
	limit := math.NaN()
	if snap != nil {
		d.Statuses = statusesOf(snap, d.ID)
		d.Terms.explain(d.Statuses, snap)
		limit = limitOf(d.Statuses)
	}
	for i := range d.Statuses {
		s := &d.Statuses[i]
		if s.Total > 0 && (d.Tightest == nil || s.ErrorBudgetRemaining < d.Tightest.ErrorBudgetRemaining) {
			d.Tightest = s.Status
		}
		if d.Worst == nil && len(s.BurnRates) > 0 && s.State != slo.StateNoData {
			d.Worst = s // they are sorted, the worst first
		}
	}
	d.Verdict = verdictOfTenant(d, snap, alerts)
	d.drawCharts(points, limit)
}

// statusesOf returns a tenant's SLOs, the worst first.
func statusesOf(snap *slo.Snapshot, id tenant.ID) []sloRow {
	var rows []sloRow
	for i := range snap.Statuses {
		if s := &snap.Statuses[i]; s.Tenant == id {
			rows = append(rows, rowOf(snap, s))
		}
	}
	slices.SortStableFunc(rows, func(a, b sloRow) int {
		switch {
		case worse(a.Status, b.Status):
			return -1
		case worse(b.Status, a.Status):
			return 1
		}
		return strings.Compare(a.SLO, b.SLO)
	})
	return rows
}

func rowOf(snap *slo.Snapshot, s *slo.Status) sloRow {
	row := sloRow{Status: s}
	for i := range snap.SLOs {
		if d := &snap.SLOs[i]; d.Name == s.SLO {
			row.Kind, row.Threshold = d.Kind, d.Threshold
		}
	}
	return row
}

// limitOf returns the threshold in milliseconds of the latency SLO that counts the most requests, NaN without one.
func limitOf(rows []sloRow) float64 {
	limit, most := math.NaN(), uint64(0)
	for _, r := range rows {
		if r.Kind == slo.Latency && r.Total > most {
			limit, most = float64(r.Threshold)/1e6, r.Total
		}
	}
	return limit
}

// verdictOfTenant says how one tenant is doing.
func verdictOfTenant(d *tenantData, snap *slo.Snapshot, alerts []tenantAlert) tenantVerdict {
	if snap == nil {
		return tenantVerdict{Glyph: "nodata", Word: "Unknown", Bold: "Whether anything burns is not known now."}
	}
	if len(d.Statuses) == 0 {
		v := tenantVerdict{Glyph: "nodata", Word: "No SLO", Bold: "No SLO counts this tenant's requests."}
		if d.Totals.Requests == 0 {
			v.Bold = "No requests in " + d.Words + ", and no SLO counts this tenant."
		}
		return v
	}
	worst := d.Statuses[0]
	v := tenantVerdict{Glyph: stateGlyph(worst.State), Word: stateWord(worst.State), SLO: worst.SLO}
	burn := worst.Worst()
	switch {
	case burning(worst.State) && burn != nil:
		v.Tint = "bad"
		if worst.State == slo.StateTicket {
			v.Tint = "warn"
		}
		v.Bold = worst.Title + ": " + badShare(burn.LongCounts, worst.Threshold) + " in the last " + theme.Duration(burn.Long)
		for _, a := range alerts {
			if a.Rule == worst.SLO && stateOf(a.Severity) == worst.State {
				v.Alert = a.View
				v.Bold += ", since " + theme.Stamp(a.Since, d.Now)
			}
		}
		v.Bold += "."
		v.Context = append(v.Context, "That is "+theme.Burn(burn.LongRate)+" what the budget allows; "+lasts(worst, d.Now))
		if others := burningOthers(snap, worst.SLO, d.ID); others > 0 {
			v.Context = append(v.Context, theme.Count(others, "other tenant burns", "other tenants burn")+" the same SLO.")
		} else {
			v.Context = append(v.Context, "No other tenant burns this SLO.")
		}
	case worst.State == slo.StateExhausted:
		v.Tint = "warn"
		v.Bold = worst.Title + " has overspent its budget: " + theme.Num(worst.Bad()) + " of " + theme.Num(worst.Allowed()) +
			" failures allowed in " + worst.WindowWords + "."
		v.Context = append(v.Context, "Nothing burns now.")
	case worst.State == slo.StateWatching && burn != nil:
		v.Bold = worst.Title + ": " + theme.Num(burn.LongCounts.Bad()) + " of " + theme.Num(burn.LongCounts.Total) +
			" failed: too few to wake anybody."
	case d.Tightest == nil:
		v.Bold = "No traffic that an SLO counts. The budgets are full."
	default:
		v.Bold = "Within all its targets."
		if worst.State == slo.StateNoData {
			v.Bold = "No traffic lately that an SLO counts."
		}
		v.Context = append(v.Context, "Tightest: "+d.Tightest.Title+", "+theme.Budget(d.Tightest.ErrorBudgetRemaining)+" of the budget left.")
	}
	return v
}

func lasts(r sloRow, now time.Time) string {
	switch {
	case r.ErrorBudgetRemaining <= 0:
		return "it is overspent already."
	case r.ExhaustsAt != nil:
		return "at this rate it is gone about " + theme.Stamp(*r.ExhaustsAt, now) + "."
	}
	return theme.Budget(r.ErrorBudgetRemaining) + " is left."
}

func burningOthers(snap *slo.Snapshot, name string, id tenant.ID) int {
	n := 0
	for i := range snap.Statuses {
		if s := &snap.Statuses[i]; s.SLO == name && s.Tenant != id && burning(s.State) {
			n++
		}
	}
	return n
}

// drawCharts draws latency, errors and throughput from one series.
func (d *tenantData) drawCharts(points []point, limit float64) {
	n := len(points)
	times := make([]time.Time, n)
	p50, p95, p99, errs, rate := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, p := range points {
		times[i], p50[i], p95[i], p99[i] = p.At, p.P50, p.P95, p.P99
		errs[i] = math.NaN()
		if p.Requests > 0 {
			errs[i] = 100 * ratio(p.Errors, p.Requests)
		}
		rate[i] = float64(p.Requests) / d.covered(p.At).Minutes()
	}
	total := d.Totals
	words := "Latency over " + d.Words + ": no requests"
	if total.Requests > 0 {
		words = "Latency over " + d.Words + ": P50 " + theme.Millis(total.P50) + ", P95 " + theme.Millis(total.P95) + ", P99 " + theme.Millis(total.P99)
		if !math.IsNaN(limit) {
			words += ", limit " + theme.Millis(limit)
		}
	}
	d.Latency = drawChart(chartSpec{Title: words, Times: times, Height: 240, Log: true, Limit: limit, Format: axisMillis, Unit: "ms",
		Series: []chartSeries{{"P99", "p99", p99}, {"P95", "p95", p95}, {"P50", "p50", p50}}})
	d.Errors = drawChart(chartSpec{Title: "Share of requests that fail over " + d.Words + ": " + theme.Ratio(total.ErrorRatio()), Times: times, Height: 130,
		Limit: math.NaN(), Format: theme.Pct, Unit: "%", Fill: true, Floor: 1, Series: []chartSeries{{"Errors", "err", errs}}})
	d.Requests = drawChart(chartSpec{Title: "Requests a minute over " + d.Words + ": " + theme.Num(d.PerMinute(total.Requests)) + " on average", Times: times,
		Height: 130, Limit: math.NaN(), Format: func(v float64) string { return theme.Num(v) }, Unit: "/min", Fill: true, Floor: 1,
		Series: []chartSeries{{"Requests a minute", "thr", rate}}})
}

// covered returns how much of the step that begins at has passed: the newest one is not over yet.
func (d *tenantData) covered(at time.Time) time.Duration {
	return max(min(d.Range.Step, d.Now.Sub(at)), time.Minute)
}
