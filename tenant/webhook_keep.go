package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	keepEvents   = "30 days" // as PostgreSQL has intervals
	webhookEvery = time.Minute
	// webhookOverdue is how long after its time a delivery is taken to have no job.
	webhookOverdue = time.Minute
)

var webhooksWaiting = metrics.NewGauge("headroom_webhook_deliveries_waiting", nil)

// Run looks after deliveries until ctx ends: what has no job any more, whoever threw it away, gets one, and what is old is forgotten.
func (w *Webhooks) Run(ctx context.Context) error {
	tick := time.NewTicker(webhookEvery)
	defer tick.Stop()
	for {
		if err := w.tidy(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("cannot look after deliveries of webhooks, trying again", "error", err, "delay", webhookEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Webhooks) tidy(ctx context.Context) error {
	return postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		// Endpoints come before deliveries, as everywhere.
		if _, err := tx.Exec(ctx, `UPDATE control.webhook_endpoints SET old_secret = NULL, old_secret_until = NULL WHERE old_secret_until < now()`); err != nil {
			return fmt.Errorf("cannot forget old secrets: %w", err)
		}
		// Several processes take others each.
		rows, err := tx.Query(ctx, `
			UPDATE control.webhook_deliveries SET due_at = now() WHERE id IN (
				SELECT d.id FROM control.webhook_deliveries d JOIN control.webhook_endpoints p ON p.id = d.endpoint_id
				WHERE d.status = 'pending' AND p.enabled AND d.due_at < now() - make_interval(secs => $1)
				ORDER BY d.due_at LIMIT $2 FOR UPDATE OF d SKIP LOCKED)
			RETURNING id`, webhookOverdue.Seconds(), maxQueued)
		if err != nil {
			return fmt.Errorf("cannot read which deliveries are overdue: %w", err)
		}
		overdue, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return fmt.Errorf("cannot read which deliveries are overdue: %w", err)
		}
		if err := w.outbox.queue(ctx, tx, overdue); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM control.webhook_events WHERE created_at < now() - $1::interval`, keepEvents); err != nil {
			return fmt.Errorf("cannot forget old events: %w", err)
		}
		var waiting int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM control.webhook_deliveries WHERE status = 'pending'`).Scan(&waiting); err != nil {
			return fmt.Errorf("cannot count what waits: %w", err)
		}
		webhooksWaiting.Set(float64(waiting))
		return nil
	})
}
