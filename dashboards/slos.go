package dashboards

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// stateCounts are tenants by how an SLO stands for them.
type stateCounts struct {
	Page, Ticket, Exhausted, Watching, OK, NoData int
}

// Total is the number of tenants.
func (c stateCounts) Total() int {
	return c.Page + c.Ticket + c.Exhausted + c.Watching + c.OK + c.NoData
}

// Burning is the number of tenants for whom it burns.
func (c stateCounts) Burning() int { return c.Page + c.Ticket }

func (c *stateCounts) add(s slo.State) {
	switch s {
	case slo.StatePage:
		c.Page++
	case slo.StateTicket:
		c.Ticket++
	case slo.StateExhausted:
		c.Exhausted++
	case slo.StateWatching:
		c.Watching++
	case slo.StateOK:
		c.OK++
	default:
		c.NoData++
	}
}

// sloSummary is one definition with how it stands.
type sloSummary struct {
	*slo.Definition
	Fleet    *slo.Status // over all tenants together; nil before the first evaluation
	Counts   stateCounts
	State    slo.State // the worst of any tenant's
	Tightest float64   // least budget of any tenant with traffic
	HasData  bool
}

// TargetWords is "99.9 %" or "95 % within 800 ms".
func (s sloSummary) TargetWords() string {
	if s.Kind == slo.Latency {
		return s.Target.String() + " within " + roundMillis(s.Threshold)
	}
	return s.Target.String()
}

// Attained is the share of all tenants' requests that were good.
func (s sloSummary) Attained() string {
	if s.Fleet == nil || s.Fleet.Total == 0 {
		return "no traffic"
	}
	return theme.Availability(1 - s.Fleet.ErrorRatio())
}

// summaries returns all definitions, the worst first.
func summaries(snap *slo.Snapshot) []sloSummary {
	index := map[string]int{}
	list := make([]sloSummary, len(snap.SLOs))
	for i := range snap.SLOs {
		list[i] = sloSummary{Definition: &snap.SLOs[i], State: slo.StateNoData}
		index[snap.SLOs[i].Name] = i
	}
	for i := range snap.Fleet {
		if at, ok := index[snap.Fleet[i].SLO]; ok {
			list[at].Fleet = &snap.Fleet[i]
		}
	}
	for i := range snap.Statuses {
		st := &snap.Statuses[i]
		at, ok := index[st.SLO]
		if !ok {
			continue
		}
		s := &list[at]
		s.Counts.add(st.State)
		if rank(st.State) < rank(s.State) {
			s.State = st.State
		}
		if hasBudget(st) && (!s.HasData || st.ErrorBudgetRemaining < s.Tightest) {
			s.Tightest, s.HasData = st.ErrorBudgetRemaining, true
		}
	}
	slices.SortFunc(list, func(a, b sloSummary) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), cmp.Compare(b.Counts.Burning(), a.Counts.Burning()), strings.Compare(a.Name, b.Name))
	})
	return list
}

type slosData struct {
	*layout
	SLOs     []sloSummary
	Verdict  fleetVerdict
	SLOPanel panel
}

func (c *Console) slosPage(w http.ResponseWriter, r *http.Request) error {
	l, err := c.newLayout(r, "slos", "SLOs", false)
	if err != nil {
		return err
	}
	l.Crumbs = []crumb{{Label: "SLOs"}}
	d := &slosData{layout: l}
	f := c.readSLOs(r, l)
	d.SLOPanel = f.SLOPanel
	if f.Snapshot != nil {
		d.SLOs = summaries(f.Snapshot)
	}
	rows := mergeRows(nil, f.Snapshot, nil, "")
	d.Verdict = verdictOf(f.Snapshot, burnsOf(f.Snapshot, f.Alerts, f.name, l.Now), rows, budgetsOf(rows), l.Now)
	return c.render(w, "slos", http.StatusOK, l.Partial, d)
}

// readSLOs is readFleet without telemetry.
func (c *Console) readSLOs(r *http.Request, l *layout) *fleetNow {
	f := &fleetNow{Names: map[tenant.ID]string{}}
	ctx := r.Context()
	f.Snapshot, f.SLOPanel = c.snapshot(ctx, l)
	known, err := c.opts.Tenants.List(ctx)
	if err != nil {
		c.failed(ctx, "the tenants' names and plans", err)
	}
	for _, t := range known {
		f.Names[t.ID] = t.DisplayName()
	}
	if f.Alerts, err = c.openAlerts(ctx); err != nil {
		c.failed(ctx, "the open alerts", err)
	}
	f.Snapshot = standing(f.Snapshot, f.Alerts)
	l.countBurning(f.Snapshot)
	return f
}

// planTarget is one plan's target and how its tenants are doing.
type planTarget struct {
	Plan    tenant.Plan
	Target  slo.PPM
	Outage  string // how long a full outage the target allows
	Tenants int
	Burning int
}

type sloData struct {
	*layout
	SLO      sloSummary
	Verdict  fleetVerdict
	Burns    []burn
	Plans    []planTarget
	Tenants  []sloRow
	Worst    []sloRow // whose windows are shown in full
	Fleet    *sloRow
	Own      int // tenants with a target of their own
	At       int
	Pages    int
	Total    int
	Previous string
	Next     string
	SLOPanel panel
}

func (c *Console) sloPage(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	l, err := c.newLayout(r, "slos", name, false)
	if err != nil {
		return err
	}
	d := &sloData{layout: l}
	f := c.readSLOs(r, l)
	l.Crumbs = []crumb{{"SLOs", "/slos"}, {Label: name}}
	if d.SLOPanel = f.SLOPanel; f.Snapshot == nil {
		d.SLO = sloSummary{Definition: &slo.Definition{Name: name, Title: name}}
		return c.render(w, "slo", http.StatusOK, l.Partial, d)
	}
	all := summaries(f.Snapshot)
	i := slices.IndexFunc(all, func(s sloSummary) bool { return s.Name == name })
	if i < 0 {
		return fault.New(fault.NotFound, "there is no SLO %q", name)
	}
	d.SLO = all[i]
	l.Title, l.Crumbs[1].Label = d.SLO.Title, d.SLO.Title
	page := 1
	if s := r.FormValue("page"); s != "" {
		if page, err = strconv.Atoi(s); err != nil || page < 1 {
			return fault.InvalidField("page", s, "must be a number from 1 on")
		}
	}
	plans, err := c.opts.Tenants.Plans(r.Context())
	if err != nil {
		c.failed(r.Context(), "the tenants' plans", err)
	}
	rows := c.sloTenants(f, name, plans)
	d.fill(f, rows, page, r)
	return c.render(w, "slo", http.StatusOK, l.Partial, d)
}

// sloTenants returns an SLO's tenants, the worst first.
func (c *Console) sloTenants(f *fleetNow, name string, plans map[tenant.ID]tenant.Plan) []sloRow {
	var rows []sloRow
	for i := range f.Snapshot.Statuses {
		if s := &f.Snapshot.Statuses[i]; s.SLO == name {
			row := rowOf(f.Snapshot, s)
			if row.Name, row.Plan = f.name(s.Tenant), plans[s.Tenant]; row.Plan == "" {
				row.Plan = tenant.Starter
			}
			rows = append(rows, row)
		}
	}
	slices.SortStableFunc(rows, func(a, b sloRow) int {
		switch {
		case worse(a.Status, b.Status):
			return -1
		case worse(b.Status, a.Status):
			return 1
		}
		return cmp.Compare(a.Tenant, b.Tenant)
	})
	return rows
}

func (d *sloData) fill(f *fleetNow, rows []sloRow, page int, r *http.Request) {
	for _, b := range burnsOf(f.Snapshot, f.Alerts, f.name, d.Now) {
		if b.SLO == d.SLO.Name {
			d.Burns = append(d.Burns, b)
		}
	}
	switch {
	case len(d.Burns) > 0:
		b := d.Burns[0]
		d.Verdict = fleetVerdict{Glyph: stateGlyph(b.Severity), Word: stateWord(b.Severity),
			Bold:    "Burns for " + theme.Num(d.SLO.Counts.Burning()) + " of " + theme.Count(d.SLO.Counts.Total(), "tenant", "tenants"),
			Context: b.Evidence}
		if d.SLO.Counts.Burning() == 0 { // an alert that is about to resolve
			d.Verdict.Bold = b.Heading
		}
		if b.Alert != nil {
			d.Verdict.Bold += " since " + theme.Stamp(b.Alert.Since, d.Now) + " UTC"
		}
		d.Verdict.Bold += "."
	case d.SLO.Counts.Total() == 0:
		d.Verdict = fleetVerdict{"nodata", "No data", "No request that it counts has come in yet.", ""}
	case d.SLO.Counts.Exhausted > 0:
		d.Verdict = fleetVerdict{"ticket", "Overspent", "Nothing burns now; " + theme.Count(d.SLO.Counts.Exhausted, "tenant has", "tenants have") + " no budget left.", ""}
	default:
		d.Verdict = fleetVerdict{"fine", "Fine", "Nothing burns: " + theme.Count(d.SLO.Counts.Total(), "tenant is", "tenants are") + " within the target.", ""}
	}
	if d.SLO.Fleet != nil {
		row := rowOf(f.Snapshot, d.SLO.Fleet)
		d.Fleet = &row
	}
	for _, p := range slices.Backward(tenant.Plans()) {
		t := planTarget{Plan: p, Target: d.SLO.Target}
		if v, ok := d.SLO.TargetsByPlan[p]; ok {
			t.Target = v
		}
		t.Outage = theme.Duration(d.SLO.Window / time.Duration(slo.One) * time.Duration(slo.One-t.Target))
		for _, row := range rows {
			if row.Plan == p {
				t.Tenants++
				if burning(row.State) {
					t.Burning++
				}
			}
		}
		d.Plans = append(d.Plans, t)
	}
	d.Own = len(d.SLO.TargetsByTenant)
	d.Total = len(rows)
	d.Tenants, d.At, d.Pages = paginate(rows, page, pageSize)
	if d.At > 1 {
		d.Previous = withQuery(r.URL, "page", pageNumber(d.At-1))
	}
	if d.At < d.Pages {
		d.Next = withQuery(r.URL, "page", pageNumber(d.At+1))
	}
	for _, row := range rows {
		if len(d.Worst) < 2 && row.State != slo.StateNoData && len(row.BurnRates) > 0 {
			d.Worst = append(d.Worst, row)
		}
	}
}
