package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nexis-limited/headroom/postgres"
)

const alertColumns = `a.id, a.rule, a.severity, a.title, a.product, a.bad_is, a.state, a.started_at, a.opened_at, a.observed_at,
	a.resolved_at, a.reopened_at, a.acked_by, a.acked_at, a.version, a.urgent_version, a.notified_at`

func scanAlert(row pgx.CollectableRow) (*Alert, error) {
	var a Alert
	err := row.Scan(&a.ID, &a.Rule, &a.Severity, &a.Title, &a.Product, &a.BadIs, &a.State, &a.StartedAt, &a.OpenedAt, &a.ObservedAt,
		&a.ResolvedAt, &a.ReopenedAt, &a.AckedBy, &a.AckedAt, &a.version, &a.urgentVersion, &a.notifiedAt)
	return &a, err
}

// queryAlerts reads alerts with those of their members that the transaction sees. The query selects alertColumns.
func queryAlerts(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]*Alert, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read alerts: %w", err)
	}
	alerts, err := pgx.CollectRows(rows, scanAlert)
	if err != nil {
		return nil, fmt.Errorf("cannot read alerts: %w", err)
	}
	return alerts, loadMembers(ctx, tx, alerts)
}

func loadMembers(ctx context.Context, tx pgx.Tx, alerts []*Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	byID := make(map[string]*Alert, len(alerts))
	ids := make([]string, 0, len(alerts))
	for _, a := range alerts {
		byID[a.ID] = a
		ids = append(ids, a.ID)
	}
	rows, err := tx.Query(ctx, `
		SELECT alert_id, tenant, state, started_at, resolved_at, burn, peak_rate, budget_before
		FROM control.alert_tenants WHERE alert_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("cannot read the tenants of alerts: %w", err)
	}
	var id string
	var m Member
	var burn []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &m.Tenant, &m.State, &m.StartedAt, &m.ResolvedAt, &burn, &m.PeakRate, &m.BudgetBefore}, func() error {
		m.Burn = Burn{}
		if err := json.Unmarshal(burn, &m.Burn); err != nil {
			return fmt.Errorf("cannot read the numbers of tenant %q in alert %q: %w", m.Tenant, id, err)
		}
		byID[id].Members = append(byID[id].Members, m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read the tenants of alerts: %w", err)
	}
	for _, a := range alerts {
		a.sort()
	}
	return nil
}

// Alerts are locked FOR NO KEY UPDATE, always before their notifications: rows that refer to an alert are checked by
// locking its key, and FOR UPDATE would let the two wait for each other.

// loadOpen locks and returns the alerts that are open, and of those that fire again the one that was resolved since.
func loadOpen(ctx context.Context, tx pgx.Tx, groups map[groupKey][]Condition, since time.Time) ([]*Alert, error) {
	open, err := queryAlerts(ctx, tx, `SELECT `+alertColumns+` FROM control.alerts a
		WHERE a.state <> 'resolved' ORDER BY a.severity, a.rule, a.id FOR NO KEY UPDATE`)
	if err != nil {
		return nil, err
	}
	isOpen := make(map[groupKey]bool, len(open))
	for _, a := range open {
		isOpen[groupKey{a.Rule, a.Severity}] = true
	}
	var rules, severities []string
	for _, k := range ordered(groups) {
		if !isOpen[k] {
			rules, severities = append(rules, k.rule), append(severities, string(k.severity))
		}
	}
	if len(rules) == 0 {
		return open, nil
	}
	again, err := queryAlerts(ctx, tx, `SELECT `+alertColumns+` FROM control.alerts a
		WHERE a.id IN (
			SELECT DISTINCT ON (r.rule, r.severity) r.id
			FROM unnest($1::text[], $2::text[]) AS k (rule, severity)
			JOIN control.alerts r USING (rule, severity)
			WHERE r.state = 'resolved' AND r.resolved_at >= $3
			ORDER BY r.rule, r.severity, r.resolved_at DESC)
		ORDER BY a.severity, a.rule, a.id FOR NO KEY UPDATE`, rules, severities, since)
	return append(open, again...), err
}

// save stores the alert and the members that changed.
func save(ctx context.Context, tx pgx.Tx, a *Alert, isNew bool) error {
	if isNew {
		if _, err := tx.Exec(ctx, `
			INSERT INTO control.alerts (id, rule, severity, title, product, bad_is, state, started_at, opened_at, observed_at,
				version, urgent_version, notified_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			a.ID, a.Rule, a.Severity, a.Title, a.Product, a.BadIs, a.State, a.StartedAt, a.OpenedAt, a.ObservedAt,
			a.version, a.urgentVersion, a.notifiedAt); err != nil {
			return fmt.Errorf("cannot store the new alert of rule %q: %w", a.Rule, err)
		}
	} else if _, err := tx.Exec(ctx, `
		UPDATE control.alerts SET title = $2, product = $3, bad_is = $4, state = $5, observed_at = $6, resolved_at = $7,
			reopened_at = $8, acked_by = $9, acked_at = $10, version = $11, urgent_version = $12, notified_at = $13
		WHERE id = $1`,
		a.ID, a.Title, a.Product, a.BadIs, a.State, a.ObservedAt, a.ResolvedAt,
		a.ReopenedAt, a.AckedBy, a.AckedAt, a.version, a.urgentVersion, a.notifiedAt); err != nil {
		return fmt.Errorf("cannot store alert %q: %w", a.ID, err)
	}
	return saveMembers(ctx, tx, a)
}

// saveMembers stores the members that changed in one statement: an alert may have ten thousand.
func saveMembers(ctx context.Context, tx pgx.Tx, a *Alert) error {
	var (
		tenants, states, burns []string
		started                []time.Time
		resolvedAt             []*time.Time
		peaks, budgets         []float64
	)
	for i := range a.Members {
		m := &a.Members[i]
		if !m.changed {
			continue
		}
		burn, err := json.Marshal(m.Burn)
		if err != nil {
			return fmt.Errorf("cannot write the numbers of tenant %q: %w", m.Tenant, err)
		}
		tenants, states, burns = append(tenants, string(m.Tenant)), append(states, string(m.State)), append(burns, string(burn))
		started, resolvedAt = append(started, m.StartedAt), append(resolvedAt, m.ResolvedAt)
		peaks, budgets = append(peaks, m.PeakRate), append(budgets, m.BudgetBefore)
		m.changed = false
	}
	if len(tenants) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO control.alert_tenants (alert_id, tenant, state, started_at, resolved_at, burn, peak_rate, budget_before)
		SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::jsonb[], $7::float8[], $8::float8[])
		ON CONFLICT (alert_id, tenant) DO UPDATE SET state = excluded.state, started_at = excluded.started_at,
			resolved_at = excluded.resolved_at, burn = excluded.burn, peak_rate = excluded.peak_rate`,
		a.ID, tenants, states, started, resolvedAt, burns, peaks, budgets); err != nil {
		return fmt.Errorf("cannot store %d tenants of alert %q: %w", len(tenants), a.ID, err)
	}
	return nil
}

// acrossTenants runs f in a transaction that sees all tenants: an alert is the operator's and has the tenants that it
// hurts. It runs f again when that was the victim of a deadlock: River ends and moves jobs many at a time, in an order of
// its own, so that it and a transaction that queues several can wait for each other. F may run more than once and must not
// keep what it did before. Errors come back as kinds of fault.
func (s *Service) acrossTenants(ctx context.Context, f func(pgx.Tx) error) error {
	for attempt := 0; ; attempt++ {
		err := postgres.AcrossTenants(ctx, s.Pool, f)
		var pg *pgconn.PgError
		if attempt < 5 && errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001") {
			continue
		}
		return err
	}
}
