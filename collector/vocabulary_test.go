package collector

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

const metricsPage = "../docs/metrics.md"

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The tables of docs/metrics.md say what the code does.
func TestPageShowsTheVocabulary(t *testing.T) {
	var want strings.Builder
	want.WriteString("| measure | value | several series | what it is |\n| --- | --- | --- | --- |\n")
	for _, m := range measures {
		form := "gauge"
		if m.counts {
			form = "counts up"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.name, form, m.across, m.about)
	}
	want.WriteString("\n| metric | of its points | kind | system | measure | times |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, v := range vocabulary {
		points, system, scale := "all", v.system, fmt.Sprint(v.scale)
		switch {
		case v.value != "":
			points = fmt.Sprintf("`%s` is `%s`", v.label, v.value)
		case v.label != "":
			points = fmt.Sprintf("with `%s`", v.label)
		}
		if system == "" {
			system = "*of the point*"
		}
		if v.scale == sinceUnix {
			scale = "age of the time"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | `%s` | %s |\n", v.metric, points, v.kind, system, v.measure, scale)
	}
	if !strings.Contains(page(t), want.String()) {
		t.Errorf("%s does not have these tables:\n\n%s", metricsPage, want.String())
	}
}

func TestVocabularyIsConsistent(t *testing.T) {
	known := map[string]bool{}
	for _, m := range measures {
		known[m.name] = true
	}
	seen := map[string]bool{}
	for _, v := range vocabulary {
		if !known[v.measure] {
			t.Errorf("%s: measure %q is unknown", v.metric, v.measure)
		}
		if instanceLabels[v.kind] == nil && v.kind != byDatabase {
			t.Errorf("%s: nothing says how an instance of %q is found", v.metric, v.kind)
		}
		key := v.metric + "\x00" + v.value
		if seen[key] || v.scale == 0 {
			t.Errorf("%s is there twice, or without a scale", v.metric)
		}
		seen[key] = true
	}
}

// resources decodes metrics and returns what resource_points gets of them.
func resources(t *testing.T, ms ...*metricspb.Metric) []string {
	t.Helper()
	_, cols, err := decodePoints(metricPoints, encode(t, metricsOf(ms...)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	c := &cols.metric.resources
	at := func(d *dictColumn, i int) string { return d.values[d.keys[i]] }
	for i, v := range c.value {
		out = append(out, fmt.Sprintf("%s %s %s %s %d %g", at(&c.kind, i), at(&c.system, i), at(&c.instance, i), at(&c.measure, i), c.form[i], v))
	}
	return out
}

func TestMetricsBecomeMeasures(t *testing.T) {
	now := time.Now()
	f := func(m *metricspb.Metric, want ...string) {
		t.Helper()
		if got := resources(t, m); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", m.Name, got, want)
		}
	}
	seconds := 3.5
	duration := func(attributes ...*commonpb.KeyValue) *metricspb.Metric {
		return &metricspb.Metric{Name: "db.client.operation.duration", Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: delta,
			DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: uint64(now.UnixNano()), Count: 7, Sum: &seconds, Attributes: attributes}}}}}
	}
	f(duration(text("db.system.name", "postgresql"), text("server.address", "db1"), number("server.port", 5432)),
		"database postgresql db1:5432 query_time_seconds 2 3.5", "database postgresql db1:5432 queries 2 7")
	f(duration(text("db.system", "redis"), text("server.address", "r1")), "cache redis r1 query_time_seconds 2 3.5", "cache redis r1 queries 2 7")
	exponential := &metricspb.Metric{Name: "db.client.operation.duration", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{
		AggregationTemporality: cumulative, DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: uint64(now.UnixNano()), Count: 7, Sum: &seconds,
			Attributes: []*commonpb.KeyValue{text("db.system.name", "mysql"), text("db.namespace", "orders")}}}}}}
	f(exponential, "database mysql orders query_time_seconds 1 3.5", "database mysql orders queries 1 7")
	f(sum("db.client.connection.count", false, cumulative, double(now, 4, text("db.client.connection.state", "used"), text("db.client.connection.pool.name", "main")),
		double(now, 2, text("db.client.connection.state", "idle"), text("db.client.connection.pool.name", "main")), double(now, 1, text("db.client.connection.state", "odd"))),
		"pool  main connections_used 0 4", "pool  main connections_idle 0 2")
	f(sum("db.client.connection.count", false, delta, double(now, 4, text("db.client.connection.state", "used")))) // a change is no level
	f(sum("rabbitmq.message.current", false, cumulative, double(now, 9, text("state", "ready"), text("rabbitmq.queue.name", "mail"))), "queue rabbitmq mail depth 0 9")
	f(gauge("kafka.partition.current_offset", double(now, 100, text("topic", "orders"), number("partition", 1))), "queue kafka orders in 1 100")
	f(gauge("rabbitmq_queue_head_message_timestamp", double(now, float64(now.Add(-time.Minute).UnixNano())/1e9, text("queue", "q"))), "queue rabbitmq q oldest_age_seconds 0 60")
	f(gauge("rabbitmq_queue_head_message_timestamp", double(now, 0, text("queue", "q")))) // it is empty
	published := func(attributes ...*commonpb.KeyValue) *metricspb.Metric {
		return sum("rabbitmq_queue_messages_published_total", true, cumulative, double(now, 9, attributes...))
	}
	f(published(text("queue", "q"), text("vhost", "/"), text("durable", "false")), "queue rabbitmq q in 1 9") // rabbitmq_exporter
	f(published(text("queue", "q"), text("channel", "<0.785.0>")))                                            // RabbitMQ, per object
	f(published(text("instance", "rabbit:15692")))                                                            // RabbitMQ, all queues
	f(sum("rabbitmq_queue_messages_delivered_total", true, cumulative, double(now, 9, text("instance", "rabbit:15692"))))
	f(gauge("pg_replication_lag", double(now, 1.5, text("server", "db1:5432"), text("instance", "exporter:9187"))), "database postgresql db1:5432 replication_lag_seconds 0 1.5")
	f(gauge("redis_memory_used_bytes", &metricspb.NumberDataPoint{TimeUnixNano: uint64(now.UnixNano()), Flags: 1})) // it ended
	f(gauge("what.nobody.maps", double(now, 1)))
}

// query returns the SQL of docs/metrics.md under a heading.
func query(t *testing.T, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(page(t), heading+"\n")
	_, rest, fenced := strings.Cut(rest, "```sql\n")
	sql, _, closed := strings.Cut(rest, "```")
	if !found || !fenced || !closed {
		t.Fatalf("%s has no SQL under %q", metricsPage, heading)
	}
	return sql
}

// history is a counter as a process reports it: what it really counted, and the points that tell so.
type history struct {
	instance string
	delta    bool
	points   []*metricspb.NumberDataPoint
	counted  map[int]float64 // by the minute
}

// simulate makes a counter of one of several sorts over minutes of 15 s steps. One that was seen before the first minute
// begins in minute -1.
func simulate(rng *rand.Rand, i int, from time.Time, minutes int) history {
	h := history{instance: fmt.Sprintf("r%d", i), delta: i%4 == 3, counted: map[int]float64{}}
	var (
		tellsStart = i%4 != 1
		fresh      = i%4 == 2 // began within the time
		total      = float64(rng.IntN(1000))
		started    = from.Add(-time.Hour)
		first      = -4
	)
	resets := func(int) bool { return rng.IntN(7) == 0 }
	if !tellsStart { // it shows by falling; so that it falls within the minute, the counter was large
		total += 1000
		once := rng.IntN(4 * minutes)
		resets = func(step int) bool { return step == once }
	}
	if fresh {
		total, first, started = 0, 2, from.Add(20*time.Second)
	}
	for step := first; step < 4*minutes; step++ {
		at := from.Add(time.Duration(step)*15*time.Second + 7*time.Second)
		grown := float64(rng.IntN(50))
		if step > first && !h.delta && resets(step) { // the process starts again
			total, started = 0, at.Add(-time.Second)
		}
		total += grown
		minute := (step+4000)/4 - 1000
		if step > first || fresh || h.delta {
			h.counted[minute] += grown
		}
		p := double(at, total, text("server.address", h.instance))
		if h.delta {
			p.Value = &metricspb.NumberDataPoint_AsDouble{AsDouble: grown}
			p.StartTimeUnixNano = uint64(at.Add(-15 * time.Second).UnixNano())
		} else if tellsStart {
			p.StartTimeUnixNano = uint64(started.UnixNano())
		}
		h.points = append(h.points, p)
	}
	return h
}

// By how much counters grew is exact across restarts of what counts, from the points and from the minutes: whoever pushes
// them in whatever order, in however many requests.
func TestIncreaseIsExact(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(1, seed))
	const minutes = 5
	from := time.Now().Truncate(time.Minute).Add(-10 * time.Minute).UTC()
	var (
		want []string
		send [4][]*metricspb.Metric
	)
	for i := range 40 {
		h := simulate(rng, i, from, minutes)
		temporality := cumulative
		if h.delta {
			temporality = delta
		}
		rng.Shuffle(len(h.points), func(a, b int) { h.points[a], h.points[b] = h.points[b], h.points[a] })
		for k, p := range h.points {
			send[k%4] = append(send[k%4], sum("redis.keyspace.hits", true, temporality, p))
		}
		for m := range minutes {
			want = append(want, fmt.Sprintf("%s %s %g", h.instance, from.Add(time.Duration(m)*time.Minute).Format(time.TimeOnly), h.counted[m]))
		}
	}
	slices.Sort(want)
	for _, ms := range send {
		r.sendMetrics(t, ms...)
	}
	r.awaitEmptySpool(t)
	for _, heading := range []string{"### From the points", "### From the minutes"} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{
			"product": "shop", "kind": "cache", "measure": "hits",
			"from": from.Format("2006-01-02 15:04:05"), "to": from.Add(minutes * time.Minute).Format("2006-01-02 15:04:05"),
		}))
		rows, err := db.Owner.Query(ctx, query(t, heading))
		if err != nil {
			t.Fatalf("%s: %v", heading, err)
		}
		var got []string
		for rows.Next() {
			var (
				instance string
				minute   time.Time
				increase float64
			)
			if err := rows.Scan(&instance, &minute, &increase); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %s %g", instance, minute.Format(time.TimeOnly), increase))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		missing := []string{}
		for _, w := range want {
			if !slices.Contains(got, w) {
				missing = append(missing, w)
			}
		}
		if len(got) != len(want) || len(missing) > 0 {
			t.Errorf("%s: %d rows, want %d; missing %q\nof %q", heading, len(got), len(want), missing, got)
		}
	}
}
