package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nexis-limited/headroom/engines"
)

// system is a system under test that runs: a receiver of OTLP and the ClickHouse behind it.
type system struct {
	name   string
	url    string // of OTLP/HTTP traces
	header http.Header
	table  string // that has a row for every span
	db     *database

	pid           int // of the receiver
	clickhousePID int
	internal      string // base URL of headroom's internal listener, for profiles

	stop func() error
}

// freeAddress returns an address of the loopback interface that nobody listens on just now.
func freeAddress() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// startHeadroom starts the built binary with databases of its own, as "headroom up" does for anybody.
func startHeadroom(ctx context.Context, binary, packages, dir string) (*system, error) {
	addresses := make([]string, 5)
	for i := range addresses {
		var err error
		if addresses[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	// Its end is startProcess's to say, not the context's.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "--log-level=warn", "up", "--data", dir, "--listen-http", addresses[0],
		"--listen-status", addresses[1], "--listen-otlp-http", addresses[2], "--listen-internal", addresses[3], "--listen-otlp-grpc", addresses[4])
	cmd.Env = append(os.Environ(), "HEADROOM_ENGINES="+packages)
	stop, err := startProcess(ctx, cmd, filepath.Join(dir, "headroom.log"), func(line string) bool { return strings.HasPrefix(line, "ready") })
	if err != nil {
		return nil, err
	}
	s := &system{name: "headroom", url: "http://" + addresses[2] + "/v1/traces", table: "trace_spans", pid: cmd.Process.Pid,
		internal: "http://" + addresses[3], stop: stop}
	if err := s.findHeadroom(dir); err != nil {
		return nil, errors.Join(err, stop())
	}
	return s, nil
}

// findHeadroom reads from the data directory how to reach the database, and the key to push with.
func (s *system) findHeadroom(dir string) error {
	var files [3]string
	for i, name := range []string{"admin-key", "clickhouse/password", "clickhouse/ports"} {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		files[i] = strings.TrimSpace(string(b))
	}
	ports := strings.Fields(files[2])
	if len(ports) != 2 {
		return fmt.Errorf("cannot read the engine's ports: %q", files[2])
	}
	s.header = http.Header{"Content-Type": {"application/x-protobuf"}, "Authorization": {"Bearer " + files[0]}}
	s.db = &database{host: "127.0.0.1:" + ports[1], tcpPort: ports[0], user: "headroom", password: files[1], name: "headroom"}
	var err error
	s.clickhousePID, err = childNamed(s.pid, "headroom-clickhouse")
	return err
}

// peerSettings is a way to configure the OpenTelemetry Collector such that it acknowledges only what ClickHouse has.
type peerSettings struct {
	name      string
	batch     int  // spans that are gathered for an insert; 0 inserts each request by itself
	consumers int  // inserts at a time
	async     bool // ClickHouse gathers the rows, and the insert waits until they are stored
}

// config returns the Collector's configuration file.
func (p peerSettings) config(address string, db *database) string {
	queue := "enabled: false"
	if p.batch > 0 {
		queue = fmt.Sprintf(`enabled: true
      wait_for_result: true
      block_on_overflow: true
      sizer: items
      queue_size: 2000000
      num_consumers: %d
      batch: {flush_timeout: 200ms, min_size: %d, max_size: %d}`, p.consumers, p.batch, 2*p.batch)
	}
	return fmt.Sprintf(`receivers:
  otlp:
    protocols:
      http: {endpoint: "%s"}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 8192}
exporters:
  clickhouse:
    endpoint: tcp://127.0.0.1:%s?max_open_conns=64&max_idle_conns=64%s
    username: %s
    password: %s
    database: otel
    create_schema: true
    async_insert: %t
    compress: lz4
    timeout: 60s
    sending_queue:
      %s
service:
  telemetry:
    logs: {level: warn}
    metrics: {level: none}
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter], exporters: [clickhouse]}
`, address, db.tcpPort, map[bool]string{true: "&wait_for_async_insert=1"}[p.async], db.user, db.password, p.async, queue)
}

// startPeer starts a ClickHouse of the same kind, with the same settings, and the OpenTelemetry Collector before it.
func startPeer(ctx context.Context, binary, headroom, packages, dir string, p peerSettings) (*system, error) {
	ch, err := engines.StartClickHouse(ctx, engines.Options{Dir: dir, Packages: packages, Executable: headroom})
	if err != nil {
		return nil, err
	}
	stopEngine := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return ch.Stop(ctx)
	}
	s, err := startCollector(ctx, binary, ch, dir, p)
	if err != nil {
		return nil, errors.Join(err, stopEngine())
	}
	stopCollector := s.stop
	s.stop = func() error { return errors.Join(stopCollector(), stopEngine()) }
	return s, nil
}

func startCollector(ctx context.Context, binary string, ch *engines.ClickHouse, dir string, p peerSettings) (*system, error) {
	db, err := parseDSN(ch.DSN())
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "otelcol.yaml")
	if err := os.WriteFile(file, []byte(p.config(address, db)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "--config", file)
	stop, err := startProcess(ctx, cmd, filepath.Join(dir, "otelcol.log"), nil)
	if err != nil {
		return nil, err
	}
	db.name = "otel"
	s := &system{name: "otelcol", url: "http://" + address + "/v1/traces", table: "otel_traces", db: db,
		header: http.Header{"Content-Type": {"application/x-protobuf"}}, pid: cmd.Process.Pid, clickhousePID: ch.PID(), stop: stop}
	if err := s.awaitAnswer(ctx); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "otelcol.log"))
		return nil, errors.Join(fmt.Errorf("%w: %.2000s", err, text), stop())
	}
	return s, nil
}

// awaitAnswer returns when an empty request gets its 200.
func (s *system) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	l := newLoad(s.url, s.header, 1, nil)
	for {
		_, err := l.send(ctx, &body{})
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", s.name, err)
		}
	}
}

// startProcess starts a program and waits for a line of its output, when ready is given. The rest of what it prints
// goes to a file.
func startProcess(ctx context.Context, cmd *exec.Cmd, logFile string, ready func(line string) bool) (stop func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to pass on
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start %q: %w", cmd.Path, err), log.Close())
	}
	seen := make(chan struct{})
	var endedWith error // once ended is closed
	ended := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for waiting := ready != nil; lines.Scan(); {
			if waiting && ready(lines.Text()) {
				close(seen)
				waiting = false
			}
		}
		_, _ = io.Copy(io.Discard, out)
		endedWith = errors.Join(cmd.Wait(), log.Close())
		close(ended)
	}()
	stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(60 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		return nil
	}
	if ready == nil {
		return stop, nil
	}
	select {
	case <-seen:
		return stop, nil
	case <-ended:
		text, _ := os.ReadFile(logFile)
		return nil, fmt.Errorf("%q has ended: %w: %.2000s", cmd.Path, endedWith, text)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), stop())
	case <-time.After(3 * time.Minute):
		return nil, errors.Join(fmt.Errorf("%q is not ready after three minutes", cmd.Path), stop())
	}
}
