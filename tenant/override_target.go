package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
)

// Target is the objective that a tenant has of its own for one SLO.
type Target struct {
	SLO          string
	ObjectivePPM uint32 // parts per million of requests that are to be good
	Reason       string
	SetBy        string
	SetAt        time.Time
}

// Targets keeps tenants' own objectives in their schemas, and their numbers in an index over all tenants. It is safe for
// concurrent use.
type Targets struct {
	schemas *Schemas
	gates   *Gates
}

// NewTargets returns the targets in the schemas, which the gates answer from.
func NewTargets(s *Schemas, g *Gates) *Targets { return &Targets{s, g} }

const selectTargets = `SELECT slo, objective_ppm, reason, set_by, set_at FROM targets`

// List returns the tenant's, by SLO.
func (t *Targets) List(ctx context.Context, id ID) (list []Target, err error) {
	err = t.schemas.read(ctx, id, func(tx pgx.Tx) error {
		list, err = collectTargets(ctx, tx, id, selectTargets+` ORDER BY slo`)
		return err
	})
	return list, err
}

func collectTargets(ctx context.Context, tx pgx.Tx, id ID, sql string, args ...any) ([]Target, error) {
	rows, err := tx.Query(ctx, sql, append([]any{anew}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the targets of tenant %q: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Target])
	if err != nil {
		return nil, fmt.Errorf("cannot read the targets of tenant %q: %w", id, err)
	}
	return list, nil
}

// Put sets the tenant's objective for an SLO, with the index and the audit log in one transaction. Evaluations follow it
// within seconds. Whether there is such an SLO is the caller's to know. The error is NotFound for a tenant that has no row.
func (t *Targets) Put(ctx context.Context, actor string, id ID, n Target) error {
	reason, err := checkReason(n.Reason)
	if err != nil {
		return err
	}
	if n.ObjectivePPM < 1 || n.ObjectivePPM > 999_999 {
		return fault.InvalidField("objective_ppm", fmt.Sprint(n.ObjectivePPM), "must be from 1 to 999999")
	}
	err = t.schemas.write(ctx, id, func(tx pgx.Tx) error {
		if err := lockTenant(ctx, tx, id); err != nil { // before the rows, so that both tables are written in one order
			return err
		}
		before, err := collectTargets(ctx, tx, id, selectTargets+` WHERE slo = $1`, n.SLO)
		if err != nil {
			return err
		}
		if len(before) > 0 && before[0].ObjectivePPM == n.ObjectivePPM && before[0].Reason == reason {
			return nil
		}
		if _, err = tx.Exec(ctx, `
			INSERT INTO targets (slo, objective_ppm, reason, set_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (slo) DO UPDATE SET objective_ppm = excluded.objective_ppm, reason = excluded.reason, set_by = excluded.set_by, set_at = now()`,
			anew, n.SLO, n.ObjectivePPM, reason, actor); err != nil {
			return fmt.Errorf("cannot store a target of tenant %q: %w", id, err)
		}
		if _, err = tx.Exec(ctx, `
			INSERT INTO control.target_overrides (tenant, slo, objective_ppm) VALUES ($1, $2, $3)
			ON CONFLICT (tenant, slo) DO UPDATE SET objective_ppm = excluded.objective_ppm`, anew, id, n.SLO, n.ObjectivePPM); err != nil {
			return fmt.Errorf("cannot store a target of tenant %q: %w", id, err)
		}
		e := AuditEntry{Action: "target.put", Resource: string(id) + "/" + n.SLO, Actor: actor,
			After: map[string]any{"objective_ppm": n.ObjectivePPM, "reason": reason}}
		if len(before) > 0 {
			e.Before = map[string]any{"objective_ppm": before[0].ObjectivePPM, "reason": before[0].Reason}
		}
		return auditWith(ctx, tx, e, anew)
	})
	t.gates.Forget()
	return err
}

// Remove takes the tenant's objective for an SLO away. The error is NotFound when there is none.
func (t *Targets) Remove(ctx context.Context, actor string, id ID, slo, reason string) error {
	reason, err := checkReason(reason)
	if err != nil {
		return err
	}
	found := false
	err = t.schemas.read(ctx, id, func(tx pgx.Tx) error {
		if err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		gone, err := collectTargets(ctx, tx, id, `DELETE FROM targets WHERE slo = $1 RETURNING slo, objective_ppm, reason, set_by, set_at`, slo)
		if err != nil || len(gone) == 0 {
			return err
		}
		found = true
		if _, err := tx.Exec(ctx, `DELETE FROM control.target_overrides WHERE tenant = $1 AND slo = $2`, anew, id, slo); err != nil {
			return fmt.Errorf("cannot delete a target of tenant %q: %w", id, err)
		}
		return auditWith(ctx, tx, AuditEntry{Action: "target.delete", Resource: string(id) + "/" + slo, Actor: actor,
			Before: map[string]any{"objective_ppm": gone[0].ObjectivePPM, "reason": gone[0].Reason}, After: map[string]any{"reason": reason}}, anew)
	})
	t.gates.Forget()
	if err == nil && !found {
		return &fault.Error{Kind: fault.NotFound, Field: "slo", Value: slo, Message: "the tenant has no target of its own for it"}
	}
	return err
}
