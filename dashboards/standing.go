package dashboards

import (
	"context"
	"slices"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// openAlert is an alert that has not resolved, with all tenants in it that burn; the view names the worst few.
type openAlert struct {
	*alerting.View
	Members []alerting.Member
}

// openAlerts returns the alerts that have not resolved, in words.
func (c *Console) openAlerts(ctx context.Context) ([]openAlert, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	list, err := c.opts.Alerts.List(ctx, alerting.Filter{Open: true, Limit: maxOpen})
	if err != nil {
		return nil, err
	}
	alerts := make([]openAlert, len(list))
	for i, v := range c.opts.Alerts.Views(ctx, list) {
		alerts[i] = openAlert{v, list[i].Burning()}
	}
	return alerts, nil
}

// standing returns the snapshot with the state of each tenant that an open alert holds raised to that alert's severity.
// An alert keeps a tenant until it has been calm for a while, and one that has gone silent; what burns before an alert
// opens is in the snapshot already. Every count on the pages is of this one, so that they agree. The snapshot itself
// stays as it is; nil without one.
func standing(snap *slo.Snapshot, alerts []openAlert) *slo.Snapshot {
	if snap == nil || len(alerts) == 0 {
		return snap
	}
	type member struct {
		slo    string
		tenant tenant.ID
	}
	at := make(map[member]int, len(snap.Statuses))
	for i := range snap.Statuses {
		at[member{snap.Statuses[i].SLO, snap.Statuses[i].Tenant}] = i
	}
	out := &slo.Snapshot{At: snap.At, SLOs: snap.SLOs, Fleet: snap.Fleet, Statuses: slices.Clone(snap.Statuses)}
	for _, a := range alerts {
		for _, m := range a.Members {
			k := member{a.Rule, m.Tenant}
			i, known := at[k]
			if !known {
				i = len(out.Statuses)
				at[k] = i
				out.Statuses = append(out.Statuses, slo.Status{SLO: a.Rule, Title: titleOf(snap, a.Rule), Product: a.Product, Tenant: m.Tenant,
					ErrorBudgetRemaining: 1, State: slo.StateNoData, At: snap.At})
			}
			if s := &out.Statuses[i]; rank(stateOf(a.Severity)) < rank(s.State) {
				s.State = stateOf(a.Severity)
			}
		}
	}
	return out
}

// silent reports whether no request came in lately: in the shortest of the status's long windows.
func silent(s *slo.Status) bool {
	var least *slo.BurnRate
	for i := range s.BurnRates {
		if b := &s.BurnRates[i]; least == nil || b.Long < least.Long {
			least = b
		}
	}
	return least == nil || least.LongCounts.Total == 0
}

// hasBudget reports whether the budget says something: requests were counted, and not only long ago.
func hasBudget(s *slo.Status) bool { return s.Total > 0 && s.State != slo.StateNoData }

// countBurning puts what burns into the layout: how many SLOs, and how bad the worst is.
func (l *layout) countBurning(snap *slo.Snapshot) {
	if snap == nil {
		return
	}
	slos := map[string]bool{}
	l.BurningGlyph = "ticket"
	for i := range snap.Statuses {
		if s := &snap.Statuses[i]; burning(s.State) {
			slos[s.SLO] = true
			if s.State == slo.StatePage {
				l.BurningGlyph = "page"
			}
		}
	}
	l.Burning = len(slos)
}
