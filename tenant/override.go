package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Override is what one tenant has in place of what its plan has.
type Override struct {
	Key    Setting
	Value  int64
	Reason string
	SetBy  string
	SetAt  time.Time
	EndsAt *time.Time // nil: never
}

// Holds reports whether the override has not ended.
func (o Override) Holds(now time.Time) bool { return o.EndsAt == nil || now.Before(*o.EndsAt) }

// same reports whether two overrides say the same, whoever said it.
func (o *Override) same(other *Override) bool {
	ends := o.EndsAt == nil && other.EndsAt == nil ||
		o.EndsAt != nil && other.EndsAt != nil && o.EndsAt.Equal(other.EndsAt.Truncate(time.Microsecond)) // as PostgreSQL keeps it
	return o.Value == other.Value && o.Reason == other.Reason && ends
}

// maxReason is the longest reason, in bytes.
const maxReason = 1000

func checkReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > maxReason || strings.ContainsFunc(reason, unicode.IsControl) {
		return "", fault.InvalidField("reason", reason, "must say why, in 1 to %d bytes without control characters", maxReason)
	}
	return reason, nil
}

// Overrides returns those of a tenant, by their keys, with those that have ended.
func (g *Gates) Overrides(ctx context.Context, id ID) (list []Override, err error) {
	err = postgres.InTenant(ctx, g.pool, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT key, value, reason, set_by, set_at, ends_at FROM control.plan_overrides WHERE tenant = $1 ORDER BY key`, id)
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Override])
		}
		if err != nil {
			return fmt.Errorf("cannot read the overrides of tenant %q: %w", id, err)
		}
		return nil
	})
	return list, err
}

// Override sets what a tenant has in place of what its plan has, and writes that to the audit log in the same transaction.
// It holds everywhere within seconds. The error is NotFound for a tenant that has no row.
func (g *Gates) Override(ctx context.Context, actor string, id ID, o Override) error {
	rule, err := ruleOf(o.Key)
	switch {
	case err != nil:
		return err
	case rule.planOnly:
		return fault.InvalidField("key", string(o.Key), "is of plans only: a tenant has a target of its own for each SLO, see /targets")
	}
	if e := checkSetting(o.Key, &o.Value); e != nil {
		return e
	}
	if o.Reason, err = checkReason(o.Reason); err != nil {
		return err
	}
	if o.EndsAt != nil && !o.EndsAt.After(time.Now()) {
		return fault.InvalidField("ends_at", o.EndsAt.Format(time.RFC3339), "must be in the future")
	}
	err = postgres.InTenant(ctx, g.pool, id, func(tx pgx.Tx) error {
		if err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		before, err := readOverride(ctx, tx, id, o.Key)
		if err != nil {
			return err
		}
		if before != nil && before.same(&o) {
			return nil
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO control.plan_overrides (tenant, key, value, reason, set_by, ends_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value, reason = excluded.reason, set_by = excluded.set_by,
				set_at = now(), ends_at = excluded.ends_at`, id, o.Key, o.Value, o.Reason, actor, o.EndsAt)
		if err != nil {
			return fmt.Errorf("cannot store an override of tenant %q: %w", id, err)
		}
		return Audit(ctx, tx, AuditEntry{Action: "override.put", Resource: string(id) + "/" + string(o.Key),
			Before: overrideValue(before), After: overrideValue(&o), Actor: actor})
	})
	g.Forget()
	return err
}

// EndOverride takes an override away. The error is NotFound when there is none.
func (g *Gates) EndOverride(ctx context.Context, actor string, id ID, key Setting, reason string) error {
	reason, err := checkReason(reason)
	if err != nil {
		return err
	}
	err = postgres.InTenant(ctx, g.pool, id, func(tx pgx.Tx) error {
		before, err := readOverride(ctx, tx, id, key)
		if err != nil {
			return err
		}
		if before == nil {
			return &fault.Error{Kind: fault.NotFound, Field: "key", Value: string(key), Message: "the tenant has no such override"}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM control.plan_overrides WHERE tenant = $1 AND key = $2`, id, key); err != nil {
			return fmt.Errorf("cannot delete an override of tenant %q: %w", id, err)
		}
		return Audit(ctx, tx, AuditEntry{Action: "override.delete", Resource: string(id) + "/" + string(key),
			Before: overrideValue(before), After: map[string]any{"reason": reason}, Actor: actor})
	})
	g.Forget()
	return err
}

// lockTenant lets one change of a tenant's terms in at a time. The error is NotFound when there is no such tenant.
func lockTenant(ctx context.Context, tx pgx.Tx, id ID) error {
	var found string
	err := tx.QueryRow(ctx, `SELECT id FROM control.tenants WHERE id = $1 FOR NO KEY UPDATE`, anew, id).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return noTenant(id)
	}
	if err != nil {
		return fmt.Errorf("cannot lock tenant %q: %w", id, err)
	}
	return nil
}

func noTenant(id ID) error {
	return &fault.Error{Kind: fault.NotFound, Field: "tenant", Value: string(id), Message: "there is no such tenant: create it first"}
}

// readOverride returns nil when there is none.
func readOverride(ctx context.Context, tx pgx.Tx, id ID, key Setting) (*Override, error) {
	rows, err := tx.Query(ctx, `
		SELECT key, value, reason, set_by, set_at, ends_at FROM control.plan_overrides WHERE tenant = $1 AND key = $2 FOR UPDATE`, id, key)
	if err != nil {
		return nil, fmt.Errorf("cannot read an override of tenant %q: %w", id, err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Override])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read an override of tenant %q: %w", id, err)
	}
	return &o, nil
}

func overrideValue(o *Override) any {
	if o == nil {
		return nil
	}
	return map[string]any{"value": o.Value, "reason": o.Reason, "ends_at": o.EndsAt}
}
