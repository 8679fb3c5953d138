package tenant_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// TestQuotaReached sends 85 % of a quota in a minute, then all of it: each share is told once, by whoever looks how often.
func TestQuotaReached(t *testing.T) {
	t.Parallel()
	h, ch := newHooks(t), testenv.NewClickHouse(t)
	h.endpoint(t, newReceiver(t, nil))
	q := tenant.DefaultQuotas()
	watch := func() *tenant.QuotaWatch {
		return tenant.NewQuotaWatch(h.pg.Pool, ch.Conn, tenant.NewGates(h.pg.Pool, h.store, q), slog.New(slog.DiscardHandler))
	}
	h.put(t, "acme", tenant.Starter)
	now := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	w := watch()
	sends := func(id string, minute int, spans int64, sampled int, want string) {
		t.Helper()
		if err := ch.Owner.Exec(t.Context(), `INSERT INTO ingest_1m (tenant, minute, spans, sampled_spans) VALUES (?, ?, ?, ?)`,
			id, now.Add(time.Duration(minute)*time.Minute), spans, sampled); err != nil {
			t.Fatal(err)
		}
		for _, w := range []*tenant.QuotaWatch{w, w, watch()} { // again, and in a process that has just begun
			if err := w.Look(t.Context(), now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		if err := h.pg.Owner.QueryRow(t.Context(), `SELECT coalesce(array_agg(tenant || ' ' || (payload::jsonb -> 'data' ->> 'percent') ORDER BY natural_key), '{}')
			FROM control.webhook_events WHERE type = 'quota.reached'`).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("told %q, want %q", s, want)
		}
	}
	most := q.Starter.SpansPerSecond * 60
	sends("acme", 0, most*79/100, 0, "")
	sends("acme", 1, most*85/100, 0, "acme 80")
	sends("acme", 2, most*60/100, 3, "acme 80, acme 100")
	sends("", 3, most*1000, 0, "acme 80, acme 100")
}
