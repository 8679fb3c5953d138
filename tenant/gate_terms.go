package tenant

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Terms is what holds for all tenants at a moment. It is never changed.
type Terms struct {
	generation int64 // of control.plan_changes
	flags      Quotas
	plans      map[ID]Plan
	settings   map[Plan]map[Setting]int64 // as stored
	overrides  map[ID]map[Setting]timedValue
	targets    map[ID]map[string]uint32 // by SLO, in parts per million
}

type timedValue struct {
	value  int64
	endsAt *time.Time
}

func (v timedValue) holds(now time.Time) bool { return v.endsAt == nil || now.Before(*v.endsAt) }

// Source says where a value comes from.
type Source string

// The sources, the first of which that has a value wins.
const (
	SourceOverride Source = "override" // the tenant's own
	SourcePlan     Source = "plan"     // the plan's, in PostgreSQL
	SourceDefault  Source = "default"  // --quota, else headroom's
)

// read fills the terms. What was committed after the generation was read is read here and once more the next time.
func (t *Terms) read(ctx context.Context, tx pgx.Tx) error {
	t.settings, t.overrides, t.targets = map[Plan]map[Setting]int64{}, map[ID]map[Setting]timedValue{}, map[ID]map[string]uint32{}
	var (
		id    ID
		plan  Plan
		key   Setting
		slo   string
		ppm   uint32
		value int64
		ends  *time.Time
	)
	each := func(what, sql string, scan []any, add func()) error {
		rows, err := tx.Query(ctx, sql)
		if err == nil {
			_, err = pgx.ForEachRow(rows, scan, func() error { add(); return nil })
		}
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", what, err)
		}
		return nil
	}
	if err := each("what plans allow", `SELECT plan, key, value FROM control.plan_settings`, []any{&plan, &key, &value}, func() {
		put(t.settings, plan, key, value)
	}); err != nil {
		return err
	}
	if err := each("the overrides of tenants", `SELECT tenant, key, value, ends_at FROM control.plan_overrides WHERE ends_at IS NULL OR ends_at > now()`,
		[]any{&id, &key, &value, &ends}, func() { put(t.overrides, id, key, timedValue{value, ends}) }); err != nil {
		return err
	}
	return each("the targets of tenants", `SELECT tenant, slo, objective_ppm FROM control.target_overrides`, []any{&id, &slo, &ppm}, func() {
		put(t.targets, id, slo, ppm)
	})
}

func put[K1, K2 comparable, V any](m map[K1]map[K2]V, k1 K1, k2 K2, v V) {
	if m[k1] == nil {
		m[k1] = map[K2]V{}
	}
	m[k1][k2] = v
}

// PlanOf returns the tenant's plan, empty for one that nobody gave one.
func (t *Terms) PlanOf(id ID) Plan { return t.plans[id] }

// Value returns what holds for a tenant. One without a plan has the quota of the unregistered, and else what Starter has.
// Ok is false where nothing says anything: of targets, the SLO's own holds then.
func (t *Terms) Value(id ID, s Setting, now time.Time) (v int64, from Source, ok bool) {
	if o, ok := t.overrides[id][s]; ok && o.holds(now) {
		return o.value, SourceOverride, true
	}
	return t.PlanValue(t.plans[id], s)
}

// PlanValue is Value for a plan; the empty one is that of tenants which nobody gave one.
func (t *Terms) PlanValue(p Plan, s Setting) (v int64, from Source, ok bool) {
	q := t.flags.Of(p)
	flag, quota := quotaFields(&q)[string(s)]
	if p == "" && quota {
		return *flag, SourceDefault, true
	}
	if p == "" {
		p = Starter
	}
	if v, ok := t.settings[p][s]; ok {
		return v, SourcePlan, true
	}
	if quota {
		return *flag, SourceDefault, true
	}
	v, ok = builtIn(p)[s]
	return v, SourceDefault, ok
}

// quotas returns the quotas of the plans, and those of tenants with overrides of them.
func (t *Terms) quotas(now time.Time) (Quotas, map[ID]Quota) {
	all := t.flags
	for _, p := range Plans() {
		fields := all.fields(string(p))
		for name, field := range fields {
			*field, _, _ = t.PlanValue(p, Setting(name))
		}
	}
	own := map[ID]Quota{}
	for id, values := range t.overrides {
		q, changed := all.Of(t.plans[id]), false
		for name, field := range quotaFields(&q) {
			if o, ok := values[Setting(name)]; ok && o.holds(now) {
				*field, changed = o.value, true
			}
		}
		if changed {
			own[id] = q
		}
	}
	return all, own
}

// Target returns the objective of the tenant's own for an SLO, in parts per million.
func (t *Terms) Target(id ID, slo string) (ppm uint32, ok bool) {
	ppm, ok = t.targets[id][slo]
	return ppm, ok
}
