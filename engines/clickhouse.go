package engines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const serviceName = "headroom" // the user and the database, in both engines

// ClickHouse is one run of the ClickHouse server, without supervision.
type ClickHouse struct {
	spec    *clickhouseSpec
	process *process
}

// StartClickHouse starts the ClickHouse server and returns when it answers queries. Most callers want Start.
func StartClickHouse(ctx context.Context, o Options) (*ClickHouse, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return startClickHouse(ctx, o)
}

// DSN is valid for every run on the same data directory as long as nobody else takes the ports in between.
func (c *ClickHouse) DSN() string {
	return fmt.Sprintf("clickhouse://%s:%s@127.0.0.1:%d/%s?http_port=%d",
		serviceName, c.spec.password, c.spec.tcpPort, serviceName, c.spec.httpPort)
}

// PID returns the server's process id.
func (c *ClickHouse) PID() int { return c.process.pid }

// Done is closed when the server has ended.
func (c *ClickHouse) Done() <-chan struct{} { return c.process.done }

// Err says why the server has ended; nil while it runs.
func (c *ClickHouse) Err() error { return c.process.exitError() }

// Stop ends the server and gives its directory back.
func (c *ClickHouse) Stop(ctx context.Context) error {
	return errors.Join(c.process.stop(ctx), c.spec.lock.Unlock())
}

// clickhouseSpec is what stays the same from one run of the server to the next.
type clickhouseSpec struct {
	Options
	lock              *DirLock
	dir               string // DIR/clickhouse
	library           string
	version           string // of the package
	password          string
	tcpPort, httpPort int
}

func startClickHouse(ctx context.Context, o Options) (*ClickHouse, error) {
	s := &clickhouseSpec{Options: o, dir: filepath.Join(o.Dir, "clickhouse")}
	var err error
	if s.version, err = packageVersion(o.Packages, clickhousePackage); err != nil {
		return nil, err
	}
	s.library = filepath.Join(o.Packages, filepath.FromSlash(clickhousePackage), "libchdb.so")
	if _, err := os.Stat(s.library); err != nil {
		return nil, fmt.Errorf("cannot find the ClickHouse library: %w: run `make engines`", err)
	}
	if s.lock, err = LockDir(s.dir); err != nil {
		return nil, err
	}
	p, err := s.start(ctx)
	if err != nil {
		return nil, errors.Join(err, s.lock.Unlock())
	}
	return &ClickHouse{spec: s, process: p}, nil
}

func (s *clickhouseSpec) start(ctx context.Context) (*process, error) {
	if err := s.checkVersion(); err != nil {
		return nil, err
	}
	var err error
	if s.password, err = secret(filepath.Join(s.dir, "password")); err != nil {
		return nil, err
	}
	s.progress("starting ClickHouse")
	// Another program can take a port between our look and the engine's bind, so a failed start is worth another try
	// with other ports, as long as nobody has been told of these.
	for attempt := 1; ; attempt++ {
		ports, err := pickPorts(filepath.Join(s.dir, "ports"), 2)
		if err != nil {
			return nil, err
		}
		s.tcpPort, s.httpPort = ports[0], ports[1]
		p, err := s.launch(ctx)
		if err == nil {
			return p, writeFile(filepath.Join(s.dir, "VERSION"), s.version+"\n")
		}
		if attempt == 3 || ctx.Err() != nil || portFree(s.tcpPort) && portFree(s.httpPort) {
			return nil, err
		}
	}
}

// launch starts the server on the chosen ports and waits until it answers and has its database.
func (s *clickhouseSpec) launch(ctx context.Context) (*process, error) {
	if err := s.writeConfig(); err != nil {
		return nil, err
	}
	// Not CommandContext: the context is the launch's, and the server outlives it.
	cmd := &exec.Cmd{Path: s.Executable}
	cmd.Args = []string{"headroom-clickhouse", s.library, filepath.Join(s.dir, "engine.lock"),
		"--config-file=" + filepath.Join(s.dir, "config.xml"),
		"--path=" + filepath.Join(s.dir, "data"),
		"--log-level=warning", // the configuration file's level is not heeded
		"--query", launchQuery,
	}
	cmd.Dir = s.dir
	// A new environment: the engine looks for credentials of cloud storage and the like in what it inherits. Go's
	// preemption signals are for Go code only and would interrupt the engine's system calls.
	cmd.Env = []string{childEnv + "=clickhouse", "GODEBUG=asyncpreemptoff=1", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = childAttributes(syscall.SIGKILL)
	p, err := startProcess("ClickHouse", cmd, filepath.Join(s.dir, "stderr.log"), []step{{0, 5 * time.Second}})
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx, s.StartTimeout, s.createDatabase); err != nil {
		return nil, err
	}
	return p, nil
}

// createDatabase succeeds once the server serves both protocols and its database exists.
func (s *clickhouseSpec) createDatabase(ctx context.Context) error {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.httpPort)), Path: "/"}
	body := strings.NewReader("CREATE DATABASE IF NOT EXISTS " + serviceName)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return err
	}
	req.Header.Set("X-ClickHouse-User", serviceName)
	req.Header.Set("X-ClickHouse-Key", s.password)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tcpPort)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// checkVersion refuses data of a newer ClickHouse: it writes formats that an older one cannot read.
func (s *clickhouseSpec) checkVersion() error {
	path := filepath.Join(s.dir, "VERSION")
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, err)
	}
	written := strings.TrimSpace(string(b))
	was, is := versionNumbers(written, 2), versionNumbers(s.version, 2)
	if was[0] > is[0] || was[0] == is[0] && was[1] > is[1] {
		return fmt.Errorf("data directory %q was written by ClickHouse %s, which is newer than the installed %s: "+
			"run `make engines` for the newer one or choose another --data", s.dir, written, s.version)
	}
	return nil
}
