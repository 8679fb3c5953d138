package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// check returns the endpoint as it is stored, or all that is wrong with it.
func (w *Webhooks) check(n NewEndpoint) (NewEndpoint, error) {
	var wrong fault.List
	var e *fault.Error
	if errors.As(w.checkURL(n.URL), &e) {
		wrong = append(wrong, e)
	}
	if len(n.Description) > 200 || strings.ContainsFunc(n.Description, unicode.IsControl) {
		wrong = append(wrong, fault.InvalidField("description", n.Description, "must have at most 200 bytes without control characters"))
	}
	if len(n.Events) == 0 {
		wrong = append(wrong, fault.InvalidField("events", "", "must name at least one of %v", EventTypes()))
	}
	n.Events = slices.Clone(n.Events)
	slices.Sort(n.Events)
	n.Events = slices.Compact(n.Events)
	for _, t := range n.Events {
		if !slices.Contains(EventTypes(), t) {
			wrong = append(wrong, fault.InvalidField("events", string(t), "must be some of %v", EventTypes()))
		}
	}
	if len(wrong) > 0 {
		return n, wrong
	}
	return n, nil
}

// webhookAudit is what the audit log has of an endpoint.
type webhookAudit struct {
	URL            string      `json:"url"`
	Description    string      `json:"description,omitempty"`
	Events         []EventType `json:"events"`
	Enabled        bool        `json:"enabled"`
	DisabledReason string      `json:"disabled_reason,omitempty"`
}

func auditedEndpoint(e *Endpoint) *webhookAudit {
	if e == nil {
		return nil
	}
	return &webhookAudit{e.URL, e.Description, e.Events, e.Enabled, e.DisabledReason}
}

// auditEndpoint writes what was done to an endpoint: what it was before and what it is now, nil where there was or is none.
func auditEndpoint(ctx context.Context, tx pgx.Tx, action string, id int64, before, after *Endpoint) error {
	return Audit(ctx, tx, AuditEntry{Action: action, Resource: strconv.FormatInt(id, 10), Operator: true,
		Before: auditedEndpoint(before), After: auditedEndpoint(after)})
}

const selectEndpoints = `
	SELECT p.id, p.url, p.description, p.events, p.enabled, p.disabled_reason, p.failing_since,
		CASE WHEN p.old_secret_until > now() THEN p.old_secret_until END,
		(SELECT count(*) FROM control.webhook_deliveries d WHERE d.endpoint_id = p.id AND d.status = 'pending'), p.created_at, p.created_by
	FROM control.webhook_endpoints p`

// List returns all endpoints, by their ids.
func (w *Webhooks) List(ctx context.Context) (list []Endpoint, err error) {
	err = postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectEndpoints+` ORDER BY p.id`)
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Endpoint])
		}
		if err != nil {
			return fmt.Errorf("cannot read the endpoints of webhooks: %w", err)
		}
		return nil
	})
	return list, err
}

// Get returns an endpoint. The error is NotFound when there is none.
func (w *Webhooks) Get(ctx context.Context, id int64) (e *Endpoint, err error) {
	err = postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		e, err = readEndpoint(ctx, tx, id, "")
		return err
	})
	return e, err
}

// readEndpoint takes a lock as FOR … has it, or none.
func readEndpoint(ctx context.Context, tx pgx.Tx, id int64, lock string) (*Endpoint, error) {
	rows, err := tx.Query(ctx, selectEndpoints+` WHERE p.id = $1 `+lock, id)
	if err == nil {
		var e Endpoint
		if e, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Endpoint]); err == nil {
			return &e, nil
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &fault.Error{Kind: fault.NotFound, Field: "id", Value: strconv.FormatInt(id, 10), Message: "there is no such webhook"}
	}
	return nil, fmt.Errorf("cannot read webhook %d: %w", id, err)
}

// change runs f in a transaction that holds the endpoint.
func (w *Webhooks) change(ctx context.Context, id int64, f func(tx pgx.Tx, before *Endpoint) error) error {
	return postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		before, err := readEndpoint(ctx, tx, id, "FOR NO KEY UPDATE OF p")
		if err != nil {
			return err
		}
		return f(tx, before)
	})
}

// Create adds an endpoint and returns it with its secret, which is not shown again.
func (w *Webhooks) Create(ctx context.Context, actor string, n NewEndpoint) (e *Endpoint, secret string, err error) {
	if n, err = w.check(n); err != nil {
		return nil, "", err
	}
	secret = newWebhookSecret()
	err = postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, `
			INSERT INTO control.webhook_endpoints (url, description, events, enabled, secret, created_by) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			n.URL, n.Description, n.Events, n.Enabled, secret, actor).Scan(&id); err != nil {
			return fmt.Errorf("cannot store a webhook: %w", err)
		}
		if e, err = readEndpoint(ctx, tx, id, ""); err != nil {
			return err
		}
		return auditEndpoint(ctx, tx, "webhook.create", id, nil, e)
	})
	return e, secret, err
}

// Put changes an endpoint. One that is enabled again is sent what has waited, from now on.
func (w *Webhooks) Put(ctx context.Context, id int64, n NewEndpoint) (e *Endpoint, err error) {
	if n, err = w.check(n); err != nil {
		return nil, err
	}
	err = w.change(ctx, id, func(tx pgx.Tx, before *Endpoint) error {
		again := n.Enabled && !before.Enabled
		if _, err := tx.Exec(ctx, `
			UPDATE control.webhook_endpoints SET url = $2, description = $3, events = $4, enabled = $5,
				disabled_reason = CASE WHEN $5 THEN '' ELSE disabled_reason END, failures = CASE WHEN $6 THEN 0 ELSE failures END,
				failing_since = CASE WHEN $6 THEN NULL ELSE failing_since END, not_before = CASE WHEN $6 THEN NULL ELSE not_before END
			WHERE id = $1`, id, n.URL, n.Description, n.Events, n.Enabled, again || n.URL != before.URL); err != nil {
			return fmt.Errorf("cannot store webhook %d: %w", id, err)
		}
		if again {
			if err := w.wake(ctx, tx, id); err != nil {
				return err
			}
		}
		if e, err = readEndpoint(ctx, tx, id, ""); err != nil {
			return err
		}
		if before.URL == e.URL && before.Description == e.Description && slices.Equal(before.Events, e.Events) && before.Enabled == e.Enabled {
			return nil
		}
		return auditEndpoint(ctx, tx, "webhook.update", id, before, e)
	})
	return e, err
}

// wake queues what waits for an endpoint.
func (w *Webhooks) wake(ctx context.Context, tx pgx.Tx, id int64) error {
	rows, err := tx.Query(ctx, `
		UPDATE control.webhook_deliveries SET queued_at = now(), due_at = now(), failures = 0 WHERE endpoint_id = $1 AND status = 'pending' RETURNING id`, id)
	if err == nil {
		var waiting []int64
		if waiting, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err == nil {
			return w.outbox.queue(ctx, tx, waiting)
		}
	}
	return fmt.Errorf("cannot read what waits for webhook %d: %w", id, err)
}

// Delete removes an endpoint, with what waits for it.
func (w *Webhooks) Delete(ctx context.Context, id int64) error {
	return w.change(ctx, id, func(tx pgx.Tx, before *Endpoint) error {
		if _, err := tx.Exec(ctx, `DELETE FROM control.webhook_endpoints WHERE id = $1`, id); err != nil {
			return fmt.Errorf("cannot delete webhook %d: %w", id, err)
		}
		return auditEndpoint(ctx, tx, "webhook.delete", id, before, nil)
	})
}

// Rotate gives an endpoint a new secret, which is not shown again. Until the overlap has passed, what is sent is signed with the one
// before too.
func (w *Webhooks) Rotate(ctx context.Context, id int64, overlap time.Duration) (e *Endpoint, secret string, err error) {
	if overlap < 0 || overlap > maxOverlap {
		return nil, "", fault.InvalidField("overlap", overlap.String(), "must be between 0s and %s", maxOverlap)
	}
	secret = newWebhookSecret()
	err = w.change(ctx, id, func(tx pgx.Tx, _ *Endpoint) error {
		if _, err := tx.Exec(ctx, `
			UPDATE control.webhook_endpoints SET old_secret = secret, old_secret_until = now() + make_interval(secs => $3), secret = $2 WHERE id = $1`,
			id, secret, overlap.Seconds()); err != nil {
			return fmt.Errorf("cannot store the secret of webhook %d: %w", id, err)
		}
		if e, err = readEndpoint(ctx, tx, id, ""); err != nil {
			return err
		}
		return Audit(ctx, tx, AuditEntry{Action: "webhook.rotate", Resource: strconv.FormatInt(id, 10), Operator: true,
			After: map[string]any{"overlap": overlap.String()}})
	})
	return e, secret, err
}

const selectDeliveries = `
	SELECT d.id, d.event_id, e.type, coalesce(e.tenant, ''), d.status, d.attempts, d.last_status, d.last_error, e.created_at, d.attempted_at, d.delivered_at,
		CASE WHEN d.status = 'pending' AND p.enabled THEN greatest(d.due_at, p.not_before) END
	FROM control.webhook_deliveries d JOIN control.webhook_events e ON e.id = d.event_id JOIN control.webhook_endpoints p ON p.id = d.endpoint_id`

// Deliveries returns those of an endpoint, the newest first, at most limit. With a status, only those that have it.
func (w *Webhooks) Deliveries(ctx context.Context, id int64, status string, limit int) (list []Delivery, err error) {
	err = postgres.AcrossTenants(ctx, w.Pool, func(tx pgx.Tx) error {
		if _, err := readEndpoint(ctx, tx, id, ""); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectDeliveries+` WHERE d.endpoint_id = $1 AND ($2 = '' OR d.status = $2) ORDER BY d.id DESC LIMIT $3`, id, status, limit)
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Delivery])
		}
		if err != nil {
			return fmt.Errorf("cannot read the deliveries of webhook %d: %w", id, err)
		}
		return nil
	})
	return list, err
}

func readDelivery(ctx context.Context, tx pgx.Tx, endpoint, id int64) (*Delivery, error) {
	rows, err := tx.Query(ctx, selectDeliveries+` WHERE d.endpoint_id = $1 AND d.id = $2`, endpoint, id)
	if err == nil {
		var d Delivery
		if d, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Delivery]); err == nil {
			return &d, nil
		}
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &fault.Error{Kind: fault.NotFound, Field: "delivery", Value: strconv.FormatInt(id, 10), Message: "the webhook has no such delivery"}
	}
	return nil, fmt.Errorf("cannot read delivery %d: %w", id, err)
}

// Redeliver sends an event once more, now, with its body and idempotency key as they were. The error is Conflict for an endpoint that is
// disabled.
func (w *Webhooks) Redeliver(ctx context.Context, endpoint, id int64) (d *Delivery, err error) {
	err = w.change(ctx, endpoint, func(tx pgx.Tx, p *Endpoint) error {
		if _, err := readDelivery(ctx, tx, endpoint, id); err != nil {
			return err
		}
		return w.sendNow(ctx, tx, p, id, "webhook.redeliver", &d)
	})
	return d, err
}

// Test sends an endpoint an event that says nothing, now. The error is Conflict for one that is disabled.
func (w *Webhooks) Test(ctx context.Context, endpoint int64) (d *Delivery, err error) {
	err = w.change(ctx, endpoint, func(tx pgx.Tx, p *Endpoint) error {
		id, err := w.outbox.putTest(ctx, tx, time.Now(), endpoint)
		if err != nil {
			return err
		}
		return w.sendNow(ctx, tx, p, id, "webhook.test", &d)
	})
	return d, err
}

func (w *Webhooks) sendNow(ctx context.Context, tx pgx.Tx, p *Endpoint, id int64, action string, d **Delivery) (err error) {
	if !p.Enabled {
		return fault.New(fault.Conflict, "webhook %d is disabled: enable it first", p.ID)
	}
	if _, err := tx.Exec(ctx, `UPDATE control.webhook_endpoints SET not_before = NULL WHERE id = $1 AND not_before IS NOT NULL`, p.ID); err != nil {
		return fmt.Errorf("cannot bring webhook %d forward: %w", p.ID, err)
	}
	if _, err := tx.Exec(ctx, `
		UPDATE control.webhook_deliveries SET status = 'pending', failures = 0, queued_at = now(), due_at = now() WHERE id = $1`, id); err != nil {
		return fmt.Errorf("cannot queue delivery %d: %w", id, err)
	}
	if err := w.outbox.queueNow(ctx, tx, id); err != nil {
		return err
	}
	if *d, err = readDelivery(ctx, tx, p.ID, id); err != nil {
		return err
	}
	return Audit(ctx, tx, AuditEntry{Action: action, Resource: strconv.FormatInt(p.ID, 10), Operator: true,
		After: map[string]any{"event": (*d).EventID, "delivery": id}})
}
