package slo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Backtest is what the alerts of a definition would have been.
type Backtest struct {
	Name     string
	From, To time.Time
	Since    time.Time // the first minute with a request, zero when there is none; windows that reach further back hold less than their name says
	Source   string    // what was counted: "rollup", or "requests" for an SLI that is not counted yet
	Tenants  int       // that had requests
	Episodes []Episode // by the time they opened, then by tenant
}

// Count returns how many of the alerts have a severity.
func (b *Backtest) Count(s Severity) (n int) {
	for _, e := range b.Episodes {
		if e.Severity == s {
			n++
		}
	}
	return n
}

// The bounds of a backtest. One minute of 31 days for each of a hundred tenants is 4.5 million rows, which ClickHouse sorts
// in a few hundred megabytes.
const (
	maxBacktest         = 31 * day
	backtestTenants     = 100 // read at a time
	backtestMaxExecTime = 5 * time.Minute
)

// Backtest replays the stored history against a definition, which need not have been applied, and returns the alerts
// that would have fired in [from, to). It looks at one tenant, or with nil at all. Counts are those that the SLO of the
// same name has when it counts the same; else they are made from the stored requests. Nothing is changed.
func (r *Reader) Backtest(ctx context.Context, d Definition, only *tenant.ID, from, to time.Time) (*Backtest, error) {
	from, to = from.UTC().Truncate(time.Minute), to.UTC().Truncate(time.Minute)
	switch {
	case !from.Before(to):
		return nil, fault.InvalidField("from", from.Format(time.RFC3339), "must be before to")
	case to.Sub(from) > maxBacktest:
		return nil, fault.InvalidField("from", from.Format(time.RFC3339), "is more than %s before to", Shorthand(maxBacktest))
	}
	if err := d.check(); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "SLO %q is not valid", d.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, backtestMaxExecTime)
	defer cancel()
	plans, err := r.o.Plans.Plans(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tenants' plans: %w", err)
	}
	targets, err := r.targets(ctx, plans)
	if err != nil {
		return nil, err
	}
	d.normalize()
	out := &Backtest{Name: d.Name, From: from, To: to}
	zero := d.windowsAt(from).first()
	h := history{r: r, d: &d, zero: zero, to: to}
	if out.Source, err = h.choose(ctx); err != nil {
		return nil, err
	}
	clock := newClock(&d, zero, from, to)
	fleet, err := h.fleet(ctx, only)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(fleet.sums, func(c Counts) bool { return c.Total > 0 }); i > 0 {
		out.Since = zero.Add(time.Duration(i-1) * time.Minute)
	}
	tenants, err := h.tenants(ctx, only)
	if err != nil {
		return nil, err
	}
	out.Tenants = len(tenants)
	for some := range slices.Chunk(tenants, backtestTenants) {
		err := h.each(ctx, only, some, func(id tenant.ID, s *series) {
			out.Episodes = append(out.Episodes, clock.replay(id, targets.of(&d, id), s, fleet)...)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out.Episodes, func(a, b Episode) int {
		if c := a.OpenedAt.Compare(b.OpenedAt); c != 0 {
			return c
		}
		return strings.Compare(string(a.Tenant), string(b.Tenant))
	})
	return out, nil
}

// first returns where the earliest of the windows begins.
func (w windows) first() time.Time {
	first := w.budget
	for _, p := range w.pairs {
		if p.long.Before(first) {
			first = p.long
		}
	}
	return first
}

// history reads the requests that a definition counts, minute by minute.
type history struct {
	r        *Reader
	d        *Definition
	zero, to time.Time
	from     string // a FROM clause whose rows have tenant, minute, good and total
}

// choose settles what is read and returns its name.
func (h *history) choose(ctx context.Context) (string, error) {
	stretch := fmt.Sprintf("%%[1]s >= %s AND %%[1]s < %s", literal(h.zero), literal(h.to))
	now, err := h.r.o.Store.Get(ctx, h.d.Name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	if now != nil && now.sameSLI(h.d) {
		h.from = fmt.Sprintf(`(SELECT tenant, minute, good, total FROM sli_1m WHERE slo = '%s' AND revision = %d AND %s)`,
			h.d.Name, now.SLIRevision, fmt.Sprintf(stretch, "minute"))
		return "rollup", nil
	}
	h.from = fmt.Sprintf(`(SELECT tenant, toStartOfMinute(ts) AS minute, toUInt64(error = 0 AND duration_ns <= {threshold:UInt64}) AS good, toUInt64(1) AS total
    FROM requests
    WHERE product = {product:String} AND %s
        AND ({service:String} = '' OR service = {service:String})
        AND (empty({route:String}) OR match(route, {route:String}))
        AND (empty({exclude:String}) OR NOT match(route, {exclude:String}))
        AND (empty({methods:Array(String)}) OR has({methods:Array(String)}, method))
        AND NOT has({statuses:Array(UInt16)}, status))`, fmt.Sprintf(stretch, "ts"))
	return "requests", nil
}

// parameters are those of from, and those of the caller.
func (h *history) parameters(more ch.Parameters) ch.Parameters {
	o := newObjective(h.d)
	quoted := make([]string, len(o.Methods))
	for i, m := range o.Methods {
		quoted[i] = "'" + m + "'" // of capital letters, hyphens and underscores
	}
	p := ch.Parameters{
		"product": escapeParameter(o.Product), "service": escapeParameter(o.Service), "route": escapeParameter(o.RouteRegexp),
		"exclude": escapeParameter(o.ExcludeRegexp), "threshold": fmt.Sprint(o.ThresholdNs),
		"methods":  "[" + strings.Join(quoted, ",") + "]",
		"statuses": "[" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(o.ExcludeStatuses)), ","), "[]") + "]",
	}
	for name, value := range more {
		p[name] = value
	}
	return p
}

// scope is for one tenant, or for all.
func (h *history) scope(ctx context.Context, only *tenant.ID, more ch.Parameters) context.Context {
	if only != nil {
		ctx = clickhouse.InTenant(ctx, *only)
	} else {
		ctx = clickhouse.AcrossTenants(ctx)
	}
	return ch.Context(ctx, ch.WithParameters(h.parameters(more)))
}

func (h *history) minutes() int { return int(h.to.Sub(h.zero) / time.Minute) }

// fleet returns the requests of all tenants together, or of the only one.
func (h *history) fleet(ctx context.Context, only *tenant.ID) (*series, error) {
	rows, err := h.r.o.ClickHouse.Query(h.scope(ctx, only, nil),
		`SELECT minute, sum(good), sum(total) FROM `+h.from+` GROUP BY minute ORDER BY minute`)
	if err != nil {
		return nil, fmt.Errorf("cannot read the history of SLO %q: %w", h.d.Name, err)
	}
	defer func() { _ = rows.Close() }()
	s := newSeries(h.zero, h.minutes())
	for rows.Next() {
		var minute time.Time
		var c Counts
		if err := rows.Scan(&minute, &c.Good, &c.Total); err != nil {
			return nil, fmt.Errorf("cannot scan the history of SLO %q: %w", h.d.Name, err)
		}
		s.put(minute, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the history of SLO %q: %w", h.d.Name, err)
	}
	s.fill(h.minutes())
	return s, nil
}

// tenants returns those that had requests.
func (h *history) tenants(ctx context.Context, only *tenant.ID) ([]tenant.ID, error) {
	rows, err := h.r.o.ClickHouse.Query(h.scope(ctx, only, nil), `SELECT DISTINCT toString(tenant) AS id FROM `+h.from+` ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("cannot list the tenants of SLO %q: %w", h.d.Name, err)
	}
	defer func() { _ = rows.Close() }()
	var all []tenant.ID
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("cannot scan a tenant of SLO %q: %w", h.d.Name, err)
		}
		all = append(all, tenant.ID(id))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot list the tenants of SLO %q: %w", h.d.Name, err)
	}
	return all, nil
}

// each calls f with the requests of each of the tenants, which are in order, one after the other.
func (h *history) each(ctx context.Context, only *tenant.ID, tenants []tenant.ID, f func(tenant.ID, *series)) error {
	rows, err := h.r.o.ClickHouse.Query(h.scope(ctx, only, ch.Parameters{
		"first": escapeParameter(string(tenants[0])), "last": escapeParameter(string(tenants[len(tenants)-1])),
	}), `SELECT toString(tenant) AS id, minute, sum(good), sum(total) FROM `+h.from+`
WHERE tenant BETWEEN {first:String} AND {last:String}
GROUP BY id, minute ORDER BY id, minute`)
	if err != nil {
		return fmt.Errorf("cannot read the history of SLO %q: %w", h.d.Name, err)
	}
	defer func() { _ = rows.Close() }()
	var present tenant.ID
	var s *series
	finish := func() {
		if s != nil {
			s.fill(h.minutes())
			f(present, s)
		}
	}
	for rows.Next() {
		var id string
		var minute time.Time
		var c Counts
		if err := rows.Scan(&id, &minute, &c.Good, &c.Total); err != nil {
			return fmt.Errorf("cannot scan the history of SLO %q: %w", h.d.Name, err)
		}
		if s == nil || tenant.ID(id) != present {
			finish()
			present, s = tenant.ID(id), newSeries(h.zero, h.minutes())
		}
		s.put(minute, c)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("cannot read the history of SLO %q: %w", h.d.Name, err)
	}
	finish()
	return nil
}
