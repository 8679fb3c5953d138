package collector

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/easyproto"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// prometheusKey sends the key with each request.
type prometheusKey struct{ key string }

func (k prometheusKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+k.key)
	return http.DefaultTransport.RoundTrip(r)
}

func (r *running) prometheusClient(t testing.TB) *remote.API {
	t.Helper()
	api, err := remote.NewAPI(r.url, remote.WithAPIHTTPClient(&http.Client{Transport: prometheusKey{"ingest"}}),
		remote.WithAPIBackoff(remote.BackoffConfig{Min: time.Millisecond, Max: time.Millisecond, MaxRetries: 3}))
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// request2 makes 2.0 requests as Prometheus does: with its own symbols table.
type request2 struct {
	symbols writev2.SymbolsTable
	series  []*writev2.TimeSeries
}

func newRequest2() *request2 { return &request2{symbols: writev2.NewSymbolTable()} }

func (r *request2) add(s *writev2.TimeSeries, labels ...string) *request2 {
	s.LabelsRefs = r.symbols.SymbolizeLabels(labels, nil)
	r.series = append(r.series, s)
	return r
}

func (r *request2) build() *writev2.Request {
	return &writev2.Request{Symbols: r.symbols.Symbols(), Timeseries: r.series}
}

func snappyOf(t testing.TB, r *request2) []byte { return snappy.Encode(nil, encode(t, r.build())) }

func sampleAt(at time.Time, v float64) *writev2.TimeSeries {
	return &writev2.TimeSeries{Samples: []*writev2.Sample{{Value: v, Timestamp: at.UnixMilli()}}}
}

func TestRemoteWrite2ByPrometheusClient(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	api := r.prometheusClient(t)
	now := time.Now().Truncate(time.Millisecond)
	req := newRequest2()
	up := sampleAt(now, 1)
	up.Samples = append(up.Samples, &writev2.Sample{Value: math.Float64frombits(staleBits), Timestamp: now.Add(time.Second).UnixMilli()})
	req.add(up, "__name__", "up", "instance", "10.0.0.1:9121", "job", "shop/redis")
	counter := sampleAt(now, 42)
	counter.CreatedTimestamp = now.Add(-time.Hour).UnixMilli()
	counter.Metadata = &writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, UnitRef: req.symbols.Symbolize("s")}
	counter.Exemplars = []*writev2.Exemplar{{Value: 1, Timestamp: now.UnixMilli()}}
	req.add(counter, "__name__", "busy_seconds", "job", "redis", "service_namespace", "shop", "tenant_id", "acme")
	req.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{{
		Count: &writev2.Histogram_CountInt{CountInt: 12}, Sum: 18.4, Schema: 1, ZeroThreshold: 0.001, ZeroCount: &writev2.Histogram_ZeroCountInt{ZeroCountInt: 2},
		PositiveSpans: []*writev2.BucketSpan{{Offset: 0, Length: 2}, {Offset: 1, Length: 2}}, PositiveDeltas: []int64{1, 1, -1, 0},
		NegativeSpans: []*writev2.BucketSpan{{Offset: -1, Length: 1}}, NegativeDeltas: []int64{5}, Timestamp: now.UnixMilli()}}},
		"__name__", "native", "job", "api")
	req.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{{
		Count: &writev2.Histogram_CountFloat{CountFloat: 2.5}, Sum: 3, ZeroCount: &writev2.Histogram_ZeroCountFloat{ZeroCountFloat: 0.5}, ResetHint: writev2.Histogram_RESET_HINT_GAUGE,
		PositiveSpans: []*writev2.BucketSpan{{Offset: 3, Length: 1}}, PositiveCounts: []float64{2}, Timestamp: now.UnixMilli()}}},
		"__name__", "native_float", "job", "api")
	req.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{{
		Count: &writev2.Histogram_CountInt{CountInt: 6}, Sum: 3.5, Schema: -53, CustomValues: []float64{0.1, 1},
		PositiveSpans: []*writev2.BucketSpan{{Offset: 0, Length: 3}}, PositiveDeltas: []int64{1, 1, 1}, Timestamp: now.UnixMilli()}}},
		"__name__", "nhcb", "job", "api")
	for range 2 { // the second is a repetition
		stats, err := api.Write(t.Context(), remote.WriteV2MessageType, req.build())
		if err != nil {
			t.Fatal(err)
		}
		if stats.Samples != 3 || stats.Histograms != 3 || stats.Exemplars != 0 {
			t.Errorf("written: %+v", stats)
		}
	}
	r.awaitEmptySpool(t)
	wantRows(t, db, pointsSQL,
		"busy_seconds counter 42 since start",
		"nhcb_bucket{0.1} counter 1",
		"nhcb_bucket{1} counter 3",
		"nhcb_bucket{+Inf} counter 6",
		"nhcb_count counter 6",
		"nhcb_sum counter 3.5",
		"up gauge 1",
		"up gauge nan",
	)
	wantRows(t, db, `SELECT hex(reinterpretAsUInt64(value)) FROM metric_points WHERE isNaN(value)`, "7FF0000000000002")
	wantRows(t, db, `SELECT concat(metric, ' ', product, ' ', tenant, ' ', service, ' ', unit, ' ', toString(mapSort(labels))) FROM metric_series WHERE metric IN ('busy_seconds', 'up') ORDER BY metric`,
		"busy_seconds shop acme redis s {'job':'redis','service_namespace':'shop','tenant_id':'acme'}",
		"up shop  redis  {'instance':'10.0.0.1:9121','job':'shop/redis'}")
	wantRows(t, db, `SELECT concat(metric, ' ', toString((count, sum, scale, zero_threshold, zero_count, positive, negative))) FROM metric_histograms ORDER BY metric`,
		"native (12,18.4,1,0.001,2,{-1:1,0:2,2:1,3:1},{-2:5})",
		"native_float (2.5,3,0,0,0.5,{2:2},{})")
	wantRows(t, db, "SELECT kind FROM metric_series WHERE metric LIKE 'native%' ORDER BY metric", "histogram", "gauge_histogram")
}

// What is good of a request is stored, what is not gets a clear 400, and the client does not send it again.
func TestRemoteWriteStoresWhatIsGood(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	now := time.Now()
	n := 0
	f := func(says string, bad func(r *request2)) {
		t.Helper()
		n++
		req := newRequest2().add(sampleAt(now, 1), "__name__", fmt.Sprint("good", n))
		bad(req)
		stats, err := r.prometheusClient(t).Write(t.Context(), remote.WriteV2MessageType, req.build())
		if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), says) || stats.Samples != 1 || stats.Histograms != 0 {
			t.Errorf("got %+v, %v, want a 400 that says %q", stats, err, says)
		}
	}
	native := func(h *writev2.Histogram) func(r *request2) {
		h.Timestamp = now.UnixMilli()
		return func(r *request2) { r.add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{h}}, "__name__", "h") }
	}
	f("__name__: must be there", func(r *request2) { r.add(sampleAt(now, 1), "job", "x") })
	f("job: must not be empty", func(r *request2) { r.add(sampleAt(now, 1), "__name__", "x", "job", "") })
	f("must have names", func(r *request2) { r.add(sampleAt(now, 1), "", "x") })
	f("job: must not be there twice", func(r *request2) { r.add(sampleAt(now, 1), "__name__", "x", "job", "a", "job", "b") })
	f("a: must come before job: labels are sorted", func(r *request2) { r.add(sampleAt(now, 1), "__name__", "x", "job", "a", "a", "b") })
	f("1970-01-01", func(r *request2) { r.add(sampleAt(time.UnixMilli(5), 1), "__name__", "x") })
	f("in the future", func(r *request2) { r.add(sampleAt(now.Add(time.Hour), 1), "__name__", "x") })
	f("must not be zero", func(r *request2) { r.add(sampleAt(time.UnixMilli(0), 1), "__name__", "x") })
	f("tenant.id", func(r *request2) { r.add(sampleAt(now, 1), "__name__", "x", "tenant", "a\x01") })
	f("schema: must be from -4 to 8", native(&writev2.Histogram{Schema: 9}))
	f("must have as many buckets", native(&writev2.Histogram{PositiveSpans: []*writev2.BucketSpan{{Length: 3}}, PositiveDeltas: []int64{1}}))
	f("must have as many buckets", native(&writev2.Histogram{PositiveSpans: []*writev2.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{1, 1}}))
	f("must not be negative", native(&writev2.Histogram{PositiveSpans: []*writev2.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{-1}}))
	f("must not have negative offsets", native(&writev2.Histogram{PositiveSpans: []*writev2.BucketSpan{{Length: 1}, {Offset: -1, Length: 1}}, PositiveDeltas: []int64{1, 1}}))
	f("within the 1 custom_values", native(&writev2.Histogram{Schema: -53, CustomValues: []float64{1}, PositiveSpans: []*writev2.BucketSpan{{Offset: 2, Length: 1}}, PositiveDeltas: []int64{1}}))
	f("custom_values: must be finite and increase", native(&writev2.Histogram{Schema: -53, CustomValues: []float64{1, 1}}))
	r.awaitEmptySpool(t)
	wantRows(t, db, "SELECT toString((count(), uniq(metric), countIf(metric LIKE 'good%'))) FROM metric_points", fmt.Sprintf("(%d,%d,%d)", n, n, n))
}

// The headers say which of the messages it is, and wrong ones are told apart.
func TestRemoteWriteRequestsThatAreRefused(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.MaxBody = 1 << 20 })
	const v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	good2 := snappy.Encode(nil, encode(t, newRequest2().add(sampleAt(time.Now(), 1), "__name__", "x").build()))
	good1 := snappy.Encode(nil, writeRequest1(time.Now(), 1))
	f := func(name string, code int, says string, body []byte, headers ...string) {
		t.Helper()
		resp := r.post(t, remoteWritePath, body, append([]string{"Content-Encoding", "snappy"}, headers...)...)
		if resp.status != code || !strings.Contains(string(resp.body), says) {
			t.Errorf("%s: %d %q, want %d %q", name, resp.status, resp.body, code, says)
		}
		if code/100 == 2 && resp.header.Get("X-Prometheus-Remote-Write-Samples-Written") != "1" {
			t.Errorf("%s: headers %v", name, resp.header)
		}
		if code == 503 && resp.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
	}
	f("1.0", 204, "", good1)
	f("1.0, named", 204, "", good1, "Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest")
	f("2.0", 204, "", good2, "Content-Type", v2)
	f("no key", 401, "unknown", good1, "Authorization", "")
	f("reader", 403, "ingest:write", good1, "Authorization", "Bearer reader")
	f("keys away", 503, "cannot be checked", good1, "Authorization", "Bearer away")
	f("another message", 415, "prometheus.WriteRequest", good1, "Content-Type", "application/x-protobuf;proto=what.Ever")
	f("another type", 415, "Content-Type", good1, "Content-Type", "application/json")
	f("gzip", 415, "sent as snappy", good1, "Content-Encoding", "gzip")
	f("not snappy", 400, "snappy's block format", []byte("\x05hello, this is no snappy"))
	f("not protobuf", 400, "no prometheus.WriteRequest", snappy.Encode(nil, []byte("hello")))
	f("2.0 as 1.0", 400, "message of version 2.0", good2)
	f("1.0 as 2.0", 400, "message of version 1.0", good1, "Content-Type", v2)
	f("too large", 413, "1048576 bytes", snappy.Encode(nil, make([]byte, 2<<20)))
	f("claims too much", 400, "bytes become 1000000", []byte{0xc0, 0x84, 0x3d, 0})
	f("symbol out of range", 400, "symbol 7 of 1", snappy.Encode(nil, encode(t, &writev2.Request{Symbols: []string{""}, Timeseries: []*writev2.TimeSeries{{LabelsRefs: []uint32{7, 7}}}})), "Content-Type", v2)
	f("first symbol", 400, `symbols[0] is "a"`, snappy.Encode(nil, encode(t, &writev2.Request{Symbols: []string{"a"}})), "Content-Type", v2)
	f("odd labels", 400, "name and a value each", snappy.Encode(nil, encode(t, &writev2.Request{Symbols: []string{"", "a"}, Timeseries: []*writev2.TimeSeries{{LabelsRefs: []uint32{1}}}})), "Content-Type", v2)
	if n := r.memory.inUse(); n != 0 {
		t.Errorf("%d bytes are still in flight", n)
	}
}

// writeRequest1 encodes a prometheus.WriteRequest with n series of one sample each.
func writeRequest1(at time.Time, n int) []byte {
	var m easyproto.Marshaler
	req := m.MessageMarshaler()
	for i := range n {
		ts := req.AppendMessage(1)
		for _, l := range [][2]string{{"__name__", "node_cpu_seconds_total"}, {"cpu", fmt.Sprint(i)}, {"instance", "10.0.0.1:9100"}, {"job", "shop/node"}, {"mode", "idle"}, {"region", "eu-1"}} {
			label := ts.AppendMessage(1)
			label.AppendString(1, l[0])
			label.AppendString(2, l[1])
		}
		sample := ts.AppendMessage(2)
		sample.AppendDouble(1, float64(i))
		sample.AppendInt64(2, at.UnixMilli())
	}
	return m.Marshal(nil)
}

// fuzzPoints is what every decoder of points keeps, whatever the body is: its columns stay even and can be encoded, and a
// malformed body leaves nothing.
func fuzzPoints(t *testing.T, s *signal, body []byte, now time.Time) (outcome, error) {
	out, cols, err := decodePoints(s, body, now)
	for tb := range tables {
		in, rows := cols.input(tb)
		if err != nil && rows > 0 {
			t.Fatalf("%d rows of %q are left of a malformed body", rows, tableNames[tb])
		}
		for _, c := range in {
			if c.Data.Rows() != rows {
				t.Fatalf("column %s.%s has %d rows, want %d", tableNames[tb], c.Name, c.Data.Rows(), rows)
			}
		}
		if _, _, err := newEncoder().block(nil, in, rows); err != nil {
			t.Fatal(err)
		}
	}
	c := &cols.metric
	if l := &c.series.labels; len(l.keys.keys) != l.values.rows || len(c.fresh) != len(c.named) || len(c.fresh) != len(c.series.series) {
		t.Fatalf("%d label names, %d values; %d, %d and %d names", len(l.keys.keys), l.values.rows, len(c.fresh), len(c.named), len(c.series.series))
	}
	for _, b := range []*bucketColumn{&c.histograms.positive, &c.histograms.negative} {
		if n := len(b.ends); n > 0 && b.ends[n-1] != uint64(len(b.keys)) || n == 0 && len(b.keys) > 0 {
			t.Fatal("buckets of no row are left")
		}
	}
	for _, v := range c.resources.value {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Fatal("a resource's measure is no number")
		}
	}
	if out.samples+out.histograms > 0 && out.samples+out.histograms != out.accepted {
		t.Fatalf("%+v", out)
	}
	return out, err
}

func FuzzRemoteWrite1(f *testing.F) {
	now := time.Now()
	f.Add(writeRequest1(now, 2))
	f.Fuzz(func(t *testing.T, body []byte) { _, _ = fuzzPoints(t, remoteWrite1, body, now) })
}

// FuzzRemoteWrite2 compares with the code that Prometheus generates, as far as what both take.
func FuzzRemoteWrite2(f *testing.F) {
	now := time.Now()
	req := newRequest2().add(sampleAt(now, 1), "__name__", "x", "job", "a/b").add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{{
		Count: &writev2.Histogram_CountInt{CountInt: 12}, Schema: 1, ZeroCount: &writev2.Histogram_ZeroCountInt{ZeroCountInt: 2}, Timestamp: now.UnixMilli(),
		PositiveSpans: []*writev2.BucketSpan{{Offset: 0, Length: 2}}, PositiveDeltas: []int64{1, 1}}, {Schema: -53, CustomValues: []float64{1}, Timestamp: now.UnixMilli()}}}, "__name__", "h")
	b, err := proto.Marshal(req.build())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := fuzzPoints(t, remoteWrite2, body, now)
		var ref writev2.Request
		if err != nil || proto.Unmarshal(body, &ref) != nil {
			return
		}
		points := 0
		for _, s := range ref.Timeseries {
			points += len(s.Samples) + len(s.Histograms)
		}
		if out.accepted+out.rejectedTotal() != points {
			t.Fatalf("%d accepted, %d refused of %d", out.accepted, out.rejectedTotal(), points)
		}
	})
}

// FuzzSnappy: what is no snappy is refused, and what is comes out as it went in.
func FuzzSnappy(f *testing.F) {
	f.Add([]byte("hello"), true)
	f.Add([]byte{0xc0, 0x84, 0x3d, 0}, false)
	f.Fuzz(func(t *testing.T, src []byte, good bool) {
		c := readingCollector(1<<20, 1<<22)
		body := src
		if good {
			body = snappy.Encode(nil, src)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.newBody(1)
		if err != nil {
			t.Fatal(err)
		}
		defer b.release()
		err = b.readSnappy(req)
		if good && (err != nil || b.buf.String() != string(src)) {
			t.Fatalf("%v: %q became %q", err, src, b.buf.String())
		}
		if b.buf.Len() > c.opts.MaxBody {
			t.Fatalf("%d bytes", b.buf.Len())
		}
	})
}

func FuzzMetrics(f *testing.F) {
	now := time.Now()
	body := encode(f, metricsOf(gauge("g", double(now, 1, text("a", "b"))), sum("db.client.connection.count", false, cumulative, double(now, 1, text("db.client.connection.state", "used")))))
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := fuzzPoints(t, metricPoints, body, now)
		comparePoints(t, body, out, err)
	})
}

func benchPoints(b *testing.B, s *signal, body []byte, points int) {
	quotas := tenant.DefaultQuotas()
	quotas.Unregistered.PointsPerSecond = 1 << 40 // never over it
	for name, l := range map[string]*limiter{"none": nil, "under": newLimiter(quotas, nil, discard, time.Now())} {
		b.Run("limits="+name, func(b *testing.B) { benchLimitedPoints(b, l, s, body, points) })
	}
}

func benchLimitedPoints(b *testing.B, l *limiter, s *signal, body []byte, points int) {
	d := decoder{opts: testOptions(), named: newNamedSeries(100_000), vocabulary: newMapped(), limits: spanLimits{limiter: l}}
	cols := newColumns()
	now := time.Now()
	if _, err := d.decode(request{signal: s, body: body}, cols, now); err != nil {
		b.Fatal(err)
	}
	d.named.add(cols.metric.fresh) // as after the first push
	cols.reset()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if out, err := d.decode(request{signal: s, body: body}, cols, now); err != nil || out.accepted != points {
			b.Fatal(err, out)
		}
		if cols.metric.points.value.Rows() >= 20_000 {
			cols.reset()
		}
	}
	b.ReportMetric(float64(b.N*points)/b.Elapsed().Seconds(), "points/s")
}

func BenchmarkRemoteWrite1(b *testing.B) {
	benchPoints(b, remoteWrite1, writeRequest1(time.Now(), 2000), 2000)
}

func BenchmarkRemoteWrite2(b *testing.B) {
	req := newRequest2()
	for i := range 2000 {
		req.add(sampleAt(time.Now(), float64(i)), "__name__", "node_cpu_seconds_total", "cpu", fmt.Sprint(i), "instance", "10.0.0.1:9100", "job", "shop/node", "mode", "idle", "region", "eu-1")
	}
	benchPoints(b, remoteWrite2, encode(b, req.build()), 2000)
}

func BenchmarkMetrics(b *testing.B) {
	now := time.Now()
	m := gauge("system.cpu.time")
	for i := range 2000 {
		m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, double(now, float64(i), number("cpu", int64(i)), text("state", "idle"), text("region", "eu-1")))
	}
	benchPoints(b, metricPoints, encode(b, metricsOf(m)), 2000)
}
