package dashboards

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// pageSize is how many tenants a page of the list shows.
const pageSize = 50

// tenantsData is the page with all tenants.
type tenantsData struct {
	*layout
	Query    listQuery
	Products []string
	Plans    []tenant.Plan

	Verdict  fleetVerdict
	Burns    []burn // up to three
	MoreSLOs int    // that burn beyond those
	Budgets  budgetHistogram

	Tabs    []link
	Columns []column
	Rows    []tenantRow
	Sparks  map[tenant.ID]sparkline

	First, Last, Total, At, Pages int
	Previous, Next                string
	Tenants                       int // with requests in the range
	RequestsPerMinute             float64
	Untagged                      float64 // share of requests without a tenant
	ClearHref, CSV                string
	Filtered                      bool

	Onboarding   bool // nothing was ever received
	OTLPEndpoint string

	SLOPanel, ListPanel panel
}

// Over reports whether a row's P95 is over its limit.
func (d *tenantsData) Over(r tenantRow) bool { return r.P95 > r.LimitMS }

// column is a head of the table that sorts by a link.
type column struct {
	Key, Label, Href string
	Number           bool
	Sorted           string // aria-sort, empty when not sorted by it
	Narrow           bool   // leaves when there is little room
	Wide             bool   // leaves before those
}

// fleetNow is what several pages know of all tenants.
type fleetNow struct {
	Rows      []tenantRow
	Totals    []tenantTotals
	Snapshot  *slo.Snapshot // with what the open alerts hold
	Alerts    []openAlert
	Over      map[tenant.ID]ingest // its quota, now
	Names     map[tenant.ID]string
	SLOPanel  panel
	ListPanel panel
}

func (f *fleetNow) name(id tenant.ID) string {
	if n := f.Names[id]; n != "" {
		return n
	}
	return tenant.Tenant{ID: id}.DisplayName()
}

// keepProduct leaves only what concerns a product, all of it when none is asked for.
func (f *fleetNow) keepProduct(product string) {
	if product == "" {
		return
	}
	f.Alerts = slices.DeleteFunc(f.Alerts, func(a openAlert) bool { return a.Product != product })
	if f.Snapshot == nil {
		return
	}
	part := &slo.Snapshot{At: f.Snapshot.At, SLOs: f.Snapshot.SLOs, Fleet: f.Snapshot.Fleet}
	for i := range f.Snapshot.Statuses {
		if s := &f.Snapshot.Statuses[i]; s.Product == product {
			part.Statuses = append(part.Statuses, *s)
		}
	}
	f.Snapshot = part
}

// readFleet asks every store at once. What fails leaves its panel without numbers; the rest is there.
func (c *Console) readFleet(ctx context.Context, l *layout, product string) *fleetNow {
	f := &fleetNow{Names: map[tenant.ID]string{}}
	var known []tenant.Tenant
	var g errgroup.Group
	g.Go(func() error {
		var err error
		f.Totals, err = c.fleet.totals(ctx, l.Range, product)
		f.ListPanel = c.failed(ctx, "the tenants", err)
		return nil
	})
	g.Go(func() error {
		f.Snapshot, f.SLOPanel = c.snapshot(ctx, l)
		return nil
	})
	g.Go(func() error {
		f.Over = c.overQuota(ctx)
		return nil
	})
	g.Go(func() error {
		var err error
		if known, err = c.opts.Tenants.List(ctx); err != nil {
			c.failed(ctx, "the tenants' names and plans", err) // ids serve in their place
		}
		return nil
	})
	g.Go(func() error {
		var err error
		if f.Alerts, err = c.openAlerts(ctx); err != nil {
			c.failed(ctx, "the open alerts", err) // the snapshot says what burns
		}
		return nil
	})
	_ = g.Wait() // none returns an error
	for _, t := range known {
		f.Names[t.ID] = t.DisplayName()
	}
	f.Snapshot = standing(f.Snapshot, f.Alerts)
	l.countBurning(f.Snapshot)
	f.keepProduct(product)
	f.Rows = withQuotas(mergeRows(f.Totals, f.Snapshot, known, product), f.Over, product)
	return f
}

// parseList reads the address of the list.
func parseList(r *http.Request) (listQuery, error) {
	q := listQuery{
		Show: r.FormValue("show"), Text: r.FormValue("q"), Product: r.FormValue("product"), Plan: r.FormValue("plan"),
		Sort: r.FormValue("sort"), Order: r.FormValue("order"), Page: 1,
	}
	switch q.Show {
	case showAll, showBurning, showOverspent, showLow, showFew, showQuota, showNoTraffic:
	default:
		return q, fault.InvalidField("show", q.Show, "must be one of burning, overspent, low, few, quota, idle")
	}
	if q.Plan != "" {
		if _, err := tenant.ParsePlan(q.Plan); err != nil {
			return q, err
		}
	}
	if s := r.FormValue("page"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return q, fault.InvalidField("page", s, "must be a number from 1 on")
		}
		q.Page = n
	}
	return q, sortRows(nil, q.Sort, q.Order)
}

func (c *Console) tenantsPage(w http.ResponseWriter, r *http.Request) error {
	q, err := parseList(r)
	if err != nil {
		return err
	}
	l, err := c.newLayout(r, "tenants", "Tenants", true)
	if err != nil {
		return err
	}
	l.Crumbs = []crumb{{Label: "Tenants"}}
	l.Range.From = l.Range.From.Truncate(l.Range.fleetTier().Width) // where the totals begin, so that rates are of that time
	f := c.readFleet(r.Context(), l, q.Product)
	d := &tenantsData{layout: l, Query: q, Plans: tenant.Plans(), SLOPanel: f.SLOPanel, ListPanel: f.ListPanel,
		OTLPEndpoint: c.opts.OTLPEndpoint,
		ClearHref:    withQuery(r.URL, "q", "", "plan", "", "product", "", "show", "", "page", "")}
	if len(f.Totals) == 0 && !f.ListPanel.Failed() {
		any, err := c.store.anyRequestAcrossTenants(r.Context())
		if d.Onboarding = err == nil && !any; d.Onboarding {
			return c.render(w, "tenants", http.StatusOK, l.Partial, d)
		}
	}
	if d.Products, err = c.store.productsAcrossTenants(r.Context()); err != nil {
		c.failed(r.Context(), "the products", err) // the list stands without its filter
	}
	d.fill(r, f)
	d.Sparks = map[tenant.ID]sparkline{}
	ids := make([]tenant.ID, len(d.Rows))
	for i := range d.Rows {
		ids[i] = d.Rows[i].Tenant
	}
	if !f.ListPanel.Failed() {
		sparks, err := c.store.sparksAcrossTenants(r.Context(), l.Range, q.Product, ids)
		if err != nil {
			c.failed(r.Context(), "the sparklines", err) // the numbers stand without them
		}
		for i := range d.Rows {
			d.Sparks[ids[i]] = drawSpark(sparks[ids[i]], d.Rows[i].LimitMS, l.Words)
		}
	}
	return c.render(w, "tenants", http.StatusOK, l.Partial, d)
}

// fill computes what the page shows of the fleet.
func (d *tenantsData) fill(r *http.Request, f *fleetNow) {
	d.Budgets = budgetsOf(f.Rows)
	burns := burnsOf(f.Snapshot, f.Alerts, f.name, d.Now)
	d.Verdict = verdictOf(f.Snapshot, burns, f.Rows, d.Budgets, d.Now)
	d.Burns = burns[:min(3, len(burns))]
	d.MoreSLOs = len(burns) - len(d.Burns)
	var requests, untagged uint64
	for _, t := range f.Totals {
		requests += t.Requests
		if t.Tenant == tenant.Untagged {
			untagged = t.Requests
		} else {
			d.Tenants++
		}
	}
	d.RequestsPerMinute, d.Untagged = d.PerMinute(requests), ratio(untagged, requests)

	rows := make([]tenantRow, 0, len(f.Rows))
	for _, row := range f.Rows {
		if row.matches(d.Query) {
			rows = append(rows, row)
		}
	}
	d.Tabs = tabs(r, rows, d.Query.Show)
	shown := rows[:0]
	for _, row := range rows {
		if row.in(d.Query.Show) {
			shown = append(shown, row)
		}
	}
	_ = sortRows(shown, d.Query.Sort, d.Query.Order) // parseList checked both
	d.Total = len(shown)
	d.Rows, d.At, d.Pages = paginate(shown, d.Query.Page, pageSize)
	d.First, d.Last = (d.At-1)*pageSize+1, (d.At-1)*pageSize+len(d.Rows)
	if d.At > 1 {
		d.Previous = withQuery(r.URL, "page", pageNumber(d.At-1))
	}
	if d.At < d.Pages {
		d.Next = withQuery(r.URL, "page", pageNumber(d.At+1))
	}
	d.Columns = columns(r, d.Query)
	d.Filtered = d.Query.Text != "" || d.Query.Plan != "" || d.Query.Product != "" || d.Query.Show != ""
	u := *r.URL
	u.Path, u.RawPath = "/tenants.csv", ""
	d.CSV = withQuery(&u, "page", "")
}

func pageNumber(n int) string {
	if n <= 1 {
		return ""
	}
	return strconv.Itoa(n)
}

// tabs counts the rows by state; those without any are left out, unless one stands on it.
func tabs(r *http.Request, rows []tenantRow, show string) []link {
	all := []link{
		{Label: "All"}, {Label: "Burning", Glyph: "page"}, {Label: "Overspent"}, {Label: "Under 25\u202f% left"},
		{Label: "Few requests"}, {Label: "Over quota"}, {Label: "No traffic"},
	}
	keys := []string{showAll, showBurning, showOverspent, showLow, showFew, showQuota, showNoTraffic}
	list := all[:0]
	for i, t := range all {
		for j := range rows {
			if rows[j].in(keys[i]) {
				t.Count++
			}
		}
		t.Current = show == keys[i]
		t.Href = withQuery(r.URL, "show", keys[i], "page", "")
		if t.Count > 0 || t.Current || keys[i] == showAll {
			list = append(list, t)
		}
	}
	return list
}

// columns returns the heads of the table. A link sorts as is natural first, and the other way when it is current.
func columns(r *http.Request, q listQuery) []column {
	list := []column{
		{Key: "tenant", Label: "Tenant"}, {Key: "plan", Label: "Plan"}, {Label: "Product", Wide: true},
		{Key: "requests", Label: "Req/min", Number: true}, {Key: "errors", Label: "Errors", Number: true},
		{Key: "p50", Label: "P50", Number: true, Narrow: true}, {Key: "p95", Label: "P95", Number: true},
		{Key: "p99", Label: "P99", Number: true, Narrow: true}, {Label: "P95, " + q.words(r), Wide: true}, {Label: "Worst SLO", Narrow: true},
		{Key: "budget", Label: "Tightest budget"}, {Key: "burn", Label: "Burn", Number: true},
	}
	keys := sortKeys()
	for i := range list {
		c := &list[i]
		if c.Key == "" {
			continue
		}
		ascending := keys[c.Key].Ascending
		if q.Sort == c.Key {
			if q.Order != "" {
				ascending = q.Order == "asc"
			}
			c.Sorted = "descending"
			if ascending {
				c.Sorted = "ascending"
			}
			ascending = !ascending
		}
		order := "desc"
		if ascending {
			order = "asc"
		}
		c.Href = withQuery(r.URL, "sort", c.Key, "order", order, "page", "")
	}
	return list
}

// words returns the label of the range in the address.
func (listQuery) words(r *http.Request) string {
	for _, p := range presets() {
		if p.Name == r.FormValue("range") {
			return p.Label
		}
	}
	return presets()[0].Label
}
