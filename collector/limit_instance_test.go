package collector

import (
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Beyond what a service may show of new versions, and a tenant of new databases, they are counted under "other"; those that
// are known go on, whoever has them, and the spans keep theirs.
func TestNewVersionsAndInstancesAreLimited(t *testing.T) {
	start := time.Now()
	q := testQuotas(0, 0)
	q.Unregistered.NewRoutesPerHour = 2
	l := newLimiter(q, nil, discard, start)
	lanes := []*decoder{limitedDecoder(l), limitedDecoder(l)}
	want := func(lane int, id string, after time.Duration, names, counted string) {
		t.Helper()
		var versions, stored, instances []string
		for _, name := range strings.Fields(names) {
			req := export(server("x", text("tenant.id", id)),
				span("call", tracepb.Span_SPAN_KIND_CLIENT, text("tenant.id", id), text("db.system.name", "postgresql"), text("server.address", name)))
			for _, a := range req.ResourceSpans[0].Resource.Attributes {
				if a.Key == "service.version" {
					a.Value = text("", name).Value
				}
			}
			cols := newColumns()
			if _, err := lanes[lane].decode(request{signal: traces, body: encode(t, req)}, cols, start.Add(after)); err != nil {
				t.Fatal(err)
			}
			only := func(c *dictColumn) string { return c.values[c.keys[0]] }
			versions, stored, instances = append(versions, only(&cols.requests.version)), append(stored, only(&cols.spans.version)), append(instances, only(&cols.load.instance))
		}
		for what, got := range map[string][]string{counted: versions, names: stored} {
			if strings.Join(got, " ") != what {
				t.Errorf("%s shows versions %s: got %q, want %q", id, names, got, what)
			}
		}
		if got := strings.Join(instances, " "); got != counted {
			t.Errorf("%s calls %s: counted as %q, want %q", id, names, got, counted)
		}
	}
	want(0, "acme", 0, "1 2 1 3", "1 2 1 other")
	want(1, "acme", 0, "3 2 4", "other 2 other")
	want(1, "globex", 0, "1 2 3", "1 2 3") // what is known is free
	want(0, "acme", 0, "3 4", "3 other")
	want(0, "acme", 31*time.Minute, "4 5", "4 other") // one has come back
}
