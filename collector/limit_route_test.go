package collector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// routesOf decodes requests with the routes for a tenant and returns those that they are counted under.
func routesOf(t *testing.T, d *decoder, id string, now time.Time, names ...string) (counted, stored string) {
	t.Helper()
	var spans []*tracepb.Span
	for _, n := range names {
		spans = append(spans, server("x", text("http.route", n), text("tenant.id", id)))
	}
	cols := newColumns()
	if _, err := d.decode(request{signal: traces, body: encode(t, export(spans...))}, cols, now); err != nil {
		t.Fatal(err)
	}
	list := func(c *dictColumn) string {
		var got []string
		for _, k := range c.keys {
			got = append(got, c.values[k])
		}
		return strings.Join(got, " ")
	}
	return list(&cols.requests.route), list(&cols.spans.route)
}

// Beyond the new routes of an hour a service's requests are counted under "other"; those that are known go on, whoever
// asks for them, and the spans keep theirs.
func TestNewRoutesAreLimited(t *testing.T) {
	start := time.Now()
	q := testQuotas(0, 0)
	q.Unregistered.NewRoutesPerHour = 3
	l := newLimiter(q, nil, discard, start)
	lanes := []*decoder{limitedDecoder(l), limitedDecoder(l)}
	want := func(lane int, id string, after time.Duration, names, counted string) {
		t.Helper()
		got, stored := routesOf(t, lanes[lane], id, start.Add(after), strings.Fields(names)...)
		if got != counted || stored != names {
			t.Errorf("%s asks for %s: counted under %s, stored as %s; want %s", id, names, got, stored, counted)
		}
	}
	want(0, "acme", 0, "/a /b /a /c", "/a /b /a /c")
	want(0, "acme", 0, "/d /a /e", "other /a other")
	want(1, "acme", 0, "/d /c", "other /c")
	want(1, "globex", 0, "/a /b /c /d /e /f /g", "/a /b /c /d /e /f other") // what is known is free
	want(0, "acme", 0, "/d /g", "/d other")
	want(0, "acme", 21*time.Minute, "/g /h", "/g other") // one has come back
	want(0, "acme", -5*time.Minute, "/i", "other")       // a clock that goes back
	want(0, "acme", 5*time.Hour, "/i /j /k /l /a", "/i /j /k other /a")
}

// Whatever routes a service invents, memory is bounded.
func TestRoutesAreBounded(t *testing.T) {
	r := newRoutes(1000)
	for i := range 200_000 {
		r.admit(r.hash([]byte("p"), []byte("s"), []byte(fmt.Sprint(i))), uint64(i), 10, int64(i))
	}
	if n := len(r.recent) + len(r.older); n > 1000 || len(r.spent) > maxSpent {
		t.Errorf("%d routes and %d spenders are remembered", n, len(r.spent))
	}
	r.forgetIdle(int64(2 * time.Hour))
	if len(r.spent) != 0 {
		t.Errorf("%d spenders are remembered", len(r.spent))
	}
}

// Routes that ClickHouse has are known after a restart.
func TestRoutesAreKnownAfterARestart(t *testing.T) {
	db, dir := testenv.NewClickHouse(t), t.TempDir()
	limit := func(n int64) func(*Options) {
		return func(o *Options) {
			o.Quotas = tenant.Quotas{Unregistered: tenant.Quota{NewRoutesPerHour: n}}
		}
	}
	r := start(t, db, dir, limit(10))
	for _, route := range []string{"/a", "/b", "/ü"} {
		r.send(t, server("x", text("http.route", route)))
	}
	r.awaitEmptySpool(t)
	r.stop()
	r = start(t, db, dir, limit(1))
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for known := 0; known < 3; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d routes are known", known)
		}
		r.limiter.routes.mu.Lock()
		known = len(r.limiter.routes.recent)
		r.limiter.routes.mu.Unlock()
	}
	for _, route := range []string{"/a", "/b", "/new", "/newer", "/ü"} {
		r.send(t, server("x", text("http.route", route)))
	}
	r.awaitEmptySpool(t)
	var got string
	if err := db.Conn.QueryRow(t.Context(), `
		SELECT arrayStringConcat(arraySort(groupArray(concat(route, ' ', toString(n)))), ', ') FROM
			(SELECT route, sum(requests) AS n FROM latency_1m GROUP BY route)`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "/a 2, /b 2, /new 1, /ü 2, other 1"; got != want {
		t.Errorf("counted: %s; want %s", got, want)
	}
}
