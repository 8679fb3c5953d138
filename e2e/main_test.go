// Package e2e drives the built headroom over the network as its users do: OpenTelemetry's SDK pushes, operators call the
// API and the command line, Slack's API stands at another address, a browser reads the pages.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

func TestMain(m *testing.M) {
	if _, err := harness.Binary(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// world is a headroom with a Slack. Tests that share it keep to products of their own.
type world struct {
	*harness.Headroom
	slack     *fakeSlack
	ingestKey string
	dir       string
}

var shared struct {
	once sync.Once
	world
	err error
}

// sharedWorld returns the headroom that tests share, started by the first of them.
func sharedWorld(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("headroom wrote:\n%s", shared.Log())
		}
	})
	return &shared.world
}

func (w *world) start() error {
	var err error
	// A space, because paths have them.
	if w.dir, err = os.MkdirTemp("", "headroom e2e "); err != nil {
		return err
	}
	w.slack = newFakeSlack()
	w.Headroom, err = harness.Start(context.Background(), harness.Options{
		Data: filepath.Join(w.dir, "the data"),
		Args: []string{"--name", "Acme", "--slack-token", slackToken, "--slack-channel", slackChannel, "--slack-api-url", w.slack.URL + "/api/"},
	})
	if err != nil {
		return err
	}
	w.ingestKey, err = w.NewKey(context.Background(), "e2e", "ingest:write")
	return err
}

func stopShared() error {
	w := &shared.world
	if w.slack != nil {
		defer w.slack.Close()
	}
	if w.dir != "" {
		defer func() { _ = os.RemoveAll(w.dir) }()
	}
	if w.Headroom == nil {
		return nil
	}
	began := time.Now()
	err := w.Stop()
	if testing.Verbose() {
		fmt.Println("the shared headroom stopped after", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// start starts a headroom of the test's own. The test stops it; if it fails before, the headroom is killed.
func start(t *testing.T, o harness.Options) *harness.Headroom {
	t.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	h, err := harness.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	killAtEnd(t, h)
	return h
}

func killAtEnd(t *testing.T, h *harness.Headroom) {
	t.Cleanup(func() {
		if t.Failed() && !h.Ended() {
			t.Logf("headroom wrote:\n%s", h.Log())
		}
		children := harness.Descendants(h.PID())
		if err := h.Kill(); err != nil {
			t.Error(err)
		}
		// The data directory is removed after this.
		waitGone(t, children)
	})
}

func waitGone(t *testing.T, processes []harness.Process) {
	t.Helper()
	eventually(t, 20*time.Second, "the processes of a killed headroom end", func() error {
		for _, p := range processes {
			if p.Alive() {
				return fmt.Errorf("%s runs", p)
			}
		}
		return nil
	})
}

// pollEvery is how often eventually looks.
const pollEvery = 100 * time.Millisecond

// eventually calls f until it returns nil, and fails the test when that takes longer than within.
func eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
	}
}
