package dashboards

import (
	"bytes"
	"encoding/csv"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/web"
)

// maxCSVRoutes bounds a tenant's routes in a file.
const maxCSVRoutes = 10_000

// writeCSV sends a table as a file. Numbers are plain, without separators and units; what is missing is empty.
func writeCSV(w http.ResponseWriter, name string, head []string, rows [][]string) error {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	if err := out.Write(head); err != nil {
		return err
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = web.CSVCell(cell)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // the reader is gone
	return nil
}

func decimal(f float64) string {
	if math.IsNaN(f) {
		return ""
	}
	return strconv.FormatFloat(short(f), 'f', -1, 64)
}

func whole(n uint64) string { return strconv.FormatUint(n, 10) }

func (c *Console) tenantsCSV(w http.ResponseWriter, r *http.Request) error {
	q, err := parseList(r)
	if err != nil {
		return err
	}
	l, err := c.newLayout(r, "tenants", "", true)
	if err != nil {
		return err
	}
	f := c.readFleet(r.Context(), l, q.Product)
	if f.ListPanel.Failed() {
		return fault.New(fault.Unavailable, "%s", f.ListPanel.Message)
	}
	_ = sortRows(f.Rows, q.Sort, q.Order) // parseList checked both
	var rows [][]string
	for _, t := range f.Rows {
		if !t.matches(q) || !t.in(q.Show) {
			continue
		}
		worst, tightest := "", ""
		if t.SLO != nil {
			worst = t.SLO.SLO
		}
		if t.Tightest != nil {
			tightest = t.Tightest.SLO
		}
		rows = append(rows, []string{string(t.Tenant), t.Name, string(t.Plan), strings.Join(t.Products, " "), whole(t.Requests), whole(t.Errors),
			decimal(t.ErrorRatio()), decimal(t.P50), decimal(t.P95), decimal(t.P99), worst, string(t.State), decimal(t.Budget), decimal(t.Burn), tightest})
	}
	return writeCSV(w, "tenants-"+l.Range.Name+".csv", []string{"tenant", "name", "plan", "products", "requests", "errors", "error_ratio",
		"p50_ms", "p95_ms", "p99_ms", "worst_slo", "state", "error_budget_remaining", "burn_rate", "tightest_slo"}, rows)
}

func (c *Console) tenantCSV(w http.ResponseWriter, r *http.Request) error {
	id, err := tenantOf(r)
	if err != nil {
		return err
	}
	l, err := c.newLayout(r, "tenants", "", true)
	if err != nil {
		return err
	}
	var rows [][]string
	switch table := r.FormValue("table"); table {
	case "series":
		points, err := c.store.series(r.Context(), id, seriesQuery{window: closed(l.Range)})
		if err != nil {
			return err
		}
		for _, p := range points {
			rows = append(rows, []string{p.At.Format(time.RFC3339), whole(p.Requests), whole(p.Errors), decimal(p.P50), decimal(p.P95), decimal(p.P99)})
		}
		return writeCSV(w, "latency-"+l.Range.Name+".csv", []string{"time", "requests", "errors", "p50_ms", "p95_ms", "p99_ms"}, rows)
	case "routes":
		_, routes, _, err := c.store.routes(r.Context(), id, l.Range, maxCSVRoutes)
		if err != nil {
			return err
		}
		for _, t := range routes {
			rows = append(rows, []string{t.Product, t.Service, t.Route, whole(t.Requests), whole(t.Errors), decimal(t.ErrorRatio()),
				decimal(t.P50), decimal(t.P95), decimal(t.P99)})
		}
		return writeCSV(w, "routes-"+l.Range.Name+".csv", []string{"product", "service", "route", "requests", "errors", "error_ratio",
			"p50_ms", "p95_ms", "p99_ms"}, rows)
	default:
		return fault.InvalidField("table", table, "must be series or routes")
	}
}

func (c *Console) sloCSV(w http.ResponseWriter, r *http.Request) error {
	l, err := c.newLayout(r, "slos", "", false)
	if err != nil {
		return err
	}
	f := c.readSLOs(r, l)
	if f.SLOPanel.Failed() {
		return fault.New(fault.Unavailable, "%s", f.SLOPanel.Message)
	}
	plans, err := c.opts.Tenants.Plans(r.Context())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, t := range c.sloTenants(f, r.PathValue("name"), plans) {
		gone := ""
		if t.ExhaustsAt != nil {
			gone = t.ExhaustsAt.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{string(t.Tenant), t.Name, string(t.Plan), decimal(t.Target.Fraction()), whole(t.Good), whole(t.Total),
			decimal(budgetOrNone(t.Status)), string(t.State), decimal(burnOf(t.Status)), gone})
	}
	return writeCSV(w, "slo-tenants.csv", []string{"tenant", "name", "plan", "target", "good", "total", "error_budget_remaining", "state",
		"burn_rate", "exhausts_at"}, rows)
}

func budgetOrNone(s *slo.Status) float64 {
	if s.Total == 0 {
		return math.NaN()
	}
	return s.ErrorBudgetRemaining
}
