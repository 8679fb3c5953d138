package dashboards

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// tenantRow is a tenant in the list: its requests over the page's window and the SLOs that say most about it.
type tenantRow struct {
	tenantTotals
	Name string
	Plan tenant.Plan
	SLO  *slo.Status // the one that burns worst, else the one with the least budget; nil without SLO
	// State is the worst state of all its SLOs; StateNoData without SLOs.
	State    slo.State
	Tightest *slo.Status // the one with the least budget of those with traffic; nil without
	Budget   float64     // of Tightest; NaN without
	Burn     float64     // of SLO's worst pair of windows; NaN without
	Spark    []float64   // P95 in milliseconds, for the rows on the page
	LimitMS  float64     // of the latency SLO that counts most of its requests; NaN without
	Ingest   ingest      // of the last minutes, when the tenant is over its quota
}

// rank orders states from the worst down.
func rank(s slo.State) int {
	return slices.Index([]slo.State{slo.StatePage, slo.StateTicket, slo.StateExhausted, slo.StateWatching, slo.StateOK, slo.StateNoData}, s)
}

func burning(s slo.State) bool { return s == slo.StatePage || s == slo.StateTicket }

// worse reports whether a says more about how bad things are than b: by state, then burn, then budget.
func worse(a, b *slo.Status) bool {
	if b == nil || rank(a.State) != rank(b.State) {
		return b == nil || rank(a.State) < rank(b.State)
	}
	if burning(a.State) {
		return burnOf(a) > burnOf(b)
	}
	return a.ErrorBudgetRemaining < b.ErrorBudgetRemaining
}

// burnOf returns the long rate of the status's worst pair of windows, 0 without any.
func burnOf(s *slo.Status) float64 {
	if w := s.Worst(); w != nil {
		return w.LongRate
	}
	return 0
}

// newRow returns the row of a tenant of which nothing is known yet.
func newRow(id tenant.ID) *tenantRow {
	return &tenantRow{tenantTotals: tenantTotals{Tenant: id, Latency: noLatency()}, Name: tenant.Tenant{ID: id}.DisplayName(),
		Plan: tenant.Starter, State: slo.StateNoData, Budget: math.NaN(), Burn: math.NaN(), LimitMS: math.NaN()}
}

// mergeRows joins what telemetry, SLOs and the list of tenants know. A tenant that any of them names has a row; with
// a product only those that have requests or an SLO there.
func mergeRows(totals []tenantTotals, snap *slo.Snapshot, known []tenant.Tenant, product string) []tenantRow {
	byID := make(map[tenant.ID]*tenantRow, len(totals))
	at := func(id tenant.ID) *tenantRow {
		r := byID[id]
		if r == nil {
			r = newRow(id)
			byID[id] = r
		}
		return r
	}
	for _, t := range totals {
		at(t.Tenant).tenantTotals = t
	}
	if snap != nil {
		mergeStatuses(snap, product, at)
	}
	for _, t := range known {
		if r := byID[t.ID]; r != nil || product == "" {
			r = at(t.ID)
			r.Name, r.Plan = t.DisplayName(), t.Plan
		}
	}
	rows := make([]tenantRow, 0, len(byID))
	for _, r := range byID {
		rows = append(rows, *r)
	}
	return rows
}

func mergeStatuses(snap *slo.Snapshot, product string, at func(tenant.ID) *tenantRow) {
	thresholds := map[string]float64{} // of latency SLOs, in milliseconds
	for _, d := range snap.SLOs {
		if d.Kind == slo.Latency {
			thresholds[d.Name] = float64(d.Threshold) / 1e6
		}
	}
	limitTotals := map[tenant.ID]uint64{}
	for i := range snap.Statuses {
		s := &snap.Statuses[i]
		if product != "" && s.Product != product {
			continue
		}
		r := at(s.Tenant)
		if rank(s.State) < rank(r.State) {
			r.State = s.State
		}
		if hasBudget(s) && !(s.ErrorBudgetRemaining >= r.Budget) {
			r.Tightest, r.Budget = s, s.ErrorBudgetRemaining
		}
		if worse(s, r.SLO) {
			r.SLO, r.Burn = s, burnOf(s)
		}
		if ms, ok := thresholds[s.SLO]; ok && s.Total > limitTotals[s.Tenant] {
			limitTotals[s.Tenant], r.LimitMS = s.Total, ms
		}
	}
}

// listQuery is what the address of the list asks for.
type listQuery struct {
	Show, Text, Product, Plan string
	Sort, Order               string
	Page                      int // from 1
}

// Filters of the list by state, in the order of the tabs.
const (
	showAll       = ""
	showBurning   = "burning"
	showOverspent = "overspent"
	showLow       = "low"
	showFew       = "few"
	showQuota     = "quota"
	showNoTraffic = "idle"
)

// Elsewhere reports whether the tightest budget is that of another SLO than the worst one.
func (r *tenantRow) Elsewhere() bool { return r.Tightest != nil && r.Tightest != r.SLO }

// in reports whether the row belongs under a tab.
func (r *tenantRow) in(show string) bool {
	switch show {
	case showBurning:
		return burning(r.State)
	case showOverspent:
		return r.Budget < 0
	case showLow:
		return r.Budget >= 0 && r.Budget < 0.25
	case showFew:
		return r.State == slo.StateWatching
	case showQuota:
		return r.Ingest.Over()
	case showNoTraffic:
		return r.Requests == 0
	}
	return true
}

// matches reports whether the row passes the search and the plan.
func (r *tenantRow) matches(q listQuery) bool {
	if q.Plan != "" && string(r.Plan) != q.Plan {
		return false
	}
	if q.Text == "" {
		return true
	}
	text := strings.ToLower(q.Text)
	return strings.Contains(strings.ToLower(r.Name), text) || strings.Contains(strings.ToLower(string(r.Tenant)), text)
}

// sortKey compares two rows; ascending says which order is natural: what one wants to see first.
type sortKey struct {
	Ascending bool
	Compare   func(a, b *tenantRow) int
}

// sortKeys returns the columns that the list sorts by. Rows without a value come last in either order.
func sortKeys() map[string]sortKey {
	number := func(f func(*tenantRow) float64) func(a, b *tenantRow) int {
		return func(a, b *tenantRow) int { return cmp.Compare(f(a), f(b)) }
	}
	return map[string]sortKey{
		"tenant": {true, func(a, b *tenantRow) int {
			return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		}},
		"plan":     {false, func(a, b *tenantRow) int { return cmp.Compare(planRank(a.Plan), planRank(b.Plan)) }},
		"requests": {false, number(func(r *tenantRow) float64 { return float64(r.Requests) })},
		"errors":   {false, number(func(r *tenantRow) float64 { return r.ErrorRatio() })},
		"p50":      {false, number(func(r *tenantRow) float64 { return r.P50 })},
		"p95":      {false, number(func(r *tenantRow) float64 { return r.P95 })},
		"p99":      {false, number(func(r *tenantRow) float64 { return r.P99 })},
		"budget":   {true, number(func(r *tenantRow) float64 { return r.Budget })},
		"burn":     {false, number(func(r *tenantRow) float64 { return r.Burn })},
	}
}

func planRank(p tenant.Plan) int { return slices.Index(tenant.Plans(), p) }

// missing reports whether the row has no value to sort by under the key.
func (r *tenantRow) missing(sort string) bool {
	switch sort {
	case "errors", "p50", "p95", "p99":
		return r.Requests == 0
	case "budget":
		return math.IsNaN(r.Budget)
	case "burn":
		return math.IsNaN(r.Burn)
	}
	return false
}

// sortRows sorts in place: by the column asked for, else the worst first. Equal rows stand by their ids.
func sortRows(rows []tenantRow, sort, order string) error {
	if sort == "" {
		slices.SortFunc(rows, func(a, b tenantRow) int { return compareWorst(&a, &b) })
		return nil
	}
	key, ok := sortKeys()[sort]
	if !ok {
		return fault.InvalidField("sort", sort, "must be one of tenant, plan, requests, errors, p50, p95, p99, budget, burn")
	}
	sign := 1
	switch order {
	case "asc":
	case "desc":
		sign = -1
	case "":
		if !key.Ascending {
			sign = -1
		}
	default:
		return fault.InvalidField("order", order, "must be asc or desc")
	}
	slices.SortFunc(rows, func(a, b tenantRow) int {
		if am, bm := a.missing(sort), b.missing(sort); am != bm {
			if am {
				return 1
			}
			return -1
		}
		return cmp.Or(sign*key.Compare(&a, &b), cmp.Compare(a.Tenant, b.Tenant))
	})
	return nil
}

func compareWorst(a, b *tenantRow) int {
	value := func(f float64) float64 { // NaN sorts as nothing to see
		if math.IsNaN(f) {
			return math.Inf(1)
		}
		return f
	}
	byBurn := 0
	if burning(a.State) && a.State == b.State {
		byBurn = cmp.Compare(b.Burn, a.Burn)
	}
	return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), byBurn, cmp.Compare(value(a.Budget), value(b.Budget)),
		cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Tenant, b.Tenant))
}

// paginate returns the slice of a page and how many pages there are; a page past the end is the last.
func paginate[T any](rows []T, page, size int) (part []T, at, pages int) {
	pages = max(1, (len(rows)+size-1)/size)
	at = min(max(page, 1), pages)
	return rows[(at-1)*size : min(at*size, len(rows))], at, pages
}
