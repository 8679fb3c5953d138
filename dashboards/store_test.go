package dashboards

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// request is a row of the table requests, as far as the tests vary it.
type request struct {
	At       time.Time
	Product  string
	Tenant   tenant.ID
	Route    string
	Failed   bool
	Duration time.Duration
}

// insert writes requests as the collector does: the rollups fill themselves.
func insert(t testing.TB, db *testenv.ClickHouse, list []request) {
	t.Helper()
	b, err := db.Owner.PrepareBatch(t.Context(), "INSERT INTO requests")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		status, failed := uint16(200), uint8(0)
		if r.Failed {
			status, failed = 503, 1
		}
		if err := b.Append(r.At, r.Product, string(r.Tenant), r.Product+"-svc", r.Route, "GET", "1.0.0", status, failed,
			uint64(r.Duration)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
}

// nearestRank returns the exact percentile of durations in milliseconds.
func nearestRank(d []time.Duration, level float64) float64 {
	s := slices.Clone(d)
	slices.Sort(s)
	return float64(s[max(0, int(math.Ceil(level*float64(len(s))))-1)]) / 1e6
}

func newTestStore(t testing.TB) (*store, *testenv.ClickHouse) {
	db := testenv.NewClickHouse(t)
	return &store{conn: db.Conn}, db
}

// The promise of the histograms: percentiles within 1.1 % of the exact ones, whatever the shape.
func TestPercentilesAreWithinTheirBound(t *testing.T) {
	s, db := newTestStore(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	end := time.Now().UTC().Truncate(time.Hour)
	shapes := map[tenant.ID]func() time.Duration{
		"constant":  func() time.Duration { return 1234567 * time.Nanosecond },
		"uniform":   func() time.Duration { return time.Duration(rnd.Int64N(int64(3 * time.Second))) },
		"lognormal": func() time.Duration { return time.Duration(math.Exp(rnd.NormFloat64()*1.2+18) * 1) },
		"bimodal": func() time.Duration {
			if rnd.IntN(10) == 0 {
				return 2*time.Second + time.Duration(rnd.Int64N(int64(time.Second)))
			}
			return time.Millisecond + time.Duration(rnd.Int64N(int64(30*time.Millisecond)))
		},
		"tiny": func() time.Duration { return time.Duration(rnd.Int64N(3)) + 1 },
	}
	exact := map[tenant.ID][]time.Duration{}
	var rows []request
	for id, f := range shapes {
		for range 4000 {
			d := f()
			exact[id] = append(exact[id], d)
			rows = append(rows, request{end.Add(-time.Duration(rnd.Int64N(int64(time.Hour)))), "shop", id, fmt.Sprintf("/r%d", rnd.IntN(3)), rnd.IntN(50) == 0, d})
		}
	}
	insert(t, db, rows)

	check := func(what string, id tenant.ID, l Latency) {
		t.Helper()
		for level, got := range map[float64]float64{0.5: l.P50, 0.95: l.P95, 0.99: l.P99} {
			want := nearestRank(exact[id], level)
			// A bucket of whole nanoseconds cannot be closer than the nanosecond.
			if math.Abs(got-want) > want*0.011 && id != "tiny" {
				t.Errorf("%s %s: P%g is %g ms, exact %g ms: off by %.2f %%", what, id, level*100, got, want, 100*(got-want)/want)
			}
		}
	}
	for _, w := range []window{
		{From: end.Add(-time.Hour), To: end, Step: time.Hour},
		{From: end.Add(-24 * time.Hour), To: end, Step: 24 * time.Hour}, // the hourly rollup
	} {
		list, err := s.totalsAcrossTenants(t.Context(), w, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != len(shapes) {
			t.Fatalf("got %d tenants, want %d", len(list), len(shapes))
		}
		for _, r := range list {
			check("totals", r.Tenant, r.Latency)
			failed := uint64(0)
			for _, q := range rows {
				if q.Tenant == r.Tenant && q.Failed {
					failed++
				}
			}
			if r.Requests != 4000 || r.Errors != failed {
				t.Errorf("%s: %d requests, %d errors; want 4000, %d", r.Tenant, r.Requests, r.Errors, failed)
			}
			total, routes, products, err := s.routes(t.Context(), r.Tenant, w, 10)
			if err != nil {
				t.Fatal(err)
			}
			check("routes", r.Tenant, total.Latency)
			if total.Requests != 4000 || total.Errors != failed || len(routes) != 3 || !slices.Equal(products, []string{"shop"}) {
				t.Errorf("%s: routes %+v, %d rows, products %v", r.Tenant, total, len(routes), products)
			}
		}
	}
	points, err := s.series(t.Context(), "bimodal", seriesQuery{window: window{From: end.Add(-time.Hour), To: end, Step: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 1 {
		t.Fatalf("got %d points, want 1", len(points))
	}
	check("series", "bimodal", points[0].Latency)
}

func TestSeriesSumsToTotalsAndSeesOneTenantOnly(t *testing.T) {
	s, db := newTestStore(t)
	end := time.Now().UTC().Truncate(time.Minute)
	hostile := tenant.ID(`a'b\c"d; -- ü`)
	var rows []request
	for m := range 180 {
		at := end.Add(-time.Duration(m)*time.Minute - time.Second)
		rows = append(rows, request{at, "shop", hostile, "/a", m%10 == 0, 10 * time.Millisecond},
			request{at, "shop", hostile, "/b", false, 20 * time.Millisecond},
			request{at, "shop", "other", "/a", true, time.Second},
			request{at, "shop", tenant.Untagged, "/a", false, time.Second})
	}
	insert(t, db, rows)
	f := func(q seriesQuery, wantPoints int, wantRequests, wantErrors uint64) {
		t.Helper()
		points, err := s.series(t.Context(), hostile, q)
		if err != nil {
			t.Fatal(err)
		}
		var requests, failed uint64
		for i, p := range points {
			requests, failed = requests+p.Requests, failed+p.Errors
			if i > 0 && !p.At.Equal(points[i-1].At.Add(q.Step)) {
				t.Errorf("point %d is at %s, not a step after %s", i, p.At, points[i-1].At)
			}
			if (p.Requests == 0) != math.IsNaN(p.P95) {
				t.Errorf("point %d has %d requests and P95 %g", i, p.Requests, p.P95)
			}
		}
		if len(points) != wantPoints || requests != wantRequests || failed != wantErrors {
			t.Errorf("%+v: %d points, %d requests, %d errors; want %d, %d, %d", q, len(points), requests, failed, wantPoints, wantRequests, wantErrors)
		}
	}
	hour := window{From: end.Add(-time.Hour), To: end, Step: time.Minute}
	f(seriesQuery{window: hour}, 60, 120, 6)
	f(seriesQuery{window: hour, Route: "/a"}, 60, 60, 6)
	f(seriesQuery{window: hour, Route: "/b", Service: "shop-svc", Product: "shop"}, 60, 60, 0)
	f(seriesQuery{window: hour, Service: "no-such"}, 60, 0, 0)
	f(seriesQuery{window: window{From: end.Add(-200 * time.Minute), To: end, Step: time.Minute}}, 200, 360, 18)

	// The second wall: without its own condition the query still sees one tenant.
	var n uint64
	if err := db.Conn.QueryRow(clickhouse.InTenant(t.Context(), hostile), "SELECT sum(requests) FROM latency_1m").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 360 {
		t.Errorf("a query without a condition saw %d requests, want the tenant's 360", n)
	}
	_, routes, _, err := s.routes(t.Context(), tenant.Untagged, hour, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 1 || routes[0].Requests != 60 {
		t.Errorf("untagged routes: %+v", routes)
	}
	sparks, err := s.sparksAcrossTenants(t.Context(), hour, "", []tenant.ID{hostile, "other", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if v := sparks["other"]; len(v) != sparkPoints || math.Abs(v[15]-1000) > 11 {
		t.Errorf("sparkline of other: %v", v)
	}
	if v := sparks["absent"]; !math.IsNaN(v[0]) {
		t.Errorf("sparkline of absent: %v", v)
	}
	if p, err := s.productsAcrossTenants(t.Context()); err != nil || !slices.Equal(p, []string{"shop"}) {
		t.Errorf("products %v, %v", p, err)
	}
	list, err := s.totalsAcrossTenants(t.Context(), hour, "no-such")
	if err != nil || len(list) != 0 {
		t.Errorf("totals of an unknown product: %v, %v", list, err)
	}
}

func TestFailedRequests(t *testing.T) {
	s, db := newTestStore(t)
	end := time.Now().UTC().Truncate(time.Minute)
	b, err := db.Owner.PrepareBatch(t.Context(), "INSERT INTO trace_spans")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Owner.Exec(t.Context(), `INSERT INTO spans (ts, trace_id, tenant, kind, error, status_message, attributes)
		VALUES (?, 'abcdef0123456789', 'acme', 2, 1, 'of a former version', map('http.request.method', 'PUT'))`, end.Add(-10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	add := func(age time.Duration, id tenant.ID, kind, failed uint8, message, exception string) {
		t.Helper()
		if err := b.Append(end.Add(-age), "0123456789abcdef", "01234567", "", "shop", string(id), "shop-svc", "1.0.0", "GET /a", kind, "/a",
			uint16(503), failed, uint64(2*time.Second), message, exception, "http.request.method\xffx", "GET\xffy", ""); err != nil {
			t.Fatal(err)
		}
	}
	add(time.Minute, "acme", 2, 1, "status", "")
	add(2*time.Minute, "acme", 5, 1, "status", "no connection")
	add(3*time.Minute, "acme", 2, 0, "", "")    // did not fail
	add(4*time.Minute, "acme", 3, 1, "", "")    // no entry span
	add(5*time.Minute, "other", 2, 1, "", "")   // another tenant
	add(90*time.Minute, "acme", 2, 1, "", "")   // before the window
	add(-time.Minute, "acme", 2, 1, "", "late") // after it
	if err := b.Send(); err != nil {
		t.Fatal(err)
	}
	list, err := s.failed(t.Context(), "acme", window{From: end.Add(-time.Hour), To: end}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || list[0].Error != "status" || list[1].Error != "no connection" || list[2].Error != "of a former version" || list[2].Method != http.MethodPut {
		t.Fatalf("got %+v", list)
	}
	if r := list[0]; r.TraceID != "30313233343536373839616263646566" || r.Took != 2*time.Second || r.Method != http.MethodGet || r.Status != 503 {
		t.Errorf("got %+v", r)
	}
}

func TestTranslateNamesWhatIsAway(t *testing.T) {
	s, _ := newTestStore(t)
	err := s.query(clickhouse.AcrossTenants(t.Context()), "a slow thing", "SELECT no_such_column", nil)
	if err == nil || fault.Is(err, fault.Unavailable) {
		t.Errorf("a broken query: %v, want an internal error", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = s.query(clickhouse.AcrossTenants(ctx), "a slow thing", "SELECT sleepEachRow(0.2) FROM numbers(20) SETTINGS max_block_size = 1",
		func(driver.Rows) error { return nil })
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("a slow query: %v, want unavailable", err)
	}
}
