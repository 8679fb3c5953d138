package slo

import (
	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

// observe returns what a snapshot says of who burns and of whom nothing can be said. A tenant raises a ticket only when it
// is known not to page for the same SLO: otherwise an open ticket stays as it is and no new one comes beside the page.
func observe(s *Snapshot) alerting.Observation {
	o := alerting.Observation{At: s.At}
	type pair struct {
		slo    string
		tenant tenant.ID
	}
	statuses := make(map[pair]*Status, len(s.Statuses))
	for i := range s.Statuses {
		st := &s.Statuses[i]
		statuses[pair{st.SLO, st.Tenant}] = st
		b := st.firing(Page)
		if b == nil && st.evaluated(Page) {
			b = st.firing(Ticket)
		}
		if b != nil {
			o.Firing = append(o.Firing, conditionOf(st, b))
		}
	}
	policies := make(map[string]Policy, len(s.SLOs))
	for i := range s.SLOs {
		policies[s.SLOs[i].Name] = s.SLOs[i].Policy
	}
	o.Evaluated = func(k alerting.Key) bool {
		policy, ok := policies[k.Rule]
		if !ok || !policy.has(Severity(k.Severity)) {
			return true // nobody asks for this alert any more
		}
		st, ok := statuses[pair{k.Rule, k.Tenant}]
		if !ok || k.Severity == alerting.Ticket && (st.firing(Page) != nil || !st.evaluated(Page)) {
			return false
		}
		return st.evaluated(Severity(k.Severity))
	}
	return o
}

// firing returns the pair of the severity that fires, the fastest burning one of several, nil when none does.
func (s *Status) firing(severity Severity) *BurnRate {
	var worst *BurnRate
	for i := range s.BurnRates {
		b := &s.BurnRates[i]
		if b.Firing && b.Severity == severity && (worst == nil || b.LongRate > worst.LongRate) {
			worst = b
		}
	}
	return worst
}

// evaluated reports whether one can say of every pair of the severity that it does or does not burn now: a short window
// without requests says nothing.
func (s *Status) evaluated(severity Severity) bool {
	for i := range s.BurnRates {
		if b := &s.BurnRates[i]; b.Severity == severity && b.ShortCounts.Total == 0 {
			return false
		}
	}
	return true
}

func (p Policy) has(severity Severity) bool {
	for _, w := range p.Windows {
		if w.Severity == severity {
			return true
		}
	}
	return false
}

func conditionOf(s *Status, b *BurnRate) alerting.Condition {
	return alerting.Condition{
		Rule: s.SLO, Title: s.Title, Product: s.Product, Tenant: s.Tenant, Severity: alerting.Severity(b.Severity),
		Burn: alerting.Burn{
			Rate: b.LongRate, Factor: b.Factor, Long: b.Long, Short: b.Short, Bad: b.LongCounts.Bad(), Total: b.LongCounts.Total,
			Target: s.Target.String(), BudgetRemaining: s.ErrorBudgetRemaining, ExhaustsAt: s.ExhaustsAt,
		},
	}
}
