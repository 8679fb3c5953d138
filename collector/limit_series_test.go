package collector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// aDay is when a day (UTC) begins.
var aDay = time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)

// metricLane is a decoder of metrics with quotas and what its rows come to, as a lane has them.
type metricLane struct {
	*decoder
	cols *columns
}

func newMetricLane(l *limiter, named *namedSeries) *metricLane {
	d := &decoder{opts: testOptions(), named: named, vocabulary: newMapped(), limits: spanLimits{limiter: l}}
	return &metricLane{d, newColumns()}
}

// bodyAt encodes gauges whose points are of one time.
func bodyAt(t testing.TB, at time.Time, ms ...*metricspb.Metric) []byte {
	t.Helper()
	for _, m := range ms {
		for _, p := range m.GetGauge().GetDataPoints() {
			p.TimeUnixNano = uint64(at.UnixNano())
		}
	}
	return encode(t, metricsOf(ms...))
}

// points decodes them as of now, and stores what is taken.
func (m *metricLane) points(t testing.TB, now, at time.Time, ms ...*metricspb.Metric) outcome {
	t.Helper()
	out, err := m.decode(request{signal: metricPoints, body: bodyAt(t, at, ms...)}, m.cols, now)
	if err != nil {
		t.Fatal(err)
	}
	m.store()
	return out
}

func (m *metricLane) store() {
	m.cols.metric.settle(m.named)
	m.cols.reset()
}

// seriesOf returns a gauge with the series from..to of a tenant.
func seriesOf(id string, from, to int) *metricspb.Metric {
	m := gauge("g")
	for i := from; i < to; i++ {
		m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, double(aDay, 1, text("tenant.id", id), number("i", int64(i))))
	}
	return m
}

func seriesQuotas(perHour, active int64) tenant.Quotas {
	return tenant.Quotas{Unregistered: tenant.Quota{NewSeriesPerHour: perHour, ActiveSeries: active}}
}

func wantRefused(t *testing.T, out outcome, n int, says string) {
	t.Helper()
	if out.rejected[overQuota] != n || out.rejectedTotal() != n || !strings.Contains(out.first, says) {
		t.Errorf("%d points were taken, %d refused with %q; want %d with %q", out.accepted, out.rejectedTotal(), out.first, n, says)
	}
}

// New series are limited by the hour, and all by the day. After a restart those that were there are not new for long.
func TestNewSeriesAreLimited(t *testing.T) {
	m := newMetricLane(newLimiter(seriesQuotas(2, 5), nil, discard, aDay), newNamedSeries(1000))
	f := func(from, to int, after time.Duration, refused int, says string) {
		t.Helper()
		wantRefused(t, m.points(t, aDay.Add(after), aDay.Add(after), seriesOf("acme", from, to)), refused, says)
	}
	f(0, 6, 0, 1, `tenant "acme" has 5 metric series today, the most that the plan "unregistered" allows (active-series)`)
	f(0, 4, 24*time.Hour, 0, "") // known from yesterday
	f(5, 7, 24*time.Hour, 1, "5 metric series today")
	f(7, 8, 48*time.Hour, 0, "")
	f(8, 10, 48*time.Hour, 1, `tenant "acme" shows more than 2 new metric series an hour, the most that the plan "unregistered" allows (new-series-per-hour)`)
	f(10, 11, 47*time.Hour, 1, "2 new metric series an hour") // a clock that goes back
	f(20, 23, 49*time.Hour+time.Minute, 1, "2 new metric series an hour")
}

// After a restart the series that there are pass, also when no plan says how many there may be.
func TestRestartRefusesNoSeries(t *testing.T) {
	for _, active := range []int64{0, 200} {
		m := newMetricLane(newLimiter(seriesQuotas(50, active), nil, discard, aDay), newNamedSeries(1000))
		wantRefused(t, m.points(t, aDay, aDay, seriesOf("acme", 0, 200)), 0, "")
	}
}

// Nobody can choose series that are taken for each other.
func TestSeriesCannotBeMistaken(t *testing.T) {
	l := newLimiter(seriesQuotas(50, 5), nil, discard, aDay)
	collisions := 0
	for i := range uint64(1000) { // all have the same lower half
		if l.room.key(i<<32|7) == l.room.key((i+1)<<32|7) {
			collisions++
		}
	}
	if collisions > 0 {
		t.Errorf("%d of 1000 are", collisions)
	}
}

// A series is charged once a day, however often its name is stored: the names of very many others, a quarantined file
// and midnight make it no new one.
func TestStableSeriesAreChargedOnce(t *testing.T) {
	l := newLimiter(seriesQuotas(100, 100), nil, discard, aDay)
	m := newMetricLane(l, newNamedSeries(10)) // has forgotten most names by the next point
	now := aDay.Add(23 * time.Hour)
	wantRefused(t, m.points(t, now, now, seriesOf("acme", 0, 100)), 0, "")
	for i := range 100 {
		now = now.Add(time.Minute)
		if i%10 == 0 {
			m.named.forget()
		}
		m.points(t, now, now, seriesOf(fmt.Sprint("other-", i), 0, 10))
		wantRefused(t, m.points(t, now, now, seriesOf("acme", 0, 100)), 0, "")
	}
	if now.Before(aDay.Add(24 * time.Hour)) {
		t.Fatal("midnight was not passed")
	}
	wantRefused(t, m.points(t, now, now, seriesOf("acme", 0, 101)), 1, "100 metric series today")
	later := now.Add(25 * time.Hour) // and on the day after tomorrow they are gone
	wantRefused(t, m.points(t, later, later, seriesOf("acme", 200, 301)), 1, "100 metric series today")
	if a := l.account("acme", 0); len(a.series.shown) > 200 {
		t.Errorf("%d series are remembered", len(a.series.shown))
	}
}

// Two lanes that meet a series at the same time charge it twice, until it is stored.
func TestSeriesOfTwoLanesIsChargedOnce(t *testing.T) {
	l := newLimiter(seriesQuotas(30, 30), nil, discard, aDay)
	named := newNamedSeries(1000)
	one, two := newMetricLane(l, named), newMetricLane(l, named)
	body := encode(t, metricsOf(seriesOf("acme", 0, 15)))
	for _, m := range []*metricLane{one, two} {
		if out, err := m.decode(request{signal: metricPoints, body: body}, m.cols, aDay); err != nil || out.accepted != 15 {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	one.store()
	two.store()
	wantRefused(t, one.points(t, aDay, aDay, seriesOf("acme", 15, 31)), 1, "30 metric series today")
}

// Points that are slightly ahead of midnight, or come late, are no reason to begin another day, or to stay in the last.
func TestDayOfSeriesIsTheCollectors(t *testing.T) {
	m := newMetricLane(newLimiter(seriesQuotas(0, 3), nil, discard, aDay), newNamedSeries(1000))
	before := aDay.Add(24*time.Hour - time.Minute)
	wantRefused(t, m.points(t, before, before, seriesOf("acme", 0, 2)), 0, "")
	wantRefused(t, m.points(t, before, before.Add(2*time.Minute), seriesOf("acme", 0, 4)), 1, "3 metric series today")
	wantRefused(t, m.points(t, before, before, seriesOf("acme", 2, 9)), 6, "3 metric series today")
	wantRefused(t, m.points(t, before, before.Add(-72*time.Hour), seriesOf("acme", 2, 9)), 6, "3 metric series today")
	after := before.Add(2 * time.Minute)
	wantRefused(t, m.points(t, after, after, seriesOf("acme", 5, 9)), 1, "3 metric series today")
	wantRefused(t, m.points(t, before, after, seriesOf("acme", 9, 10)), 1, "3 metric series today") // another lane, a little behind
}

// A tenant whose series all have their names is in use, also when its points come every hour or two.
func TestAccountOfMetricsAloneIsInUse(t *testing.T) {
	l := newLimiter(seriesQuotas(5, 10), nil, discard, aDay)
	m := newMetricLane(l, newNamedSeries(1000))
	wantRefused(t, m.points(t, aDay, aDay, seriesOf("acme", 0, 10)), 0, "")
	for h := 1; h < 24; h += 2 {
		now := aDay.Add(time.Duration(h) * time.Hour)
		l.forgetIdle(l.time(now))
		wantRefused(t, m.points(t, now, now, seriesOf("acme", 0, 11)), 1, "10 metric series today")
	}
	l.forgetIdle(l.time(aDay.Add(100 * time.Hour)))
	if n := l.accounts(); n != 0 || l.room.held.Load() != 0 {
		t.Errorf("%d accounts and %d series are remembered for ever", n, l.room.held.Load())
	}
}

// When there is no room for more series, nobody's are forgotten.
func TestRememberedSeriesAreBounded(t *testing.T) {
	l := newLimiter(seriesQuotas(10, 10), nil, discard, aDay)
	l.room.max = 50
	m := newMetricLane(l, newNamedSeries(10))
	wantRefused(t, m.points(t, aDay, aDay, seriesOf("acme", 0, 10)), 0, "")
	for i := range 100 {
		m.points(t, aDay, aDay, seriesOf(fmt.Sprint("invented-", i), 0, 10))
	}
	if n := l.room.held.Load(); n != 50 {
		t.Errorf("%d series are remembered", n)
	}
	for _, now := range []time.Time{aDay, aDay.Add(24 * time.Hour)} {
		wantRefused(t, m.points(t, now, now, seriesOf("acme", 0, 10)), 0, "")
	}
}

// Whatever comes in which order, over whatever time: what a tenant is charged for is what is remembered and nothing else, and no
// more series are stored on a day than may be.
func TestSeriesAreChargedAsStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const active = 20
		l := newLimiter(seriesQuotas(0, active), nil, discard, aDay)
		named := newNamedSeries(5)
		lanes := []*metricLane{newMetricLane(l, named), newMetricLane(l, named)}
		now, stored := aDay, map[uint64]bool{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			m := lanes[rapid.IntRange(0, 1).Draw(rt, "lane")]
			switch rapid.SampledFrom([]string{"send", "send", "store", "lose", "malformed", "wait"}).Draw(rt, "step") {
			case "send", "malformed":
				from := rapid.IntRange(0, 30).Draw(rt, "from")
				body := bodyAt(t, now, seriesOf("acme", from, from+rapid.IntRange(1, 15).Draw(rt, "n")))
				if rapid.Bool().Draw(rt, "whole") {
					_, _ = m.decode(request{signal: metricPoints, body: body}, m.cols, now)
				} else if _, err := m.decode(request{signal: metricPoints, body: append(body, 0xff)}, m.cols, now); err == nil {
					rt.Fatal("a malformed body was taken")
				}
			case "store":
				for _, s := range m.cols.metric.points.series {
					stored[s] = true
				}
				m.store()
			case "lose":
				m.cols.cut(mark{})
			case "wait":
				for _, m := range lanes {
					m.cols.cut(mark{})
				}
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "hours")) * time.Hour)
				if uint16(now.Unix()/86400) != l.account("acme", l.time(now)).series.day {
					clear(stored)
				}
			}
		}
		for _, m := range lanes {
			m.cols.cut(mark{})
		}
		a := l.account("acme", l.time(now))
		today := 0
		for _, day := range a.series.shown {
			if day == a.series.day {
				today++
			}
		}
		if a.series.day == uint16(now.Unix()/86400) && (int64(today) != a.series.today || len(stored) > active) {
			rt.Fatalf("%d series are charged, %d remembered, %d stored of at most %d", a.series.today, today, len(stored), active)
		}
		if held := l.room.held.Load(); held != int64(len(a.series.shown)) {
			rt.Fatalf("room for %d series is taken, %d are remembered", held, len(a.series.shown))
		}
	})
}

// A point of a series too many is refused, and no other.
func TestPointsOfSeriesOverTheQuotaAreRefused(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.Quotas = seriesQuotas(2, 2) })
	now := time.Now()
	for second := range 3 {
		at := now.Add(time.Duration(second-10) * time.Second)
		ps := r.sendMetrics(t, gauge("a", double(at, 1)), gauge("b", double(at, 1)), gauge("c", double(at, 1)))
		if ps.GetRejectedDataPoints() != 1 || !strings.Contains(ps.GetErrorMessage(), "has 2 metric series today") {
			t.Errorf("second %d: %v", second, ps)
		}
	}
}
