package tenant_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv("WEBHOOK_TEST_POSTGRES"); dsn != "" {
		sendWebhooksUntilKilled(dsn)
	}
	os.Exit(m.Run())
}

// sendWebhooksUntilKilled is the child's whole work. Its time for an attempt outlasts the test, so that only the kill ends one.
func sendWebhooksUntilKilled(dsn string) {
	ctx := context.Background()
	pool, err := postgres.OpenServing(ctx, dsn, false)
	if err == nil {
		var w *tenant.Webhooks
		w, err = tenant.NewWebhooks(tenant.WebhookOptions{Pool: pool, Logger: slog.New(slog.DiscardHandler), AllowPrivate: true, Timeout: time.Hour})
		if err == nil {
			var s *alerting.Service
			if s, err = webhookSender(w); err == nil {
				err = s.Run(ctx)
			}
		}
	}
	slog.ErrorContext(ctx, "the child ended", "error", err)
	os.Exit(1)
}

// TestWebhookKilledWhileSending kills a process when the receiver has the event and before it could note that. The next one sends it once
// more, by the same id.
func TestWebhookKilledWhileSending(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	got, hang := make(chan string, 1), make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request, n int) {
		if n == 1 {
			got <- req.Header.Get("webhook-id")
			<-hang
		}
	})
	t.Cleanup(func() { close(hang) }) // before the receiver closes, which waits for its answers
	h.endpoint(t, r)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "WEBHOOK_TEST_POSTGRES="+h.pg.DSN)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	h.put(t, "acme", tenant.Starter)
	var first string
	select {
	case first = <-got:
	case <-time.After(3 * time.Minute):
		t.Error("nothing was sent")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	if n := h.count(t, `SELECT count(*) FROM control.webhook_deliveries WHERE status = 'pending' AND attempts = 1`); n != 1 {
		t.Fatalf("%d deliveries are as a crash leaves them", n)
	}
	h.send(t)
	h.settled(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) != 1 || r.order[0] != first || r.requests != 2 || len(r.refused) != 0 {
		t.Errorf("events %v after %q, by %d requests, %v", r.events, first, r.requests, r.refused)
	}
}
