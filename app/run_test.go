package app_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/app"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// output collects what headroom prints, for a reader at the same time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs headroom until stop is called, which returns Run's error.
func start(t *testing.T, o app.Options) (out *output, stop func() error) {
	t.Helper()
	out = &output{}
	o.Out, o.Logger = out, slog.New(slog.NewTextHandler(out, nil))
	for _, addr := range []*string{&o.ListenHTTP, &o.ListenStatus, &o.ListenOTLPHTTP, &o.ListenOTLPGRPC, &o.ListenInternal} {
		*addr = "127.0.0.1:0"
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, o) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return out, stop
}

// eventually waits for f, which says what is missing yet.
func eventually(t *testing.T, what string, f func() string) {
	t.Helper()
	deadline := time.After(3 * time.Minute) // whole programs on two busy cores, with -race
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := f()
		if missing == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %s", what, missing)
		case <-tick.C:
		}
	}
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

var statusURL = regexp.MustCompile(`status=(\S+)`)

// TestStatusPageStartsWithoutDatabases starts headroom, stops it, and starts it again with both databases away: what the
// status page showed last must be there at once, and the rest must wait instead of giving up.
func TestStatusPageStartsWithoutDatabases(t *testing.T) {
	t.Parallel()
	ch, pg := testenv.NewClickHouse(t), testenv.NewPostgres(t)
	o := app.Options{Version: "test", Data: t.TempDir(), ClickHouse: ch.DSN, Postgres: pg.DSN, Embedded: true, Name: "Quillstone"}
	out, stop := start(t, o)
	var status string
	eventually(t, "the first start", func() string {
		m := statusURL.FindStringSubmatch(out.String())
		if m == nil {
			return "no line ready in:\n" + out.String()
		}
		status = m[1]
		if code, body := fetch(t, status); code != 200 || !strings.Contains(body, "Quillstone") {
			return "the status page answers " + body
		}
		if _, err := os.Stat(filepath.Join(o.Data, "statuspage.snapshot")); err != nil {
			return err.Error()
		}
		return ""
	})
	if info, err := os.Stat(filepath.Join(o.Data, "admin-key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin-key: got %v, %v; want a file of mode 0600", info, err)
	}
	if err := stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}

	o.ClickHouse = "clickhouse://u:p@127.0.0.1:1/x"
	o.Postgres = "postgres://u:p@127.0.0.1:1/x"
	o.StatusURL = "" // the address is not announced before all is ready: take it from the log
	out, stop = start(t, o)
	eventually(t, "the start without databases", func() string {
		if !strings.Contains(out.String(), "does not answer, trying again") {
			return "it does not say that it waits:\n" + out.String()
		}
		return ""
	})
	m := regexp.MustCompile(`name=status address=(\S+)`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("the log names no address of the status page:\n%s", out.String())
	}
	if code, body := fetch(t, "http://"+m[1]); code != 200 || !strings.Contains(body, "Quillstone") {
		t.Errorf("the status page without databases: got %d %.200s", code, body)
	}
	if err := stop(); err != nil {
		t.Errorf("stop while it waits: %v", err)
	}
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	f := func(o app.Options, want string) {
		t.Helper()
		o.Out, o.Logger = io.Discard, slog.New(slog.DiscardHandler)
		if err := app.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
	dir := t.TempDir()
	f(app.Options{}, "--data")
	f(app.Options{Data: dir}, "--clickhouse and --postgres")
	f(app.Options{Data: dir, Embedded: true, Roles: []app.Role{"cook"}}, `unknown role "cook"`)
	f(app.Options{Data: dir, Embedded: true, Slack: app.SlackOptions{Token: "xoxb-1"}}, "--slack-channel")
	f(app.Options{Data: dir, Embedded: true, ClickHouse: "foo"}, "--clickhouse")
	f(app.Options{Data: dir, Embedded: true, Postgres: "foo"}, "--postgres")
	f(app.Options{Data: dir, Embedded: true, ConsoleURL: "notaurl"}, "--console-url")
	f(app.Options{Data: dir, Embedded: true, ListenHTTP: "nowhere:99999"}, "--listen-http")
}
