package slo

import (
	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// observe returns what a snapshot says of who burns and of whom nothing can be said. A tenant raises a ticket only when it
// is known not to page for the same SLO: otherwise an open ticket stays as it is and no new one comes beside the page.
func observe(s *Snapshot) alerting.Observation {
	o := alerting.Observation{At: s.At}
	type pair struct {
		slo    string
		tenant tenant.ID
	}
	definitions := make(map[string]*Definition, len(s.SLOs))
	for i := range s.SLOs {
		definitions[s.SLOs[i].Name] = &s.SLOs[i]
	}
	fleet := make(map[string]*Status, len(s.Fleet))
	for i := range s.Fleet {
		fleet[s.Fleet[i].SLO] = &s.Fleet[i]
	}
	statuses := make(map[pair]*Status, len(s.Statuses))
	for i := range s.Statuses {
		st := &s.Statuses[i]
		statuses[pair{st.SLO, st.Tenant}] = st
		if b := st.raised(); b != nil {
			o.Firing = append(o.Firing, conditionOf(definitions[st.SLO], st, b))
		}
	}
	o.Evaluated = func(k alerting.Key) bool {
		d, ok := definitions[k.Rule]
		if !ok || !d.Policy.has(Severity(k.Severity)) {
			return true // nobody asks for this alert any more
		}
		return settled(d, statuses[pair{k.Rule, k.Tenant}], fleet[k.Rule], Severity(k.Severity))
	}
	// What an alert cost in the end is told by the numbers after it.
	o.Current = func(k alerting.Key) (alerting.Burn, bool) {
		st, ok := statuses[pair{k.Rule, k.Tenant}]
		if !ok {
			return alerting.Burn{}, false
		}
		b := st.fastest(Severity(k.Severity), func(*BurnRate) bool { return true })
		if b == nil {
			return alerting.Burn{}, false
		}
		return burnOf(definitions[k.Rule], st, b), true
	}
	return o
}

// raised returns the pair that raises an alert, nil when none does.
func (s *Status) raised() *BurnRate {
	b := s.firing(Page)
	if b == nil && s.evaluated(Page) {
		b = s.firing(Ticket)
	}
	return b
}

// settled reports whether one can say that an alert of a tenant is over when it is not raised. s is nil for a tenant
// without any request in the SLO's window, and fleet when nothing is known of all together.
func settled(d *Definition, s, fleet *Status, severity Severity) bool {
	if hasLeft(d, s, fleet, severity) {
		return true
	}
	if s == nil || severity == Ticket && (s.firing(Page) != nil || !s.evaluated(Page)) {
		return false
	}
	return s.evaluated(severity)
}

// firing returns the pair of the severity that fires, the fastest burning one of several, nil when none does.
func (s *Status) firing(severity Severity) *BurnRate {
	return s.fastest(severity, func(b *BurnRate) bool { return b.Firing })
}

// fastest returns the pair of the severity that burns fastest among those that count, nil when none counts.
func (s *Status) fastest(severity Severity, counts func(*BurnRate) bool) *BurnRate {
	var worst *BurnRate
	for i := range s.BurnRates {
		b := &s.BurnRates[i]
		if b.Severity == severity && counts(b) && (worst == nil || b.LongRate > worst.LongRate) {
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

// hasLeft reports whether a tenant has sent nothing for as long as the severity looks back, while others send. Nothing
// hurts it any more, and waiting for its next request could keep the alert open for ever, so that whom it hurts next would
// only be added to it. When all are silent, or counting began lately, silence says nothing. s is nil for a tenant without
// any request in the SLO's window.
func hasLeft(d *Definition, s, fleet *Status, severity Severity) bool {
	if fleet == nil {
		return false
	}
	longest := -1
	for i := range fleet.BurnRates {
		if b := &fleet.BurnRates[i]; b.Severity == severity && (longest < 0 || b.Long > fleet.BurnRates[longest].Long) {
			longest = i
		}
	}
	if longest < 0 {
		return false
	}
	all := &fleet.BurnRates[longest]
	return all.ShortCounts.Total > 0 && fleet.At.Sub(d.AppliedAt) >= all.Long && (s == nil || s.BurnRates[longest].LongCounts.Total == 0)
}

func (p Policy) has(severity Severity) bool {
	for _, w := range p.Windows {
		if w.Severity == severity {
			return true
		}
	}
	return false
}

// conditionOf tells alerting of a pair that fires. d may be nil: a definition can go while its statuses are looked at.
func conditionOf(d *Definition, s *Status, b *BurnRate) alerting.Condition {
	c := alerting.Condition{
		Rule: s.SLO, Title: s.Title, Product: s.Product, Tenant: s.Tenant, Severity: alerting.Severity(b.Severity), Burn: burnOf(d, s, b),
	}
	if d != nil && d.Kind == Latency {
		c.BadIs = "failed or took over " + theme.Duration(d.Threshold)
	}
	return c
}

func burnOf(d *Definition, s *Status, b *BurnRate) alerting.Burn {
	burn := alerting.Burn{
		Rate: b.LongRate, Factor: b.Factor, Long: b.Long, Short: b.Short, Bad: b.LongCounts.Bad(), Total: b.LongCounts.Total,
		Target: s.Target.String(), BudgetRemaining: s.ErrorBudgetRemaining, ExhaustsAt: s.ExhaustsAt,
	}
	if d != nil {
		burn.Confidence = d.Policy.Confidence
	}
	return burn
}
