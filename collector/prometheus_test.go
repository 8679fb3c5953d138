//go:build peers

package collector

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// background runs a program of Debian's until the test ends. One that is missing fails the test.
func background(t *testing.T, pkg, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it starts
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = log.Close()
		if out, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s:\n%s", name, out)
		}
	})
}

// freeAddress returns an address on which nothing listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// redis runs a Redis that has answered some commands, and returns its address.
func redis(t *testing.T) string {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	background(t, "redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--maxmemory", "64mb")
	var conn net.Conn
	await(t, func() (ok bool) {
		var err error
		conn, err = net.Dial("tcp", address)
		return err == nil
	})
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for _, c := range []string{"SET a 1", "GET a", "GET a", "GET b"} {
		if _, err := fmt.Fprintf(conn, "%s\r\n", c); err != nil {
			t.Fatal(err)
		}
		answer, err := in.ReadString('\n')
		if err == nil && answer[0] == '$' && answer != "$-1\r\n" {
			_, err = in.ReadString('\n')
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return address
}

// Prometheus scrapes redis_exporter, which reads a Redis, postgres_exporter, which reads the tests' PostgreSQL, and a service
// with a native histogram, and pushes what it scrapes here: its own client, the exporters' real names.
func TestPrometheusPushes(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	exporter := freeAddress(t)
	background(t, "prometheus-redis-exporter", "prometheus-redis-exporter", "--redis.addr", "redis://"+redis(t), "--web.listen-address", exporter)

	dsn, err := url.Parse(os.Getenv("HEADROOM_POSTGRES"))
	if err != nil || dsn.Host == "" {
		t.Fatalf("HEADROOM_POSTGRES %q: %v", dsn, err)
	}
	postgres := freeAddress(t)
	t.Setenv("DATA_SOURCE_NAME", dsn.String())
	background(t, "prometheus-postgres-exporter", "prometheus-postgres-exporter", "--web.listen-address", postgres)

	registry := prometheus.NewRegistry()
	native := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "native_seconds", Help: "h", NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: 1e-3})
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "classic_seconds", Help: "h", Buckets: []float64{1, 2.5}})
	registry.MustRegister(native, classic)
	for _, v := range []float64{0.0001, 0.5, 1.5, 3, -2} {
		native.Observe(v)
		classic.Observe(v)
	}
	service := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(service.Close)

	config := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: shop/redis
    static_configs: [{targets: [%q]}]
  - job_name: shop/postgres
    static_configs: [{targets: [%q]}]
  - job_name: shop/api
    static_configs: [{targets: [%q], labels: {tenant_id: acme}}]
remote_write:
  - url: %s
    authorization: {credentials: ingest}
    send_native_histograms: true
    queue_config: {batch_send_deadline: 100ms}
`, exporter, postgres, strings.TrimPrefix(service.URL, "http://"), r.url+remoteWritePath), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, "prometheus", "prometheus", "--config.file", config, "--storage.tsdb.path", t.TempDir(), "--web.listen-address", freeAddress(t), "--enable-feature=native-histograms")

	measured := `SELECT concat(measure, ' ', toString(toUInt64(max(value)))) FROM resource_points
		WHERE kind = 'cache' AND system = 'redis' AND instance = '` + exporter + `' AND product = 'shop' AND service = 'redis'
			AND measure IN ('hits', 'misses', 'memory_max_bytes', 'evictions') GROUP BY measure ORDER BY measure`
	await(t, func() bool {
		return slices.Equal(rowsOf(t, db, measured), []string{"evictions 0", "hits 2", "memory_max_bytes 67108864", "misses 1"})
	})
	wantRows(t, db, `SELECT DISTINCT measure FROM resource_points WHERE system = 'redis' AND value > 0 AND measure IN ('connections_used', 'memory_used_bytes', 'queries', 'query_time_seconds', 'connections_max') ORDER BY measure`,
		"connections_max", "connections_used", "memory_used_bytes", "queries", "query_time_seconds")
	connections := `SELECT concat(measure, ' ', toString(max(value) > 0)) FROM resource_points
		WHERE kind = 'database' AND system = 'postgresql' AND instance = '` + dsn.Host + `' AND measure IN ('connections_used', 'connections_max', 'commits') GROUP BY measure ORDER BY measure`
	await(t, func() bool {
		return slices.Equal(rowsOf(t, db, connections), []string{"commits 1", "connections_max 1", "connections_used 1"})
	})
	histogram := `SELECT DISTINCT toString((count, round(sum, 4), scale, zero_count, length(positive), length(negative), product, tenant)) FROM metric_histograms WHERE metric = 'native_seconds'`
	await(t, func() bool { return len(rowsOf(t, db, histogram)) > 0 })
	wantRows(t, db, histogram, "(5,3.0001,3,1,3,1,'shop','acme')")
	buckets := `SELECT DISTINCT concat(s.labels['le'], ' ', toString(p.value)) FROM metric_points AS p INNER JOIN (SELECT * FROM metric_series FINAL) AS s ON p.series = s.series
		WHERE p.metric = 'classic_seconds_bucket' AND s.service = 'api' AND s.kind = 'counter' ORDER BY s.labels['le'] DESC`
	await(t, func() bool { return slices.Equal(rowsOf(t, db, buckets), []string{"2.5 4", "1.0 3", "+Inf 5"}) })
	// The service goes away, and Prometheus says that its series ended.
	service.CloseClientConnections()
	service.Config.Handler = http.NotFoundHandler()
	ended := `SELECT toString(count() > 0) FROM metric_points WHERE metric = 'classic_seconds_count' AND reinterpretAsUInt64(value) = 0x7ff0000000000002`
	await(t, func() bool { return slices.Equal(rowsOf(t, db, ended), []string{"1"}) })
}
