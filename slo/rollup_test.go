package slo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/tenant"
)

// glob is the plain meaning of a route pattern, apart from the expression that ClickHouse gets.
func glob(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return glob(pattern[1:], s) || s != "" && glob(pattern, s[1:])
	}
	return s != "" && s[0] == pattern[0] && glob(pattern[1:], s[1:])
}

// counts says whether the definition counts the request, and whether it is good.
func (d *Definition) counts(r request) (counted, good bool) {
	any := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, r.Route) })
	}
	s := d.Selector
	counted = r.Product == s.Product && (s.Service == "" || r.Service == s.Service) && (len(s.Routes) == 0 || any(s.Routes)) &&
		!any(s.ExcludeRoutes) && (len(s.Methods) == 0 || slices.Contains(s.Methods, r.Method)) &&
		!slices.Contains(s.ExcludeStatuses, r.Status)
	return counted, counted && r.Error == 0 && (d.Kind != Latency || r.DurationNs <= uint64(d.Threshold))
}

// Good and total of every window equal those counted from the requests themselves, for random definitions, traffic, late
// data and the moment of asking; for all tenants at once as for one.
func TestRollupsEqualRequests(t *testing.T) {
	t.Parallel()
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testRollups(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func testRollups(t *testing.T, r *rand.Rand) {
	e := newEnv(t)
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	some := func(from ...string) []string {
		r.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
		return from[:r.IntN(len(from)+1)]
	}
	routes := []string{"/a", "/a/b", "/a/b/c", "/[x].y", "/a%_b", "/é/{id}", "", "a\nb", "POST /a", "*"}
	patterns := []string{"/a", "/a/*", "/*", "*b*", "/[x].y", "/a%_b", "/é/{id}", "*/c", "a*b", "POST *"}
	defs := make([]Definition, 1+r.IntN(6))
	for i := range defs {
		d := &defs[i]
		*d = Definition{
			Name: fmt.Sprintf("slo-%d", i), Title: "t", Kind: Availability, Target: 990_000,
			Window: time.Duration(7+r.IntN(60)) * day,
			Selector: Selector{
				Product: pick("p1", "p2"), Service: pick("", "s1", "s2"), Routes: some(patterns...),
				ExcludeRoutes: some(patterns...)[:0:0], Methods: some("GET", "POST"),
			},
		}
		if r.IntN(2) == 0 {
			d.Selector.ExcludeRoutes = []string{patterns[r.IntN(len(patterns))]}
		}
		if r.IntN(2) == 0 {
			d.Selector.ExcludeStatuses = []uint16{404, 503}
		}
		if r.IntN(2) == 0 {
			d.Kind, d.Threshold = Latency, time.Duration(1+r.IntN(1000))*time.Millisecond
		}
		if r.IntN(3) == 0 {
			d.Calendar = &Calendar{Count: 1, Unit: pick("w", "M", "Q"), Start: "2026-01-05 00:00:00", TimeZone: pick("UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin")}
			d.Window = d.Calendar.nominal()
		}
		for range 1 + r.IntN(3) {
			long := time.Duration(2+r.IntN(4000)) * time.Minute
			d.Policy.Windows = append(d.Policy.Windows, BurnWindow{
				Long: long, Short: time.Duration(1+r.IntN(int(long/time.Minute)-1)) * time.Minute, Factor: 10, Severity: Page,
			})
		}
	}
	if _, err := e.store.Apply(t.Context(), "tester", defs, false); err != nil {
		t.Fatal(err)
	}
	defs, err := e.store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	now := time.Now().UTC().Add(-time.Duration(r.Int64N(int64(2 * day)))) // ClickHouse drops what is too old
	tenants := []string{"", "t1", "t2", `o'neill\`, "tab\\there", "ünï", `{x}`}
	var all []request
	for range 5 {
		batch := make([]request, 200+r.IntN(800))
		for i := range batch {
			age := time.Duration(r.ExpFloat64() * float64([]time.Duration{time.Minute, time.Hour, 6 * time.Hour, 10 * day}[r.IntN(4)]))
			batch[i] = request{
				TS: now.Add(-age % (40 * day)).Add(time.Minute).Truncate(time.Nanosecond), Product: pick("p1", "p2", "p3", ""), Tenant: pick(tenants...),
				Service: pick("s1", "s2", "s3"), Route: pick(routes...), Method: pick("GET", "POST", ""), Version: "1",
				Status: []uint16{0, 200, 404, 500, 503}[r.IntN(5)], Error: uint8(r.IntN(2)), DurationNs: r.Uint64N(uint64(time.Second)),
			}
			if d := defs[r.IntN(len(defs))]; d.Kind == Latency && r.IntN(10) == 0 {
				batch[i].DurationNs = uint64(d.Threshold) + uint64(r.IntN(2)) // at the threshold and one over it
			}
		}
		e.insert(t, batch...)
		all = append(all, batch...)
	}

	var corrections []Correction
	names := []string{}
	for i := range defs {
		names = append(names, defs[i].Name)
	}
	for range r.IntN(6) {
		c := Correction{Reason: "maintenance", SLOs: some(slices.Clone(names)...), StartsAt: now.Add(-time.Duration(r.Int64N(int64(20 * day)))).Truncate(time.Minute)}
		c.EndsAt = c.StartsAt.Add(time.Duration(1+r.IntN(3000)) * time.Minute)
		for _, id := range some("t1", "t2", `o'neill\`, `{x}`) {
			c.Tenants = append(c.Tenants, tenant.ID(id))
		}
		if r.IntN(3) == 0 {
			c.Repeats, c.TimeZone = "FREQ=DAILY;INTERVAL=3", "Europe/Berlin"
		}
		if _, err := e.store.AddCorrection(t.Context(), "tester", c); err != nil {
			t.Fatal(err)
		}
		corrections = append(corrections, c)
	}
	// The plain meaning of a correction; days of 23 and 25 hours are left to its own test.
	excludes := func(c *Correction, d *Definition, q request) bool {
		if len(c.SLOs) > 0 && !slices.Contains(c.SLOs, d.Name) || len(c.Tenants) > 0 && !slices.Contains(c.Tenants, tenant.ID(q.Tenant)) {
			return false
		}
		for start := c.StartsAt; ; {
			if !q.TS.Before(start) && q.TS.Before(start.Add(c.EndsAt.Sub(c.StartsAt))) {
				return true
			}
			berlin, err := time.LoadLocation("Europe/Berlin")
			if err != nil {
				t.Fatal(err)
			}
			if start = start.In(berlin).AddDate(0, 0, 3); c.Repeats == "" || start.After(q.TS) {
				return false
			}
		}
	}
	end := endOf(now)
	want := func(d *Definition, id tenant.ID, start time.Time) (c Counts) {
		for _, q := range all {
			if counted, good := d.counts(q); counted && tenant.ID(q.Tenant) == id && q.TS.Before(end) && !q.TS.Before(start) &&
				!slices.ContainsFunc(corrections, func(c Correction) bool { return excludes(&c, d, q) }) {
				c.Total++
				if good {
					c.Good++
				}
			}
		}
		return c
	}
	check := func(how string, d *Definition, s *Status) {
		t.Helper()
		start := startOf(end, d.Window)
		if d.Calendar != nil {
			start, _ = d.Calendar.period(now)
		}
		if got, want := s.Counts, want(d, s.Tenant, start); got != want || !s.From.Equal(start) {
			t.Errorf("%s: %s of %q over %s from %s: %+v, want %+v", how, d.Name, s.Tenant, d.WindowWords(), s.From, got, want)
		}
		for _, b := range s.BurnRates {
			if got, want := b.LongCounts, want(d, s.Tenant, startOf(end, b.Long)); got != want {
				t.Errorf("%s: %s of %q over %s: %+v, want %+v", how, d.Name, s.Tenant, b.Long, got, want)
			}
			if got, want := b.ShortCounts, want(d, s.Tenant, startOf(end, b.Short)); got != want {
				t.Errorf("%s: %s of %q over %s: %+v, want %+v", how, d.Name, s.Tenant, b.Short, got, want)
			}
		}
	}
	snapshot, err := e.reader.Evaluate(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for i := range defs {
		d := &defs[i]
		for _, id := range tenants {
			s, err := e.reader.Status(t.Context(), tenant.ID(id), d.Name, now)
			if err != nil {
				t.Fatal(err)
			}
			check("Status", d, s)
			for _, s := range snapshot.ForTenant(tenant.ID(id)) {
				if s.SLO == d.Name {
					check("Snapshot", d, s)
					seen++
				}
			}
		}
		for id, n := range map[tenant.ID]Counts{"nobody": {}, "t1' OR 1=1 OR tenant='": {}} {
			if s, err := e.reader.Status(t.Context(), id, d.Name, now); err != nil || s.Counts != n || s.State != StateNoData {
				t.Errorf("Status of %q: %+v, %v", id, s, err)
			}
		}
	}
	if seen != len(snapshot.Statuses) {
		t.Errorf("%d of %d statuses are of known tenants and SLOs", seen, len(snapshot.Statuses))
	}
}

// A view behind the rollups fails halfway, as when ClickHouse is killed in the middle of an insert: the same insert with
// the same token fills what is missing and repeats nothing.
func TestRetriedInsertCountsOnce(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"requests", "sli_1m", "sli_1h"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.apply(t, yamlSLO("pay", "99.9")+yamlSLO("fast", "99", "threshold: 1s"))
			exec := func(sql string) {
				t.Helper()
				if err := e.ch.Owner.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			exec("CREATE TABLE sink (x UInt64) ENGINE = Null")
			exec("CREATE MATERIALIZED VIEW zz_broken TO sink AS SELECT throwIf(1) AS x FROM " + source)
			insert := func() error {
				ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{
					"insert_deduplication_token": "token-1", "deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0,
				}))
				return e.ch.Owner.Exec(ctx, `INSERT INTO requests
					SELECT toDateTime64('2026-11-23 10:00:00', 9, 'UTC') + number % 7200, 'shop', 't' || toString(number % 10),
						's', '/', 'GET', '1', 200, number % 3 = 0, 1 FROM numbers(10000)`)
			}
			if err := insert(); err == nil || !strings.Contains(err.Error(), "throwIf") {
				t.Fatalf("the insert should have failed in the broken view: %v", err)
			}
			exec("DROP VIEW zz_broken")
			for range 3 {
				if err := insert(); err != nil {
					t.Fatal(err)
				}
			}
			for _, table := range []string{"sli_1m", "sli_1h"} {
				var good, total uint64
				err := e.ch.Owner.QueryRow(t.Context(), "SELECT sum(good), sum(total) FROM "+table+" WHERE slo = 'pay'").Scan(&good, &total)
				if err != nil || total != 10_000 || good != 6_666 {
					t.Errorf("%s has %d good of %d (%v), want 6666 of 10000", table, good, total, err)
				}
			}
		})
	}
}

// Two batches that sum up to the very same rows of the rollups are two all the same: what a view writes is known by the
// batch's token, not by what it holds.
func TestEqualBatchesCountTwice(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	for i := range 5 {
		ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{
			"insert_deduplication_token": fmt.Sprint("token-", i), "deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0,
		}))
		if err := e.ch.Owner.Exec(ctx, `INSERT INTO requests SELECT now64(9) - 7200, 'shop', 'acme', 's', '/', 'GET', '1', 200, 0, 1 FROM numbers(100)`); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"sli_1m", "sli_1h"} {
		var total uint64
		if err := e.ch.Owner.QueryRow(t.Context(), "SELECT sum(total) FROM "+table).Scan(&total); err != nil || total != 500 {
			t.Errorf("%s has %d requests (%v), want 500", table, total, err)
		}
	}
}

// The longest selector that Parse lets through is one that ClickHouse compiles, for any route.
func TestLargestSelector(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	d := Definition{Name: "big", Kind: Availability, Target: 990_000, Window: 30 * day, Selector: Selector{Product: "shop"}}
	for i := range maxPatterns {
		p := fmt.Sprintf("/%d", i) + strings.Repeat("*é(", 100)
		d.Selector.Routes = append(d.Selector.Routes, p[:maxPatternLen-maxPatternLen%2-1]+"*")
	}
	for i, p := range d.Selector.Routes {
		d.Selector.Routes[i] = strings.ToValidUTF8(p, "*")
	}
	d.Selector.ExcludeRoutes = d.Selector.Routes
	if err := d.check(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.store.Apply(t.Context(), "tester", []Definition{d}, false); err != nil {
		t.Fatal(err)
	}
	var rs []request
	for _, route := range []string{"", "/1", "\xff\xfe", strings.Repeat("/1é(", 5000), d.Selector.Routes[3]} {
		rs = append(rs, request{TS: time.Now(), Product: "shop", Route: route})
	}
	e.insert(t, rs...)
}
