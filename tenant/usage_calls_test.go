package tenant_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// TestCallsAreRecorded counts calls in two processes, stores them more than once, and finds them in the day and its one event.
func TestCallsAreRecorded(t *testing.T) {
	t.Parallel()
	h, ch := newHooks(t), testenv.NewClickHouse(t)
	h.endpoint(t, newReceiver(t, nil))
	log := slog.New(slog.DiscardHandler)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	a, b := tenant.NewCalls(h.pg.Pool, log), tenant.NewCalls(h.pg.Pool, log)
	for _, c := range []*tenant.Calls{a, b, a} {
		c.Add("acme", today.Add(-time.Second))
		for range 2 {
			if err := c.Store(t.Context(), today); err != nil {
				t.Fatal(err)
			}
		}
	}
	u := tenant.NewUsage(h.pg.Pool, ch.Conn, log)
	for _, want := range []int64{1, 0} {
		if n, err := u.Close(t.Context(), today.Add(2*time.Hour)); err != nil || n != want {
			t.Errorf("closed %d rows, want %d: %v", n, want, err)
		}
	}
	if n := h.count(t, `SELECT count(*) FROM control.webhook_events WHERE type = 'usage.recorded' AND tenant = 'acme'
		AND payload::jsonb -> 'data' ->> 'api_calls' = '3'`); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	// What ClickHouse has no more stays when a call comes late.
	if _, err := h.pg.Owner.Exec(t.Context(), `UPDATE control.usage_days SET spans = 7, requests = 5`); err != nil {
		t.Fatal(err)
	}
	a.Add("acme", today.Add(-time.Second))
	if err := a.Store(t.Context(), today); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int64{1, 0} {
		if n, err := u.Close(t.Context(), today.Add(2*time.Hour)); err != nil || n != want {
			t.Errorf("closed %d rows after a late call, want %d: %v", n, want, err)
		}
	}
	if n := h.count(t, `SELECT count(*) FROM control.usage_days WHERE (spans, requests, api_calls, revision) = (7, 5, 4, 2)`); n != 1 {
		t.Errorf("%d rows have what was counted and the late call, want 1", n)
	}
}
