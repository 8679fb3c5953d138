package dashboards

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// tenantTerms are what a tenant may have, and by whom where that is not what its plan gives.
type tenantTerms struct {
	Sentence string
	Limits   []limitRow // all of them, those that are the tenant's own first
	Own      int        // how many are

	plan    tenant.Plan
	id      tenant.ID
	terms   *tenant.Terms
	targets []tenant.Target
	whose   string // in place of who set something, for the tenant's own people
}

// limitRow is one setting as it holds.
type limitRow struct {
	Name, Value string
	From        string // "plan", "default", "its own"
	Why         string // of an override: who, when, why
	Until       *time.Time
	Own         bool
}

// terms reads what holds for a tenant.
func (c *Console) terms(ctx context.Context, id tenant.ID, l *layout) (*tenantTerms, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	all, err := c.opts.Gates.Terms(ctx)
	if err != nil {
		return nil, err
	}
	overrides, err := c.opts.Gates.Overrides(ctx, id)
	if err != nil {
		return nil, err
	}
	t := &tenantTerms{plan: all.PlanOf(id), id: id, terms: all}
	if l.Own != tenant.Untagged { // who of the operator it was is not for them
		t.whose = "The operator"
	}
	if t.targets, err = c.opts.Targets.List(ctx, id); err != nil {
		return nil, err
	}
	t.fill(overrides, l.Now)
	return t, nil
}

func (t *tenantTerms) fill(overrides []tenant.Override, now time.Time) {
	for _, s := range tenant.Settings() {
		if s == tenant.AvailabilityTargetPPM || s == tenant.LatencyTargetPPM { // they stand beside the SLOs
			continue
		}
		v, from, ok := t.terms.Value(t.id, s, now)
		if !ok {
			continue
		}
		row := limitRow{Name: settingName(s), Value: settingValue(s, v), From: "the default"}
		switch from {
		case tenant.SourcePlan:
			row.From = "the plan"
		case tenant.SourceOverride:
			row.From, row.Own = "its own", true
			t.Own++
			if i := slices.IndexFunc(overrides, func(o tenant.Override) bool { return o.Key == s }); i >= 0 {
				o := &overrides[i]
				row.Why, row.Until = t.by(o.SetBy, o.SetAt, o.Reason), o.EndsAt
			}
		}
		t.Limits = append(t.Limits, row)
	}
	slices.SortStableFunc(t.Limits, func(a, b limitRow) int {
		switch {
		case a.Own && !b.Own:
			return -1
		case b.Own && !a.Own:
			return 1
		}
		return 0
	})
	switch {
	case t.plan == "" && t.Own == 0:
		t.Sentence = "Nobody has given it a plan: it has what tenants have that nobody knows."
	case t.plan == "":
		t.Sentence = "Nobody has given it a plan, but " + theme.Count(t.Own, "limit of its own.", "limits of its own.")
	case t.Own == 0:
		t.Sentence = "All as the plan " + planName(t.plan) + " gives it."
	default:
		t.Sentence = "On the plan " + planName(t.plan) + ", with " + theme.Count(t.Own, "limit of its own.", "limits of its own.")
	}
}

// by says who set something, when and why.
func (t *tenantTerms) by(who string, at time.Time, why string) string {
	if t.whose != "" {
		who = t.whose
	}
	return who + ", " + theme.Day(at) + ": " + why
}

// explain says beside each SLO what its target comes from.
func (t *tenantTerms) explain(rows []sloRow, snap *slo.Snapshot) {
	if t == nil {
		return
	}
	plan := t.plan
	if plan == "" {
		plan = tenant.Starter
	}
	for i := range rows {
		row := &rows[i]
		at := slices.IndexFunc(snap.SLOs, func(d slo.Definition) bool { return d.Name == row.SLO })
		if at < 0 {
			continue
		}
		ppm, from := slo.TargetOf(&snap.SLOs[at], t.terms, t.id, plan)
		if ppm != row.Target { // it has changed since the SLOs were read
			continue
		}
		switch from {
		case slo.TargetOwn:
			row.From = "its own"
			if j := slices.IndexFunc(t.targets, func(o tenant.Target) bool { return o.SLO == row.SLO }); j >= 0 {
				row.FromWhy = t.by(t.targets[j].SetBy, t.targets[j].SetAt, t.targets[j].Reason)
			}
		case slo.TargetInDefinition:
			row.From = "the SLO’s for this tenant"
		case slo.TargetForPlan:
			row.From = "the SLO’s for " + planName(plan)
		case slo.TargetOfPlan:
			row.From = "the plan " + planName(plan)
		case slo.TargetObjective:
			row.From = "the SLO’s for all"
		}
	}
}

// planName writes a plan for people.
func planName(p tenant.Plan) string {
	if p == "" {
		return ""
	}
	return strings.ToUpper(string(p[:1])) + string(p[1:])
}

// settingNames are the settings that are not named by their words alone.
var settingNames = map[tenant.Setting]string{
	tenant.RetentionDays:      "Telemetry is kept",
	tenant.AuditRetentionDays: "The audit log is kept",
	tenant.PrivateStatusPage:  "Status page of its own",
	tenant.CustomSLOs:         "SLOs of its own",
	tenant.MaxMembers:         "People",
}

func settingName(s tenant.Setting) string {
	if name, ok := settingNames[s]; ok {
		return name
	}
	words := strings.NewReplacer("-per-hour", " an hour", "-per-", " a ", "-", " ").Replace(string(s))
	return strings.ToUpper(words[:1]) + words[1:]
}

// settingValue writes a setting's value with its unit.
func settingValue(s tenant.Setting, v int64) string {
	switch s {
	case tenant.RetentionDays, tenant.AuditRetentionDays:
		return theme.Count(v, "day", "days")
	case tenant.PrivateStatusPage:
		if v == 0 {
			return "no"
		}
		return "yes"
	case tenant.CustomSLOs, tenant.MaxMembers:
		if v == tenant.NoLimit {
			return "no limit"
		}
		return theme.Num(v)
	}
	switch {
	case s == "burst-seconds":
		return theme.Num(v) + theme.NarrowSpace + "s"
	case v == 0 && s == "hard-limit":
		return "refuses nothing"
	case v == 0:
		return "no limit"
	case s == "hard-limit":
		return theme.Num(v) + theme.NarrowSpace + "× the quota"
	}
	return theme.Num(v)
}
