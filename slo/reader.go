package slo

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// Plans tells which plan each tenant is on; *tenant.Store does.
type Plans interface {
	Plans(ctx context.Context) (map[tenant.ID]tenant.Plan, error)
}

// ReaderOptions are what a Reader needs. All but Terms and MaxAge are required.
type ReaderOptions struct {
	ClickHouse driver.Conn
	Store      *Store
	Plans      Plans
	Terms      Terms         // targets of tenants and plans besides those of definitions; none by default
	MaxAge     time.Duration // how old Snapshot's answer may be; 15 s by default, so that it lasts from one of the engine's to the next
}

// Reader reads how SLOs stand. It is safe for concurrent use.
type Reader struct {
	o      ReaderOptions
	flight singleflight.Group // by the changes and by who sees the same

	mu      sync.Mutex           // guards last and changes; never held across a query
	last    map[string]*Snapshot // by what those are confined to who may see it, see clickhouse.Confined
	changes int                  // of definitions, as far as this process made them
}

// evaluationTimeout bounds an evaluation that several callers wait for.
const evaluationTimeout = 30 * time.Second

// NewReader returns a reader over the rollups in the connection's database.
func NewReader(o ReaderOptions) (*Reader, error) {
	if o.ClickHouse == nil || o.Store == nil || o.Plans == nil {
		return nil, fmt.Errorf("cannot make an SLO reader without ClickHouse, store and plans")
	}
	if o.MaxAge == 0 {
		o.MaxAge = 15 * time.Second
	}
	return &Reader{o: o}, nil
}

// Snapshot returns every SLO for every tenant, at most MaxAge old. It crosses tenants; for a context that is confined, those
// that it sees, also in the numbers of the fleet. Callers that come at once and see the same share one evaluation; the
// result is shared and must not be changed.
func (r *Reader) Snapshot(ctx context.Context) (*Snapshot, error) {
	key, _ := clickhouse.Confined(ctx)
	s, changes := r.cached(key)
	if s != nil {
		return s, nil
	}
	// The evaluation serves all who wait, so the first one's leaving must not end it.
	result := r.flight.DoChan(fmt.Sprint(changes, " ", key), func() (any, error) {
		if s, _ := r.cached(key); s != nil {
			return s, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), evaluationTimeout)
		defer cancel()
		return r.Evaluate(ctx, time.Now())
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-result:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*Snapshot), nil
	}
}

// cached returns the last snapshot of those who are confined so, nil when it is too old, and how many changes there were.
func (r *Reader) cached(key string) (*Snapshot, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.last[key]; s != nil && time.Since(s.At) < r.o.MaxAge {
		return s, r.changes
	}
	return nil, r.changes
}

// Forget makes the next Snapshot evaluate anew, also when an evaluation runs: after SLOs have changed.
func (r *Reader) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = nil
	r.changes++
}

// Evaluate evaluates every SLO for every tenant as of now, which Snapshot then answers from. It crosses tenants.
func (r *Reader) Evaluate(ctx context.Context, now time.Time) (*Snapshot, error) {
	r.mu.Lock()
	changes := r.changes
	r.mu.Unlock()
	defs, err := r.o.Store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the SLOs: %w", err)
	}
	plans, err := r.o.Plans.Plans(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tenants' plans: %w", err)
	}
	counts, err := r.countsOfAllTenants(ctx, defs, now)
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(ctx, plans)
	if err != nil {
		return nil, err
	}
	s := newSnapshot(defs, counts, targets, now)
	key, _ := clickhouse.Confined(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.last[key]; changes == r.changes && (old == nil || old.At.Before(s.At)) {
		if r.last == nil {
			r.last = map[string]*Snapshot{}
		}
		maps.DeleteFunc(r.last, func(_ string, old *Snapshot) bool { return now.Sub(old.At) > r.o.MaxAge })
		r.last[key] = s
	}
	return s, nil
}

// countsOfAllTenants returns, for each definition by its place, the windows of every tenant that it has counts of.
func (r *Reader) countsOfAllTenants(ctx context.Context, defs []Definition, now time.Time) ([]map[tenant.ID]windowCounts, error) {
	return r.counts(clickhouse.AcrossTenants(ctx), defs, now, everybody{})
}

// counts returns the same for some tenants, with what corrections take out of them.
func (r *Reader) counts(ctx context.Context, defs []Definition, now time.Time, who audience) ([]map[tenant.ID]windowCounts, error) {
	out := make([]map[tenant.ID]windowCounts, len(defs))
	if len(defs) == 0 {
		return out, nil
	}
	all := make([]int, len(defs))
	for i := range defs {
		all[i] = i
		out[i] = map[tenant.ID]windowCounts{}
	}
	corrections, err := r.o.Store.CorrectionsInForce(ctx)
	if err != nil {
		return nil, err
	}
	plan := newReadPlan(now, startsOf(defs, now))
	err = r.read(ctx, plan, defs, all, who, func(def int, id tenant.ID, counts []Counts) {
		c := out[def][id]
		c.add(plan.starts, counts)
		out[def][id] = c
	})
	if err != nil {
		return nil, err
	}
	for _, e := range exclusions(defs, corrections, plan.starts[0], endOf(now)) {
		them := who
		if len(e.tenants) > 0 {
			if them = who.among(e.tenants); them == nil {
				continue
			}
		}
		err = r.read(ctx, plan.only(e.spans), defs, e.defs, them, func(def int, id tenant.ID, counts []Counts) {
			if c, ok := out[def][id]; ok {
				c.exclude(counts)
				out[def][id] = c
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// read reads what a plan says for the definitions at some places and calls f, not at once from several goroutines, with
// the requests from each of the first starts on. A tenant comes once for each rollup that has it.
func (r *Reader) read(ctx context.Context, plan readPlan, defs []Definition, places []int, who audience, f func(def int, id tenant.ID, counts []Counts)) error {
	type key struct {
		slo      string
		revision uint32
	}
	place := make(map[key]int, len(places))
	some := make([]Definition, len(places))
	for i, p := range places {
		some[i] = defs[p]
		place[key{defs[p].Name, defs[p].SLIRevision}] = p
	}
	var mu sync.Mutex // one call of f at a time
	where, parameters := who.where()
	g, ctx := errgroup.WithContext(ch.Context(ctx, ch.WithParameters(parameters)))
	for _, tier := range plan.tiers() {
		g.Go(func() error {
			rows, err := r.o.ClickHouse.Query(ctx, plan.sql(tier, some, where))
			if err != nil {
				return fmt.Errorf("cannot read the counts of %d SLOs: %w", len(some), err)
			}
			defer func() { _ = rows.Close() }()
			var (
				k      key
				id     string
				counts = make([]Counts, plan.within(tier))
				row    = []any{&k.slo, &k.revision, &id}
			)
			for i := range counts {
				row = append(row, &counts[i].Good, &counts[i].Total)
			}
			for rows.Next() {
				if err := rows.Scan(row...); err != nil {
					return fmt.Errorf("cannot scan the counts of an SLO: %w", err)
				}
				if p, ok := place[k]; ok { // else of another revision
					mu.Lock()
					f(p, tenant.ID(id), counts)
					mu.Unlock()
				}
			}
			if err := rows.Err(); err != nil {
				return fmt.Errorf("cannot read the counts of %d SLOs: %w", len(some), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Status returns how one SLO stands for one tenant as of now, read for it alone. A tenant without requests has no data.
// The error is NotFound when there is no such SLO.
func (r *Reader) Status(ctx context.Context, t tenant.ID, name string, now time.Time) (*Status, error) {
	d, err := r.o.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	plans, err := r.o.Plans.Plans(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tenants' plans: %w", err)
	}
	counts, err := r.counts(clickhouse.InTenant(ctx, t), []Definition{*d}, now, onlyTenants{t})
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(ctx, plans)
	if err != nil {
		return nil, err
	}
	s := evaluate(d, t, targets.of(d, t), counts[0][t], d.windowsAt(now), now.UTC())
	return &s, nil
}

// escapeParameter writes a string as ClickHouse wants a query parameter's value: as in a tab-separated file.
func escapeParameter(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`, `'`, `\'`).Replace(s)
}

// FleetStatus returns how one SLO stands over all tenants together, against its own target, at most MaxAge old. The
// error is NotFound when there is no such SLO.
func (r *Reader) FleetStatus(ctx context.Context, name string) (*Status, error) {
	s, err := r.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	for i := range s.Fleet {
		if s.Fleet[i].SLO == name {
			return &s.Fleet[i], nil
		}
	}
	return nil, notFound(name)
}

// Days returns an SLO's requests over all tenants on each of the last days, by UTC, the oldest first and today last. Days
// without requests have none. The error is NotFound when there is no such SLO.
func (r *Reader) Days(ctx context.Context, name string, days int) ([]DayCounts, error) {
	return r.days(ctx, name, days, time.Now())
}

func (r *Reader) days(ctx context.Context, name string, days int, now time.Time) ([]DayCounts, error) {
	d, err := r.o.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	first := now.UTC().Truncate(day).Add(-time.Duration(days-1) * day)
	out := make([]DayCounts, days)
	for i := range out {
		out[i].Day = first.Add(time.Duration(i) * day)
	}
	ctx = ch.Context(clickhouse.AcrossTenants(ctx), ch.WithParameters(ch.Parameters{
		"slo": name, "revision": fmt.Sprint(d.SLIRevision), "first": first.Format(time.DateTime), "last": now.UTC().Format(time.DateTime),
	}))
	rows, err := r.o.ClickHouse.Query(ctx, `
		SELECT toUInt32(intDiv(toUnixTimestamp(hour) - toUnixTimestamp({first:DateTime('UTC')}), 86400)) AS day, sum(good), sum(total)
		FROM sli_1h
		WHERE slo = {slo:String} AND revision = {revision:UInt32} AND hour >= {first:DateTime('UTC')} AND hour <= {last:DateTime('UTC')}
		GROUP BY day`)
	if err != nil {
		return nil, fmt.Errorf("cannot read the days of SLO %q: %w", name, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var i uint32
		var c Counts
		if err := rows.Scan(&i, &c.Good, &c.Total); err != nil {
			return nil, fmt.Errorf("cannot scan a day of SLO %q: %w", name, err)
		}
		if int(i) < days {
			out[i].Counts = c
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the days of SLO %q: %w", name, err)
	}
	return out, nil
}
