package collector

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// pointQuotas are quotas of so many numbers a second for everybody, with bursts of a second.
func pointQuotas(perSecond int64) tenant.Quotas {
	return tenant.Quotas{Unregistered: tenant.Quota{PointsPerSecond: perSecond, BurstSeconds: 1}}
}

// Beyond its rate a tenant's points are refused, and nobody else's; a second later it has a second's again.
func TestPointsAreHeldToARate(t *testing.T) {
	l := newLimiter(pointQuotas(100), nil, discard, aDay)
	m := newMetricLane(l, newNamedSeries(1000))
	f := func(after time.Duration, refused int, ms ...*metricspb.Metric) {
		t.Helper()
		out := m.points(t, aDay.Add(after), aDay.Add(after), ms...)
		says := ""
		if refused > 0 {
			says = `tenant "acme" sends more than 100 numbers of metrics a second, the most that the plan "unregistered" allows (points-per-second)`
		}
		wantRefused(t, out, refused, says)
	}
	f(0, 50, seriesOf("acme", 0, 150), seriesOf("globex", 0, 100))
	f(0, 1, seriesOf("acme", 0, 1), seriesOf("initech", 0, 100))
	f(time.Second/2, 10, seriesOf("acme", 0, 60))
	f(time.Hour, 50, seriesOf("acme", 0, 150))
	l.report(aDay.Add(time.Hour))
	if over := l.worstOver(); len(over) != 1 || over[0].Tenant != "acme" || over[0].RefusedPoints != 111 || !strings.Contains(over[0].String(), "111 points refused") {
		t.Errorf("reported: %v", over)
	}
	a := l.account("acme", 0)
	if a.hard.spans != a.terms.hard.spans || a.main.tokens.spans != a.terms.soft.spans {
		t.Error("points were charged to spans")
	}
}

// Whatever comes when, through however many lanes: of a tenant no more is stored than the rate and a burst allow, but for
// what a lane may have on its way; and what is less than the rate is never refused.
func TestRateOfPointsHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(10, 1000).Draw(rt, "rate")
		l := newLimiter(pointQuotas(int64(rate)), nil, discard, aDay)
		named := newNamedSeries(1000)
		lanes := []*metricLane{newMetricLane(l, named), newMetricLane(l, named)}
		stored, offered, refused, now := 0, 0, 0, aDay
		for range rapid.IntRange(1, 40).Draw(rt, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(rt, "ms")) * time.Millisecond)
			n := rapid.IntRange(1, 200).Draw(rt, "points")
			m := lanes[rapid.IntRange(0, 1).Draw(rt, "lane")]
			body := bodyAt(t, now, seriesOf("acme", 0, n))
			if rapid.Bool().Draw(rt, "malformed") {
				_, _ = m.decode(request{signal: metricPoints, body: append(body, 0xff)}, m.cols, now)
				continue
			}
			out, err := m.decode(request{signal: metricPoints, body: body}, m.cols, now)
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "lost") {
				m.cols.cut(mark{})
				continue
			}
			m.store()
			stored, offered, refused = stored+out.accepted, offered+n, refused+out.rejected[overQuota]
		}
		allowed := float64(rate) * (1 + now.Sub(aDay).Seconds())
		if float64(stored) > allowed+2*maxVerdict {
			rt.Fatalf("%d of %d were stored, %f may be", stored, offered, allowed)
		}
		if offered <= rate && refused > 0 {
			rt.Fatalf("%d of %d were refused, though a burst is %d", refused, offered, rate)
		}
	})
}

// A point is as many numbers as it is stored as.
func TestPointsAreChargedByTheirNumbers(t *testing.T) {
	explicit := &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative,
		DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: uint64(aDay.UnixNano()), BucketCounts: []uint64{1, 2, 3}, ExplicitBounds: []float64{1, 2}, Sum: new(float64)}}}}}
	exponential := &metricspb.Metric{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: cumulative,
		DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: uint64(aDay.UnixNano()),
			Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: []uint64{1, 0, 3}},
			Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: []uint64{1}}}}}}}
	for _, c := range []struct {
		metric  *metricspb.Metric
		numbers int
	}{{seriesOf("acme", 0, 7), 7}, {explicit, 5}, {exponential, 5}} {
		l := newLimiter(pointQuotas(1000), nil, discard, aDay)
		m := newMetricLane(l, newNamedSeries(1000))
		for range 2 {
			if out := m.points(t, aDay, aDay, c.metric); out.numbers != c.numbers || out.work() != c.numbers {
				t.Errorf("%s: %d numbers, and %d of the key, want %d", c.metric.Name, out.numbers, out.work(), c.numbers)
			}
		}
		for _, r := range []request{{signal: metricPoints}, {signal: traces}} { // the account settles at the next request
			_, _ = m.decode(r, m.cols, aDay)
		}
		if a := l.account("acme", 0); a.points != float64(1000-2*c.numbers) {
			t.Errorf("%s: %f numbers are left of 1000", c.metric.Name, a.points)
		}
	}
}

// A small body can hold very many points: those beyond the limit are refused, the others stored.
func TestPointsOfARequestAreLimited(t *testing.T) {
	m := newMetricLane(nil, newNamedSeries(1000))
	m.opts.maxPoints = 100
	out := m.points(t, aDay, aDay, seriesOf("acme", 0, 150))
	want := "data_points: must not have more than 100 numbers in one request: send smaller batches"
	if out.accepted != 100 || out.rejected[tooMany] != 50 || !strings.Contains(out.first, want) {
		t.Errorf("%+v; want %q", out, want)
	}
	out = m.points(t, aDay, aDay, seriesOf("acme", 0, 100))
	if out.accepted != 100 || out.rejectedTotal() != 0 {
		t.Errorf("the next request: %+v", out)
	}
}

// A point that is refused half-way, of a malformed body or of a batch that is lost costs nothing.
func TestWhatIsNotStoredCostsNothing(t *testing.T) {
	now := time.Now()
	quotas := tenant.Quotas{Unregistered: tenant.Quota{SpansPerSecond: 1000, BytesPerSecond: 1 << 20, BurstSeconds: 1, HardLimit: 1,
		PointsPerSecond: 1000, NewSeriesPerHour: 100, ActiveSeries: 100}}
	wide := &metricspb.HistogramDataPoint{TimeUnixNano: uint64(now.UnixNano()), BucketCounts: make([]uint64, 200), ExplicitBounds: make([]float64, 199)}
	for i := range wide.ExplicitBounds {
		wide.ExplicitBounds[i] = float64(i)
	}
	histogram := &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative, DataPoints: []*metricspb.HistogramDataPoint{wide}}}}
	var spans, ofMany []*tracepb.Span
	for i := range 2 * maxSeen {
		if i < 900 {
			spans = append(spans, server("x"))
			ofMany = append(ofMany, server("x"))
		}
		ofMany = append(ofMany, server("x", text("tenant.id", fmt.Sprint("t", i))))
	}
	manyTenants, wholeSpans, wholePoints := encode(t, export(ofMany...)), encode(t, export(spans...)), bodyAt(t, now, seriesOf("acme", 0, 100))
	malformed := func(body []byte) []byte { return append(body[:len(body):len(body)], 0xff) }
	for name, spend := range map[string]func(m *metricLane, i int){
		"a refused histogram": func(m *metricLane, _ int) {
			wantRefused(t, m.points(t, now, now, histogram), 1, "100 metric series today")
		},
		"malformed points": func(m *metricLane, i int) {
			_, _ = m.decode(request{signal: metricPoints, body: malformed(bodyAt(t, now, seriesOf("acme", 100*i, 100*i+100)))}, m.cols, now)
		},
		"malformed spans": func(m *metricLane, _ int) {
			_, _ = m.decode(request{signal: traces, body: malformed(wholeSpans)}, m.cols, now)
		},
		"malformed spans of many tenants": func(m *metricLane, _ int) {
			_, _ = m.decode(request{signal: traces, body: malformed(manyTenants)}, m.cols, now)
		},
		"a lost batch": func(m *metricLane, _ int) {
			for _, r := range []request{{signal: traces, body: wholeSpans}, {signal: metricPoints, body: wholePoints}} {
				if out, err := m.decode(r, m.cols, now); err != nil || out.rejectedTotal() > 0 {
					t.Errorf("%+v, %v", out, err)
				}
			}
			m.cols.cut(mark{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetricLane(newLimiter(quotas, nil, discard, now), newNamedSeries(1000))
			for i := range 20 {
				spend(m, i)
			}
			wantRefused(t, m.points(t, now, now, seriesOf("acme", 5000, 5100)), 0, "")
			out, err := m.decode(request{signal: traces, body: wholeSpans}, m.cols, now)
			if err != nil || out.rejectedTotal() > 0 || out.sampledAway > 0 {
				t.Errorf("spans: %+v, %v", out, err)
			}
		})
	}
}

// While the disk fails, clients send the same again and again. That is not charged before it is stored.
func TestRequestsThatAreNotStoredAreNotCharged(t *testing.T) {
	var broken atomic.Bool
	d := newTestDisk(func(step, path string) error {
		if broken.Load() && step == "write" && strings.HasSuffix(path, segmentSuffix) {
			return syscall.EIO
		}
		return nil
	})
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) {
		o.disk = d
		o.Quotas = tenant.Quotas{Unregistered: tenant.Quota{SpansPerSecond: 8, BurstSeconds: 1, HardLimit: 1, PointsPerSecond: 8, NewSeriesPerHour: 8, ActiveSeries: 8}}
	})
	spans, points := encode(t, export(mixed(8, 1)...)), bodyAt(t, time.Now(), seriesOf("acme", 0, 8))
	broken.Store(true)
	for range 20 {
		for path, body := range map[string][]byte{"/v1/traces": spans, "/v1/metrics": points} {
			if resp := r.post(t, path, body); resp.status != http.StatusServiceUnavailable {
				t.Fatalf("%s: status %d: %s", path, resp.status, resp.body)
			}
		}
	}
	broken.Store(false)
	for path, body := range map[string][]byte{"/v1/traces": spans, "/v1/metrics": points} {
		if resp := r.post(t, path, body); resp.status != http.StatusOK || len(resp.body) > 0 {
			t.Errorf("%s: status %d: %q", path, resp.status, resp.body)
		}
	}
}

// Prometheus is told what was left out with a 400, which it does not send again; what is within the rate is stored.
func TestRemoteWriteOverItsRate(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.Quotas = pointQuotas(5) })
	now := time.Now()
	req := newRequest2()
	for i := range 100 {
		req.add(sampleAt(now, 1), "__name__", "g", "i", fmt.Sprint(i), "tenant", "acme")
	}
	req.add(sampleAt(now, 1), "__name__", "g", "tenant", "globex")
	stats, err := r.prometheusClient(t).Write(t.Context(), remote.WriteV2MessageType, req.build())
	if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), `tenant "acme" sends more than 5 numbers of metrics a second`) {
		t.Errorf("got %v, want a 400", err)
	}
	r.awaitEmptySpool(t)
	wantRows(t, db, "SELECT concat(tenant, ' ', toString(count())) FROM metric_points GROUP BY tenant ORDER BY tenant", fmt.Sprintf("acme %d", stats.Samples-1), "globex 1")
	if stats.Samples < 6 || stats.Samples > 60 {
		t.Errorf("%d samples were written", stats.Samples)
	}
}

// A segment is sealed at so many numbers of points, as at so many spans.
func TestSegmentIsSealedByNumbers(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.SealAfter, o.MaxSegmentSpans = time.Hour, 150 })
	p := &metricspb.HistogramDataPoint{TimeUnixNano: uint64(time.Now().UnixNano()), BucketCounts: make([]uint64, 100), ExplicitBounds: make([]float64, 99)}
	for i := range p.ExplicitBounds {
		p.ExplicitBounds[i] = float64(i)
	}
	for i := range 2 { // 101 numbers each
		p.TimeUnixNano++
		r.sendMetrics(t, &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative, DataPoints: []*metricspb.HistogramDataPoint{p}}}})
		if i == 0 {
			if _, n, _ := r.spool.backlog(); n != 1 {
				t.Fatalf("%d segments wait", n)
			}
		}
	}
	r.awaitEmptySpool(t)
}
