package collector

import (
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
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
