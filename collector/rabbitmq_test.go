//go:build peers

package collector

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// rabbit is a RabbitMQ that runs until the test ends.
type rabbit struct {
	conn    *amqp.Connection
	metrics string // address of its Prometheus plugin
}

// rabbitMQ runs Debian's RabbitMQ with all that it writes in a directory of the test. Debian's own command changes to the
// system's user and files, so it is the one behind that.
func rabbitMQ(t *testing.T) *rabbit {
	t.Helper()
	dir := t.TempDir()
	port := func() string {
		_, p, _ := net.SplitHostPort(freeAddress(t))
		return p
	}
	listen, epmd := freeAddress(t), port()
	r := &rabbit{metrics: freeAddress(t)}
	_, listenPort, _ := net.SplitHostPort(listen)
	_, metricsPort, _ := net.SplitHostPort(r.metrics)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, value := range map[string]string{
		"HOME": dir, "ERL_EPMD_PORT": epmd, "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_CRASH_DUMP_SECONDS": "0",
		"RABBITMQ_NODENAME": "headroom@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": listenPort, "RABBITMQ_DIST_PORT": port(),
		"RABBITMQ_MNESIA_BASE": filepath.Join(dir, "mnesia"), "RABBITMQ_LOG_BASE": filepath.Join(dir, "log"), "RABBITMQ_LOGS": "-",
		"RABBITMQ_PID_FILE": filepath.Join(dir, "pid"), "RABBITMQ_FEATURE_FLAGS_FILE": filepath.Join(dir, "feature_flags"),
		"RABBITMQ_CONF_ENV_FILE":        write("env.conf", ""),
		"RABBITMQ_ENABLED_PLUGINS_FILE": write("enabled_plugins", "[rabbitmq_prometheus].\n"),
		"RABBITMQ_CONFIG_FILE": write("rabbitmq.conf", "prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = "+metricsPort+
			"\ncollect_statistics_interval = 1000\nlog.console.level = warning\n"),
	} {
		t.Setenv(name, value)
	}
	background(t, "erlang-base", "epmd", "-port", epmd) // else RabbitMQ starts one that nobody stops
	background(t, "rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
	await(t, func() bool {
		var err error
		r.conn, err = amqp.Dial("amqp://guest:guest@" + listen + "/")
		return err == nil
	})
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

func (r *rabbit) channel(t *testing.T, queues ...string) *amqp.Channel {
	t.Helper()
	ch, err := r.conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		if _, err := ch.QueueDeclare(q, false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	return ch
}

func publish(t *testing.T, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	for range n {
		m := amqp.Publishing{Body: []byte("m"), Timestamp: time.Now().Add(-time.Hour)}
		if err := ch.PublishWithContext(t.Context(), "", queue, false, false, m); err != nil {
			t.Fatal(err)
		}
	}
}

// consume takes n messages, of which it acknowledges all but the last few. It never gets more: the broker has only so many
// under way that are not acknowledged.
func consume(t *testing.T, ch *amqp.Channel, queue string, n, unacknowledged int) {
	t.Helper()
	if err := ch.Qos(unacknowledged, 0, false); err != nil {
		t.Fatal(err)
	}
	messages, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := <-messages
		if i >= n-unacknowledged {
			continue
		}
		if err := m.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
}

// get takes n messages one by one.
func get(t *testing.T, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	for range n {
		await(t, func() bool {
			_, ok, err := ch.Get(queue, true)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		})
	}
}

// Prometheus scrapes a RabbitMQ in each of the three ways that its plugin offers. What headroom takes for a broker's and a
// queue's measures is what was published and consumed, once.
func TestPrometheusPushesRabbitMQ(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	broker := rabbitMQ(t)
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: shop/rabbitmq, static_configs: [{targets: [%[1]q], labels: {instance: "rabbit:5672"}}]}
  - {job_name: detailed/rabbitmq, metrics_path: /metrics/detailed, params: {family: [queue_coarse_metrics, queue_metrics, channel_queue_metrics, channel_queue_exchange_metrics]}, static_configs: [{targets: [%[1]q]}]}
  - {job_name: objects/rabbitmq, metrics_path: /metrics/per-object, static_configs: [{targets: [%[1]q], labels: {instance: "rabbit:5672"}}]}
remote_write:
  - url: %[2]s
    authorization: {credentials: ingest}
    queue_config: {batch_send_deadline: 100ms}
`, broker.metrics, r.url+remoteWritePath), 0o600); err != nil {
		t.Fatal(err)
	}

	first := broker.channel(t, "mail", "bills")
	publish(t, first, "mail", 5)
	get(t, first, "mail", 2)
	background(t, "prometheus", "prometheus", "--config.file", config, "--storage.tsdb.path", t.TempDir(), "--web.listen-address", freeAddress(t))

	// now returns what the latest point of each series of a product says, summed by instance.
	now := func(product, measures string) []string {
		return rowsOf(t, db, `SELECT concat(instance, ' ', measure, ' ', toString(toInt64(sum(latest)))) FROM
			(SELECT instance, measure, series, argMax(value, ts) AS latest FROM resource_points
			 WHERE product = '`+product+`' AND kind = 'queue' AND system = 'rabbitmq' AND measure IN (`+measures+`) GROUP BY instance, measure, series)
			GROUP BY instance, measure ORDER BY instance, measure`)
	}
	awaitRows := func(product, measures string, want ...string) {
		t.Helper()
		var got []string
		deadline := time.Now().Add(60 * time.Second)
		for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
			if got = now(product, measures); slices.Equal(got, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("product %s:\n got %q\nwant %q", product, got, want)
			}
		}
	}
	// out is of the deliveries, in of what was routed to a queue.
	awaitRows("shop", "'depth', 'in', 'out'", "rabbit:5672 depth 3", "rabbit:5672 in 5", "rabbit:5672 out 2")
	awaitRows("objects", "'in', 'out'", "rabbit:5672 in 5", "rabbit:5672 out 2")
	since := time.Now().UTC()

	publish(t, first, "mail", 4)
	publish(t, first, "bills", 10)
	publish(t, first, "nowhere", 3) // is dropped, for there is no such queue
	second := broker.channel(t)
	consume(t, second, "bills", 7, 4)
	third := broker.channel(t)
	get(t, third, "mail", 1)
	if err := third.Close(); err != nil { // what this channel has counted is gone from all sums over channels
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	levels := "'connections_used', 'consumers', 'depth', 'in', 'out', 'unacknowledged'"
	awaitRows("shop", levels, "rabbit:5672 connections_used 1", "rabbit:5672 consumers 1", "rabbit:5672 depth 9", "rabbit:5672 in 19", "rabbit:5672 out 10", "rabbit:5672 unacknowledged 4")
	queues := []string{
		"bills consumers 1", "bills depth 3", "bills unacknowledged 4",
		"mail consumers 0", "mail depth 6", "mail unacknowledged 0",
	}
	awaitRows("detailed", levels, queues...)
	awaitRows("objects", levels, append(queues, "rabbit:5672 connections_used 1", "rabbit:5672 in 19", "rabbit:5672 out 10")...)

	// Whatever came and went since was counted once, whichever channels have closed.
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{
		"product": "shop", "kind": "queue", "measure": "in",
		"from": since.Format("2006-01-02 15:04:05"), "to": time.Now().UTC().Add(time.Minute).Format("2006-01-02 15:04:05"),
	}))
	total := func(measure string) (instance string, increase float64) {
		sql := strings.ReplaceAll(query(t, "### From the points"), "{measure:String}", "'"+measure+"'")
		if err := db.Owner.QueryRow(ctx, "SELECT any(instance), sum(increase) FROM ("+sql+")").Scan(&instance, &increase); err != nil {
			t.Fatal(err)
		}
		return instance, increase
	}
	for measure, want := range map[string]float64{"in": 14, "out": 8} {
		if instance, got := total(measure); instance != "rabbit:5672" || got != want {
			t.Errorf("%s of %q grew by %g, want %g", measure, instance, got, want)
		}
	}
	wantRows(t, db, `SELECT concat(product, ' ', instance, ' ', measure) FROM resource_points WHERE measure LIKE 'memory%' AND value > 5e7 GROUP BY product, instance, measure ORDER BY ALL`,
		"objects rabbit:5672 memory_max_bytes", "objects rabbit:5672 memory_used_bytes", "shop rabbit:5672 memory_max_bytes", "shop rabbit:5672 memory_used_bytes")
	wantRows(t, db, `SELECT DISTINCT concat(product, ' ', instance) FROM resource_points WHERE measure = 'oldest_age_seconds' AND value BETWEEN 3500 AND 3800 ORDER BY ALL`,
		"detailed bills", "detailed mail", "objects bills", "objects mail")
}
