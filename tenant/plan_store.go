package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// PlanValue is what a plan says of one setting.
type PlanValue struct {
	Key   Setting
	Value int64
	From  Source
	Unit  string // what values it takes
}

// PlanValues returns what the plan says; a target that it does not set is not among it.
func (g *Gates) PlanValues(ctx context.Context, p Plan) ([]PlanValue, error) {
	t, err := g.Terms(ctx)
	if err != nil {
		return nil, err
	}
	var list []PlanValue
	for _, r := range settingRules {
		if v, from, ok := t.PlanValue(p, r.name); ok {
			list = append(list, PlanValue{r.name, v, from, r.unit})
		}
	}
	return list, nil
}

// SetPlan changes what a plan says, and writes that to the audit log in the same transaction: nil takes the stored value
// away, so that the default holds again. It holds everywhere within seconds.
func (g *Gates) SetPlan(ctx context.Context, actor string, p Plan, values map[Setting]*int64) error {
	if _, err := ParsePlan(string(p)); err != nil {
		return err
	}
	if len(values) == 0 {
		return fault.InvalidField("values", "", "must name at least one setting")
	}
	var wrong fault.List
	for s, v := range values {
		if err := checkSetting(s, v); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		return wrong
	}
	err := postgres.AcrossTenants(ctx, g.pool, func(tx pgx.Tx) error {
		// In turn, so that what the audit log says was there before was.
		if _, err := tx.Exec(ctx, `SELECT FROM control.plans WHERE name = $1 FOR UPDATE`, p); err != nil {
			return fmt.Errorf("cannot lock plan %q: %w", p, err)
		}
		before, after := map[Setting]*int64{}, map[Setting]*int64{}
		for _, r := range settingRules {
			v, ok := values[r.name]
			if !ok {
				continue
			}
			old, err := swapPlanValue(ctx, tx, actor, p, r.name, v)
			if err != nil {
				return err
			}
			if !sameValue(old, v) {
				before[r.name], after[r.name] = old, v
			}
		}
		if len(after) == 0 {
			return nil
		}
		return Audit(ctx, tx, AuditEntry{Action: "plan.update", Resource: string(p), Before: before, After: after, Actor: actor})
	})
	g.Forget()
	return err
}

// swapPlanValue stores a value, or removes it when it is nil, and returns the one before.
func swapPlanValue(ctx context.Context, tx pgx.Tx, actor string, p Plan, s Setting, v *int64) (old *int64, err error) {
	if err := tx.QueryRow(ctx, `SELECT max(value) FROM control.plan_settings WHERE plan = $1 AND key = $2`, p, s).Scan(&old); err != nil {
		return nil, fmt.Errorf("cannot read %s of plan %q: %w", s, p, err)
	}
	switch {
	case sameValue(old, v):
		return old, nil
	case v == nil:
		_, err = tx.Exec(ctx, `DELETE FROM control.plan_settings WHERE plan = $1 AND key = $2`, p, s)
	default:
		_, err = tx.Exec(ctx, `
			INSERT INTO control.plan_settings (plan, key, value, changed_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (plan, key) DO UPDATE SET value = excluded.value, changed_by = excluded.changed_by, changed_at = now()`, p, s, *v, actor)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot store %s of plan %q: %w", s, p, err)
	}
	return old, nil
}

func sameValue(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

func checkSetting(s Setting, v *int64) *fault.Error {
	r, err := ruleOf(s)
	if err != nil {
		return fault.InvalidField("key", string(s), "is no setting of plans")
	}
	if v != nil && (*v < r.least || *v > r.most) {
		return fault.InvalidField(string(s), fmt.Sprint(*v), "must be %s", r.unit)
	}
	return nil
}
