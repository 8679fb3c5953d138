package collector

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// Whatever names somebody invents, memory is bounded, and only its own are forgotten: those first that nobody asks for.
func TestNamesAreBounded(t *testing.T) {
	n := newNames(1000)
	name := func(owner string, i int) uint64 {
		return n.hash(routeName, []byte(owner), []byte("s"), []byte(fmt.Sprint(i)))
	}
	bring := func(owner string, i int) {
		n.admit(name(owner, i), n.hash(tenantName, []byte(owner)), uint64(i), 10, int64(i))
	}
	for i := range 200 {
		bring("quiet", i)
	}
	for i := range 200_000 {
		bring("flood", i)
		if i%100 == 0 {
			n.admit(name("flood", 7), 1, 1, 1, 0) // is in use
		}
	}
	for i := range 200 {
		if !n.isKnown(name("quiet", i)) {
			t.Fatalf("name %d of another is forgotten", i)
		}
	}
	if !n.isKnown(name("flood", 7)) || n.isKnown(name("flood", 8)) {
		t.Errorf("a name in use is known: %t; one that is not: %t", n.isKnown(name("flood", 7)), n.isKnown(name("flood", 8)))
	}
	if n.len() != 1000 || len(n.spent) > maxSpent {
		t.Errorf("%d names and %d spenders are remembered", n.len(), len(n.spent))
	}
	n.forgetIdle(int64(2 * time.Hour))
	if len(n.spent) != 0 {
		t.Errorf("%d spenders are remembered", len(n.spent))
	}
}

// A key that invents a tenant with each name has brought them all: nobody else's are forgotten for that.
func TestNamesOfInventedTenantsAreTheKeys(t *testing.T) {
	now := time.Now()
	l := newLimiter(tenant.Quotas{Unregistered: tenant.Quota{NewRoutesPerHour: 1000, NewServicesPerHour: 1000}}, registered{"acme": tenant.Starter}, discard, now)
	l.refresh(t.Context())
	l.names = newNames(1000)
	d, n := limitedDecoder(l), l.names
	bring := func(key int64, service string, routes int, id func(i int) string) {
		t.Helper()
		var spans []*tracepb.Span
		for i := range routes {
			spans = append(spans, server("x", text("http.route", fmt.Sprint("/", i)), text("tenant.id", id(i))))
		}
		req := export(spans...)
		req.ResourceSpans[0].Resource = &resourcepb.Resource{Attributes: attributes("service.name", service)}
		if out, err := d.decode(request{signal: traces, from: tenant.Identity{KeyID: key}, body: encode(t, req)}, newColumns(), now); err != nil || out.rejectedTotal() > 0 {
			t.Fatal(out, err)
		}
	}
	honest := []string{"acme", "globex"} // one is registered, one is not
	for _, id := range honest {
		bring(1, id, 200, func(int) string { return id })
	}
	for flood := range 20 {
		bring(2, fmt.Sprint("flood-", flood), 500, func(i int) string { return fmt.Sprint("invented-", flood, "-", i) })
	}
	for _, id := range honest {
		lost := 0
		for i := range 200 {
			if !n.isKnown(n.hash(routeName, nil, []byte(id), []byte(fmt.Sprint("/", i)))) {
				lost++
			}
		}
		if lost > 0 || !n.isKnown(n.hash(serviceName, nil, []byte(id))) {
			t.Errorf("%d routes of %s are forgotten", lost, id)
		}
	}
	if n.len() != 1000 || len(n.known.shares) != 3 {
		t.Errorf("%d names of %d owners are remembered, want 1000 of a tenant and two keys", n.len(), len(n.known.shares))
	}
}

// attributes makes some of keys and values.
func attributes(kv ...string) (all []*commonpb.KeyValue) {
	for i := 0; i < len(kv); i += 2 {
		all = append(all, text(kv[i], kv[i+1]))
	}
	return all
}

// cells returns what stands in a column, row by row.
func cells(c *dictColumn) []string {
	var got []string
	for _, k := range c.keys {
		got = append(got, c.values[k])
	}
	return got
}

// Beyond the new services of an hour all that comes of further ones is counted under "other", also their products if they
// are new; those that are known go on, whoever they serve, and another tenant's are not in the way.
func TestNewServicesAreLimited(t *testing.T) {
	start := time.Now()
	q := testQuotas(0, 0)
	q.Unregistered.NewServicesPerHour = 3
	l := newLimiter(q, nil, discard, start)
	lanes := []*decoder{limitedDecoder(l), limitedDecoder(l)}
	want := func(lane int, id string, after time.Duration, names, counted string) {
		t.Helper()
		var all tracepb.TracesData
		for _, name := range strings.Fields(names) {
			product, service, _ := strings.Cut(name, "/")
			call := span("call", tracepb.Span_SPAN_KIND_CLIENT, text("db.system.name", "redis"))
			all.ResourceSpans = append(all.ResourceSpans, &tracepb.ResourceSpans{
				Resource:   &resourcepb.Resource{Attributes: attributes("service.namespace", product, "service.name", service, "tenant.id", id)},
				ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{server("x"), call}}},
			})
		}
		cols := newColumns()
		out, err := lanes[lane].decode(request{signal: traces, body: encode(t, &all)}, cols, start.Add(after))
		if err != nil || out.rejectedTotal() > 0 {
			t.Fatal(out, err)
		}
		for _, in := range [][2]*dictColumn{{&cols.requests.product, &cols.requests.service}, {&cols.load.product, &cols.load.service}} {
			var got []string
			for i, p := range cells(in[0]) {
				got = append(got, p+"/"+cells(in[1])[i])
			}
			if strings.Join(got, " ") != counted {
				t.Errorf("%s shows %s: counted under %s, want %s", id, names, got, counted)
			}
		}
		if spans := cells(&cols.spans.service); len(slices.Compact(spans)) != len(slices.Compact(cells(&cols.requests.service))) {
			t.Errorf("%s shows %s: spans are of %s", id, names, spans)
		}
	}
	want(0, "acme", 0, "shop/a shop/b shop/a new/c", "shop/a shop/b shop/a new/c")
	want(0, "acme", 0, "shop/d newer/a shop/b /e", "shop/other other/other shop/b /other")
	want(1, "globex", 0, "shop/a new/c shop/d newer/a", "shop/a new/c shop/d newer/a")
	want(0, "acme", 0, "shop/d newer/b", "shop/d newer/other")
	want(1, "acme", 21*time.Minute, "shop/f shop/g", "shop/f shop/other") // one has come back
	want(1, "acme", 0, "/", "/")                                          // who names none is not new
}

// The same holds for what sends metrics, over OTLP and remote-write. The labels of their series say where they come from.
func TestNewServicesOfMetricsAreLimited(t *testing.T) {
	q := testQuotas(0, 0)
	q.Unregistered.NewServicesPerHour = 2
	now := time.Now()
	d := limitedDecoder(newLimiter(q, nil, discard, now))
	d.named, d.vocabulary = newNamedSeries(100), newMapped()
	d.opts.maxLabels, d.opts.maxBuckets, d.opts.maxPoints, d.opts.tenantLabels = 1000, 100, 100, []string{"tenant"}
	cols := newColumns()
	var all metricspb.MetricsData
	for i := range 4 {
		all.ResourceMetrics = append(all.ResourceMetrics, &metricspb.ResourceMetrics{
			Resource:     &resourcepb.Resource{Attributes: attributes("service.name", fmt.Sprint("s", i))},
			ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{gauge("redis.memory.used", double(now, 1)), gauge("m", double(now, 1))}}},
		})
	}
	if out, err := d.decode(request{signal: metricPoints, body: encode(t, &all)}, cols, now); err != nil || out.accepted != 8 {
		t.Fatal(out, err)
	}
	r := newRequest2()
	for _, job := range []string{"s0", "shop/s5"} {
		r.add(&writev2.TimeSeries{Samples: []*writev2.Sample{{Value: 1, Timestamp: now.UnixMilli()}}}, "__name__", "m", "job", job)
	}
	if out, err := d.decode(request{signal: remoteWrite2, body: encode(t, r.build())}, cols, now); err != nil || out.accepted != 2 {
		t.Fatal(out, err)
	}
	if got, want := fmt.Sprint(cells(&cols.metric.series.service)), "[s0 s0 s1 s1 other other other other s0 other]"; got != want {
		t.Errorf("series are of %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(cells(&cols.metric.resources.service)), "[s0 s1 other other]"; got != want {
		t.Errorf("resources are of %s, want %s", got, want)
	}
	if got := cells(&cols.metric.series.product); got[9] != otherName {
		t.Errorf("an unknown product is counted under %q", got[9])
	}
	// When the allowance has come back, the others' series are named anew, for they are of other services then.
	cols.metric.settle(d.named)
	cols.reset()
	if out, err := d.decode(request{signal: metricPoints, body: encode(t, &all)}, cols, now.Add(2*time.Hour)); err != nil || out.accepted != 8 {
		t.Fatal(out, err)
	}
	if got, want := fmt.Sprint(cells(&cols.metric.series.service)), "[s2 s2 s3 s3]"; got != want {
		t.Errorf("when they are known, series are of %s, want %s", got, want)
	}
}

// Whoever a point is counted for, its series has a name there, and shows nobody the labels of another tenant.
func TestSeriesAreNamedForWhomTheyAreCounted(t *testing.T) {
	type counted struct {
		tenant string
		series uint64
	}
	m := newMetricLane(newLimiter(tenant.Quotas{Key: tenant.KeyQuota{NewTenantsPerHour: 1}}, nil, discard, aDay), newNamedSeries(1000))
	named := map[counted]bool{}
	f := func(after time.Duration, want string, ids ...string) {
		t.Helper()
		var all []*metricspb.Metric
		for _, id := range ids {
			all = append(all, seriesOf(id, 0, 2))
		}
		now := aDay.Add(after)
		if out, err := m.decode(request{signal: metricPoints, body: bodyAt(t, now, all...)}, m.cols, now); err != nil || out.rejectedTotal() > 0 {
			t.Fatal(out, err)
		}
		c := m.cols.metric
		for i, id := range cells(&c.series.tenant) {
			named[counted{id, c.series.series[i]}] = true
		}
		got := cells(&c.points.tenant)
		for i, id := range got {
			if !named[counted{id, c.points.series[i]}] {
				t.Errorf("after %s a point is counted for %q, where its series has no name", after, id)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("after %s points are counted for %q, want %q", after, got, want)
		}
		m.store()
	}
	f(0, "a a  ", "a", "acme")
	f(time.Minute, "  a a", "acme", "a")
	f(2*time.Hour, "acme acme a a", "acme", "a")
}

// registered knows the plans of some tenants.
type registered map[tenant.ID]tenant.Plan

func (r registered) Plans(context.Context) (map[tenant.ID]tenant.Plan, error) { return r, nil }

// Beyond the new tenants of an hour what an API key sends is counted as untagged, and it is told so. Tenants that somebody
// registered, that are known, or that another key brings, are none of its concern.
func TestNewTenantsAreLimited(t *testing.T) {
	start := time.Now()
	q := testQuotas(0, 0)
	q.Key.NewTenantsPerHour = 2
	l := newLimiter(q, registered{"acme": tenant.Starter, "globex": tenant.Enterprise}, discard, start)
	l.refresh(t.Context())
	lanes := []*decoder{limitedDecoder(l), limitedDecoder(l)}
	want := func(lane int, key int64, after time.Duration, ids, counted, warns string) {
		t.Helper()
		var spans []*tracepb.Span
		for _, id := range strings.Fields(ids) {
			spans = append(spans, server("x", text("tenant.id", id)))
		}
		cols := newColumns()
		out, err := lanes[lane].decode(request{signal: traces, from: tenant.Identity{KeyID: key}, body: encode(t, export(spans...))}, cols, start.Add(after))
		if err != nil || out.accepted != len(spans) {
			t.Fatal(out, err)
		}
		if got := strings.Join(cells(&cols.requests.tenant), " "); got != counted {
			t.Errorf("key %d names %s: counted for %q, want %q", key, ids, got, counted)
		}
		if a := out.answer(); a.rejected != 0 || (a.message == "") != (warns == "") || !strings.Contains(a.message, warns) {
			t.Errorf("key %d names %s: answer %+v, want %q", key, ids, a, warns)
		}
	}
	want(0, 1, 0, "a acme b a globex", "a acme b a globex", "")
	want(0, 1, 0, "c a acme d", " a acme ", `tenant "c" is counted as untagged: this API key shows more than 2 new tenants an hour (key.new-tenants-per-hour)`)
	want(1, 2, 0, "a b e c f", "a b e c ", `tenant "f"`) // what is known is free
	want(1, 1, 0, "c e f", "c e ", `tenant "f"`)
	want(0, 1, 31*time.Minute, "g h", "g ", `tenant "h"`) // one has come back
	want(0, 1, 31*time.Minute, "acme globex", "acme globex", "")
	if n := l.accounts(); n != 8 {
		t.Errorf("%d tenants have an account, want 7 and one for all that is untagged", n)
	}
}

// Names that ClickHouse has are known after a restart: nobody pays for them again.
func TestNamesAreKnownAfterARestart(t *testing.T) {
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
	owners := 0
	for known := 0; known < 6; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d names are known, want the tenant, the product, the service and its routes", known)
		}
		r.limiter.names.mu.Lock()
		known, owners = len(r.limiter.names.known.things), len(r.limiter.names.known.shares)
		r.limiter.names.mu.Unlock()
	}
	if owners != 1 {
		t.Errorf("names that nobody registered has brought are of %d owners", owners)
	}
	for _, route := range []string{"/a", "/b", "/new", "/newer", "/ü"} {
		r.send(t, server("x", text("http.route", route)))
	}
	r.awaitEmptySpool(t)
	var got string
	if err := db.Owner.QueryRow(t.Context(), `
		SELECT arrayStringConcat(arraySort(groupArray(concat(route, ' ', toString(n)))), ', ') FROM
			(SELECT route, sum(requests) AS n FROM latency_1m GROUP BY route)`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "/a 2, /b 2, /new 1, /ü 2, other 1"; got != want {
		t.Errorf("counted: %s; want %s", got, want)
	}
}

// The same for tenants and services, of spans and of metrics. A sender that shows too many gets a warning and no error.
func TestTenantsAndServicesAreKnownAfterARestart(t *testing.T) {
	db, dir := testenv.NewClickHouse(t), t.TempDir()
	limit := func(n int64) func(*Options) {
		return func(o *Options) {
			o.Quotas = tenant.Quotas{Unregistered: tenant.Quota{NewServicesPerHour: n}, Key: tenant.KeyQuota{NewTenantsPerHour: n}}
		}
	}
	r := start(t, db, dir, limit(10))
	push := func(tenantID, service string) string {
		req := export(server("x"))
		req.ResourceSpans[0].Resource.Attributes = attributes("tenant.id", tenantID, "service.name", service)
		return r.sendBody(t, encode(t, req)).GetErrorMessage()
	}
	measure := func(tenantID, service string) {
		t.Helper()
		body := encode(t, &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
			Resource:     &resourcepb.Resource{Attributes: attributes("tenant.id", tenantID, "service.name", service)},
			ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{gauge("m", double(time.Now(), 1))}}},
		}}})
		if resp := r.post(t, "/v1/metrics", body); resp.status != http.StatusOK {
			t.Fatal(resp.status)
		}
	}
	for i := range 3 {
		push(fmt.Sprint("t", i), fmt.Sprint("s", i))
		measure(fmt.Sprint("m", i), fmt.Sprint("sm", i))
	}
	r.awaitEmptySpool(t)
	r.stop()
	r = start(t, db, dir, limit(1))
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := r.limiter.names; !n.isKnown(n.hash(tenantName, []byte("m2"))) || !n.isKnown(n.hash(serviceName, nil, []byte("s2"))); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("names are not learned")
		}
	}
	for i := range 3 {
		for _, prefix := range []string{"t", "m"} {
			if warning := push(prefix+fmt.Sprint(i), map[string]string{"t": "s", "m": "sm"}[prefix]+fmt.Sprint(i)); warning != "" {
				t.Error(warning)
			}
		}
	}
	if warning := push("new", "new"); warning != "" {
		t.Error(warning)
	}
	if warning := push("newer", "newer"); !strings.Contains(warning, `tenant "newer" is counted as untagged`) {
		t.Errorf("warning %q", warning)
	}
	push("new", "newest")
	r.awaitEmptySpool(t)
	var got string
	if err := db.Owner.QueryRow(t.Context(), `SELECT arrayStringConcat(arraySort(groupUniqArray(tenant || '/' || service)), ' ') FROM requests`).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "/newer m0/sm0 m1/sm1 m2/sm2 new/new new/other t0/s0 t1/s1 t2/s2"; got != want {
		t.Errorf("counted: %s; want %s", got, want)
	}
}
