package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// Filter says which alerts to list. Empty fields match everything.
type Filter struct {
	Open   bool       // not resolved
	State  State      // exactly this one
	Rule   string     // the SLO
	Tenant *tenant.ID // those that this tenant is or was in
	Limit  int        // at most; 100 by default
	After  string     // an alert's id: those that opened before it
}

// List returns alerts, the latest first.
func (s *Service) List(ctx context.Context, f Filter) ([]*Alert, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	return s.query(ctx, `SELECT `+alertColumns+` FROM control.alerts a
		WHERE (NOT $1 OR a.state <> 'resolved') AND ($2 = '' OR a.state = $2) AND ($3 = '' OR a.rule = $3)
			AND ($4::text IS NULL OR EXISTS (SELECT FROM control.alert_tenants t WHERE t.alert_id = a.id AND t.tenant = $4))
			AND ($5 = '' OR (a.opened_at, a.id) < (SELECT b.opened_at, b.id FROM control.alerts b WHERE b.id = $5))
		ORDER BY a.opened_at DESC, a.id DESC LIMIT $6`,
		f.Open, f.State, f.Rule, f.Tenant, f.After, f.Limit)
}

func (s *Service) query(ctx context.Context, sql string, args ...any) (alerts []*Alert, err error) {
	err = s.acrossTenants(ctx, func(tx pgx.Tx) (err error) {
		alerts, err = queryAlerts(ctx, tx, sql, args...)
		return err
	})
	return alerts, err
}

// Open returns the alerts that are not resolved, the latest first.
func (s *Service) Open(ctx context.Context) ([]*Alert, error) {
	return s.List(ctx, Filter{Open: true, Limit: 10_000})
}

// Get returns one alert.
func (s *Service) Get(ctx context.Context, id string) (*Alert, error) {
	alerts, err := s.query(ctx, `SELECT `+alertColumns+` FROM control.alerts a WHERE a.id = $1`, id)
	if err != nil {
		return nil, err
	}
	if len(alerts) == 0 {
		return nil, fault.New(fault.NotFound, "there is no alert %q", id)
	}
	return alerts[0], nil
}

// View puts an alert into words with the tenants' names.
func (s *Service) View(ctx context.Context, a *Alert) *View {
	return NewView(a, s.names(ctx), s.ConsoleURL)
}

// Views puts alerts into words; the names are read once.
func (s *Service) Views(ctx context.Context, alerts []*Alert) []*View {
	names := s.names(ctx)
	views := make([]*View, 0, len(alerts))
	for _, a := range alerts {
		views = append(views, NewView(a, names, s.ConsoleURL))
	}
	return views
}

// Ack notes that actor has taken the alert and tells everybody. Taking one that is taken already changes nothing; one
// that is resolved cannot be taken.
func (s *Service) Ack(ctx context.Context, actor, id string) (*Alert, error) {
	if actor == "" {
		return nil, errors.New("cannot acknowledge an alert for nobody")
	}
	names := s.names(ctx)
	var a *Alert
	err := s.acrossTenants(ctx, func(tx pgx.Tx) error {
		found, err := queryAlerts(ctx, tx, `SELECT `+alertColumns+` FROM control.alerts a WHERE a.id = $1 FOR NO KEY UPDATE`, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fault.New(fault.NotFound, "there is no alert %q", id)
		}
		switch a = found[0]; a.State {
		case Acknowledged:
			return nil
		case Resolved:
			return fault.New(fault.Conflict, "alert %q is resolved", id)
		}
		at, was := time.Now().UTC().Truncate(time.Microsecond), a.State
		a.State, a.AckedBy, a.AckedAt = Acknowledged, actor, &at
		a.tell(acknowledged, a.notifiedAt)
		if err := save(ctx, tx, a, false); err != nil {
			return err
		}
		err = tenant.Audit(ctx, tx, tenant.AuditEntry{Action: "alert.acknowledge", Resource: id, Before: map[string]any{"state": was, "rule": a.Rule},
			After: map[string]any{"state": a.State, "rule": a.Rule}, Actor: actor})
		if err != nil {
			return err
		}
		return s.notify(ctx, tx, a, acknowledged, names)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot acknowledge alert %q: %w", id, err)
	}
	return a, nil
}

// Notification is one entry of the log of what people were or are to be told.
type Notification struct {
	ID        int64
	Alert     string
	Reply     bool   // in the thread of the alert's message
	Event     string // the last that made it: opened, changed, refreshed, acknowledged, resolved, reopened
	Notifier  string
	Channel   string
	Status    string // pending, sent, failed
	Text      string
	Blocks    json.RawMessage // Slack's Block Kit, as it was last sent or is to be
	Attempts  int
	LastError string
	CreatedAt time.Time
	SentAt    *time.Time // first
	UpdatedAt *time.Time // last
}

// Notifications returns what was or is to be sent, the latest first.
func (s *Service) Notifications(ctx context.Context, limit int) ([]Notification, error) {
	return s.notifications(ctx, "", limit)
}

// NotificationsOf returns what was or is to be sent of one alert: its messages first, then the replies as they came.
func (s *Service) NotificationsOf(ctx context.Context, alert string) ([]Notification, error) {
	return s.notifications(ctx, alert, 1000)
}

func (s *Service) notifications(ctx context.Context, alert string, limit int) ([]Notification, error) {
	order := "ORDER BY coalesce(updated_at, created_at) DESC, id DESC"
	if alert != "" {
		order = "ORDER BY kind = 'reply', id"
	}
	rows, err := s.Pool.Query(ctx, `
		SELECT id, alert_id, kind = 'reply', event, notifier, channel, status, text, blocks, attempts, last_error, created_at, sent_at, updated_at
		FROM control.notifications WHERE $1 = '' OR alert_id = $1 `+order+` LIMIT $2`, alert, limit)
	if err != nil {
		return nil, postgres.Translate(fmt.Errorf("cannot read notifications: %w", err))
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Notification])
	if err != nil {
		return nil, postgres.Translate(fmt.Errorf("cannot read notifications: %w", err))
	}
	return all, nil
}
