package collector

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// metricsOf wraps metrics into a request of service checkout of product shop, tenant acme.
func metricsOf(ms ...*metricspb.Metric) *metricscollector.ExportMetricsServiceRequest {
	return &metricscollector.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			text("service.name", "checkout"), text("service.namespace", "shop"), text("tenant.id", "acme"), text("host.name", "h1"),
		}},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: &commonpb.InstrumentationScope{Name: "lib"}, Metrics: ms}},
	}}}
}

func gauge(name string, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}}}
}

func sum(name string, monotonic bool, t metricspb.AggregationTemporality, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: points, IsMonotonic: monotonic, AggregationTemporality: t}}}
}

const (
	cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
	delta      = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
)

func double(at time.Time, v float64, attributes ...*commonpb.KeyValue) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{TimeUnixNano: uint64(at.UnixNano()), Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v}, Attributes: attributes}
}

func since(start time.Time, p *metricspb.NumberDataPoint) *metricspb.NumberDataPoint {
	p.StartTimeUnixNano = uint64(start.UnixNano())
	return p
}

// sendMetrics posts metrics and wants a 200; it returns the partial success, nil for a full one.
func (r *running) sendMetrics(t testing.TB, ms ...*metricspb.Metric) *metricscollector.ExportMetricsPartialSuccess {
	t.Helper()
	resp := r.post(t, "/v1/metrics", encode(t, metricsOf(ms...)))
	if resp.status != http.StatusOK {
		t.Fatalf("status %d: %q", resp.status, resp.body)
	}
	var out metricscollector.ExportMetricsServiceResponse
	if err := proto.Unmarshal(resp.body, &out); err != nil {
		t.Fatal(err)
	}
	return out.PartialSuccess
}

// rowsOf returns what a query with one text column yields.
func rowsOf(t testing.TB, db *testenv.ClickHouse, sql string, args ...any) []string {
	t.Helper()
	rows, err := db.Owner.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func wantRows(t testing.TB, db *testenv.ClickHouse, sql string, want ...string) {
	t.Helper()
	if got := rowsOf(t, db, sql); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", sql, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// points is what metric_points holds, by what its series are called.
const pointsSQL = `
	SELECT concat(s.metric, if(mapContains(s.labels, 'le'), concat('{', s.labels['le'], '}'), ''), if(mapContains(s.labels, 'quantile'), concat('{', s.labels['quantile'], '}'), ''),
		' ', s.kind, ' ', toString(p.value), if(p.started = toDateTime64(0, 3), '', ' since start'))
	FROM metric_points AS p INNER JOIN (SELECT * FROM metric_series FINAL) AS s ON p.series = s.series AND s.day = toDate(p.ts)
	ORDER BY s.metric, toFloat64OrZero(s.labels['le']), s.labels['quantile'], p.value`

func TestStoresEveryKindOfMetric(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	now := time.Now()
	begun := now.Add(-time.Hour)
	total, low, high := 12.5, 0.5, 8.0
	if ps := r.sendMetrics(t,
		gauge("g", double(now, math.Inf(1)), &metricspb.NumberDataPoint{TimeUnixNano: uint64(now.UnixNano()), Attributes: []*commonpb.KeyValue{text("i", "int")},
			Value: &metricspb.NumberDataPoint_AsInt{AsInt: -3}}),
		sum("counter", true, cumulative, since(begun, double(now, 7))),
		sum("delta", true, delta, since(begun, double(now, 2))),
		sum("updown", false, cumulative, double(now, -1)),
		sum("updowndelta", false, delta, double(now, -2)),
		&metricspb.Metric{Name: "h", Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative,
			DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: uint64(now.UnixNano()), StartTimeUnixNano: uint64(begun.UnixNano()), Count: 6, Sum: &total,
				BucketCounts: []uint64{1, 2, 3}, ExplicitBounds: []float64{0.25, 1000000}}}}}},
		&metricspb.Metric{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: delta,
			DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: uint64(now.UnixNano()), Count: 9, Sum: &total, Min: &low, Max: &high, Scale: 3,
				ZeroCount: 2, ZeroThreshold: 0.01, Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: -2, BucketCounts: []uint64{4, 0, 1}},
				Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: 5, BucketCounts: []uint64{2}}}}}}},
		&metricspb.Metric{Name: "q", Data: &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: []*metricspb.SummaryDataPoint{{
			TimeUnixNano: uint64(now.UnixNano()), Count: 4, Sum: 2, QuantileValues: []*metricspb.SummaryDataPoint_ValueAtQuantile{{Quantile: 0.99, Value: 1.5}}}}}}},
		gauge("ended", &metricspb.NumberDataPoint{TimeUnixNano: uint64(now.UnixNano()), Flags: 1}),
	); ps != nil {
		t.Fatalf("partial success: %v", ps)
	}
	r.awaitEmptySpool(t)
	wantRows(t, db, pointsSQL,
		"counter counter 7 since start",
		"delta delta 2 since start",
		"ended gauge nan",
		"g gauge -3",
		"g gauge inf",
		"h_bucket{0.25} counter 1 since start",
		"h_bucket{1000000} counter 3 since start",
		"h_bucket{+Inf} counter 6 since start",
		"h_count counter 6 since start",
		"h_sum counter 12.5 since start",
		"q{0.99} gauge 1.5",
		"q_count counter 4",
		"q_sum counter 2",
		"updown updown -1",
		"updowndelta updown_delta -2",
	)
	wantRows(t, db, `SELECT hex(reinterpretAsUInt64(value)) FROM metric_points WHERE metric = 'ended'`, "7FF0000000000002")
	wantRows(t, db, `SELECT concat(metric, ' ', toString((count, sum, min, max, scale, zero_threshold, zero_count, positive, negative, product, tenant))) FROM metric_histograms`,
		"e (9,12.5,0.5,8,3,0.01,2,{-2:4,0:1},{5:2},'shop','acme')")
	wantRows(t, db, `SELECT concat(kind, ' ', unit, ' ', product, ' ', tenant, ' ', service, ' ', toString(mapSort(labels))) FROM metric_series WHERE metric = 'h_bucket' AND labels['le'] = '0.25'`,
		"counter s shop acme checkout {'host.name':'h1','le':'0.25','otel.scope.name':'lib','service.name':'checkout','service.namespace':'shop','tenant.id':'acme'}")
}

// A series has one name a day: what it is called is not written with every point, and again when it may have been lost.
func TestSeriesAreNamedOnceADay(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	now := time.Now()
	yesterday := now.Add(-24 * time.Hour)
	for i := range 3 {
		r.sendMetrics(t, gauge("g", double(now, float64(i), text("a", "1")), double(yesterday, float64(i), text("a", "1")), double(now, 0, text("a", "2"))))
	}
	r.awaitEmptySpool(t)
	named := "SELECT toString(tuple(count(), uniq(series), uniq(day))) FROM metric_series"
	wantRows(t, db, named, "(3,2,2)")
	wantRows(t, db, "SELECT toString(count()) FROM metric_points", "9")
	r.committer.named.forget()
	r.sendMetrics(t, gauge("g", double(now, 9, text("a", "1"))))
	r.awaitEmptySpool(t)
	wantRows(t, db, named, "(4,2,2)")
	wantRows(t, db, strings.Replace(named, "metric_series", "metric_series FINAL", 1), "(3,2,2)")
}

// What could not be stored was not named either.
func TestSeriesAreNamedAgainAfterAFailure(t *testing.T) {
	now := time.Now()
	opts := testOptions()
	d := decoder{opts: opts, named: newNamedSeries(10), vocabulary: newMapped()}
	cols := newColumns()
	body := encode(t, metricsOf(gauge("g", double(now, 1))))
	for range 2 { // twice into one batch, the second of which is cut off again
		m := cols.mark()
		if _, err := d.decode(request{signal: metricPoints, body: body}, cols, now); err != nil {
			t.Fatal(err)
		}
		cols.cut(m)
	}
	if n := len(cols.metric.named) + len(cols.metric.fresh); n > 0 {
		t.Errorf("%d series are thought to be named", n)
	}
	if _, err := d.decode(request{signal: metricPoints, body: body}, cols, now); err != nil || cols.metric.series.series.Rows() != 1 {
		t.Errorf("%v, %d names", err, cols.metric.series.series.Rows())
	}
}

func testOptions() decodeOptions {
	return decodeOptions{tenantAttributes: []string{"tenant.id"}, tenantLabels: []string{"tenant_id", "tenant"}, maxFuture: 10 * time.Minute, retention: 30 * 24 * time.Hour,
		maxValue: 4096, maxName: 512, maxAttributes: 256, maxExpansion: maxExpansion, maxLabels: 16 << 10, maxBuckets: 1000, maxPoints: 250_000}
}

// decodePoints decodes a body of the signal.
func decodePoints(s *signal, body []byte, now time.Time) (outcome, *columns, error) {
	d := decoder{opts: testOptions(), named: newNamedSeries(1000), vocabulary: newMapped()}
	cols := newColumns()
	out, err := d.decode(request{signal: s, body: body}, cols, now)
	return out, cols, err
}

func TestBadPointsAreRefusedOneByOne(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) uint64 { return uint64(now.Add(d).UnixNano()) }
	histogram := func(p *metricspb.HistogramDataPoint) *metricspb.Metric {
		p.TimeUnixNano = at(0)
		return &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative, DataPoints: []*metricspb.HistogramDataPoint{p}}}}
	}
	exponential := func(p *metricspb.ExponentialHistogramDataPoint) *metricspb.Metric {
		p.TimeUnixNano = at(0)
		return &metricspb.Metric{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{
			AggregationTemporality: cumulative, DataPoints: []*metricspb.ExponentialHistogramDataPoint{p}}}}
	}
	f := func(why reason, says string, bad *metricspb.Metric) {
		t.Helper()
		good := gauge("good", double(now, 1))
		out, cols, err := decodePoints(metricPoints, encode(t, metricsOf(good, bad, good)), now)
		if err != nil {
			t.Fatal(err)
		}
		if out.accepted != 2 || out.rejected[why] != 1 || out.rejectedTotal() != 1 || cols.metric.points.value.Rows() != 2 || cols.metric.histograms.count.Rows() != 0 {
			t.Errorf("%s: %d accepted, refused %v", reasonNames[why], out.accepted, out.rejected)
		}
		if msg := out.answer().message; !strings.Contains(msg, says) {
			t.Errorf("%s: %q does not say %q", reasonNames[why], msg, says)
		}
	}
	f(badName, "name: must not be empty", gauge("", double(now, 1)))
	f(noTime, "time_unix_nano: must not be zero", gauge("x", &metricspb.NumberDataPoint{Value: &metricspb.NumberDataPoint_AsInt{}}))
	f(inFuture, `in the future (metric "x" of service "checkout")`, gauge("x", double(now.Add(time.Hour), 1)))
	f(tooOld, "older than the retention", gauge("x", double(now.Add(-40*24*time.Hour), 1)))
	f(noValue, "value: must be set", gauge("x", &metricspb.NumberDataPoint{TimeUnixNano: at(0)}))
	f(badTenant, "control character", gauge("x", double(now, 1, text("tenant.id", "a\x00"))))
	f(badTemporality, "aggregation_temporality", sum("x", true, 0, double(now, 1)))
	f(badHistogram, "must be one more than the 1 bounds", histogram(&metricspb.HistogramDataPoint{BucketCounts: []uint64{1}, ExplicitBounds: []float64{1}}))
	f(badHistogram, "explicit_bounds: must be finite and increase", histogram(&metricspb.HistogramDataPoint{BucketCounts: []uint64{1, 1, 1}, ExplicitBounds: []float64{1, 1}}))
	f(badHistogram, "must not be more than 1000", histogram(&metricspb.HistogramDataPoint{BucketCounts: make([]uint64, 2001), ExplicitBounds: make([]float64, 2000)}))
	f(badHistogram, "scale: must be from -10 to 20", exponential(&metricspb.ExponentialHistogramDataPoint{Scale: 21}))
	f(badHistogram, "offset: is too large", exponential(&metricspb.ExponentialHistogramDataPoint{
		Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: math.MaxInt32, BucketCounts: []uint64{1, 1}}}))
	f(badHistogram, "must not be more than 1000", exponential(&metricspb.ExponentialHistogramDataPoint{
		Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: make([]uint64, 2000)}}))
	var many []*commonpb.KeyValue
	for i := range 10 {
		many = append(many, text(fmt.Sprint("k", i), strings.Repeat("v", 4000)))
	}
	f(badLabels, "labels: must not have more than 16384 bytes together", gauge("x", double(now, 1, many...)))
}

// A body of some kilobytes could name series with gigabytes of labels together.
func TestLargeResourceDoesNotMultiplyBySeries(t *testing.T) {
	now := time.Now()
	req := metricsOf()
	for i := range 4 {
		req.ResourceMetrics[0].Resource.Attributes = append(req.ResourceMetrics[0].Resource.Attributes, text(fmt.Sprint(i), strings.Repeat("r", 4000)))
	}
	var points []*metricspb.NumberDataPoint
	for i := range 20_000 {
		points = append(points, double(now, 1, number("i", int64(i))))
	}
	req.ResourceMetrics[0].ScopeMetrics[0].Metrics = []*metricspb.Metric{gauge("g", points...)}
	out, cols, err := decodePoints(metricPoints, encode(t, req), now)
	if err != nil || out.accepted == 0 || out.rejected[badLabels] == 0 || out.accepted+out.rejectedTotal() != 20_000 || cols.size() > 80<<20 {
		t.Errorf("%v: %d accepted, %v refused, %d bytes", err, out.accepted, out.rejected, cols.size())
	}
}

func TestStartAfterTheEndIsUnknown(t *testing.T) {
	now := time.Now()
	out, cols, err := decodePoints(metricPoints, encode(t, metricsOf(sum("s", true, cumulative, since(now.Add(time.Second), double(now, 1))))), now)
	if err != nil || out.accepted != 1 || out.clipped != 1 || cols.metric.points.started.ColInt64[0] != 0 {
		t.Errorf("%v %+v", err, out)
	}
}

// Attributes in another order, or with one that the resource has too, are told apart as they should be.
func TestIdentityOfSeries(t *testing.T) {
	now := time.Now()
	one := func(m *metricspb.Metric) uint64 {
		_, cols, err := decodePoints(metricPoints, encode(t, metricsOf(m)), now)
		if err != nil {
			t.Fatal(err)
		}
		return cols.metric.points.series[0]
	}
	a := one(gauge("g", double(now, 1, text("a", "1"), text("b", "2"))))
	if b := one(gauge("g", double(now, 1, text("b", "2"), text("a", "1")))); a != b {
		t.Error("the order of attributes counts")
	}
	if b := one(sum("g", true, cumulative, double(now, 1, text("a", "1"), text("b", "2")))); a != b {
		t.Error("a gauge that became a counter is another series")
	}
	others := []*metricspb.Metric{
		sum("g", true, delta, double(now, 1, text("a", "1"), text("b", "2"))), gauge("g", double(now, 1, text("a", "12"), text("b", ""))),
		gauge("g", double(now, 1, text("a", "1"), text("b", "3"))), gauge("h", double(now, 1, text("a", "1"), text("b", "2"))),
		gauge("g", double(now, 1, text("a", "1"), text("b", "2"), text("tenant.id", "globex"))), gauge("g", double(now, 1)),
	}
	seen := map[uint64]int{a: -1}
	for i, m := range others {
		s := one(m)
		if j, ok := seen[s]; ok {
			t.Errorf("%d and %d are the same series", i, j)
		}
		seen[s] = i
	}
	_, cols, err := decodePoints(metricPoints, encode(t, metricsOf(gauge("g", double(now, 1, text("host.name", "own"), text("tenant.id", "globex"))))), now)
	if err != nil {
		t.Fatal(err)
	}
	c := &cols.metric.series
	if got := string(c.labels.values.buf); !strings.Contains(got, "own") || strings.Contains(got, "h1") || strings.Contains(got, "acme") || c.tenant.values[0] != "globex" {
		t.Errorf("labels %q, tenant %q", got, c.tenant.values)
	}
}

// comparePoints compares what became of a body with what the generated code reads from it.
func comparePoints(t *testing.T, body []byte, out outcome, err error) {
	t.Helper()
	var req metricscollector.ExportMetricsServiceRequest
	if proto.Unmarshal(body, &req) != nil {
		return // it may be stricter: about UTF-8, field numbers, unknown fields
	}
	if err != nil && strings.Contains(err.Error(), "wireType=3") {
		return // a group: deprecated before OTLP was made, and in none of its messages
	}
	if err != nil {
		t.Fatalf("the generated code takes what the decoder refuses: %v", err)
	}
	points := 0
	for _, rm := range req.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				points += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints()) + len(m.GetHistogram().GetDataPoints()) +
					len(m.GetExponentialHistogram().GetDataPoints()) + len(m.GetSummary().GetDataPoints())
			}
		}
	}
	if out.accepted+out.rejectedTotal() != points {
		t.Fatalf("%d accepted, %d refused of %d", out.accepted, out.rejectedTotal(), points)
	}
}
