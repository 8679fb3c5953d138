package collector

import (
	"fmt"

	"github.com/nexis-limited/headroom/tenant"
)

// admitTenant returns the tenant under which something is counted: the one that it names, or Untagged when the sender's
// API key shows more new tenants than it may. A tenant with a plan is never new.
//
// It is counted there rather than refused: a service that takes some other id for the tenant's serves real requests, which
// belong in its numbers. All that is counted so is held to one quota together.
func (d *decoder) admitTenant(id tenant.ID) tenant.ID {
	l := d.limits.limiter
	if l == nil || id == tenant.Untagged || l.keys.quota.NewTenantsPerHour == 0 || d.limits.has(id) {
		return id
	}
	if _, registered := l.plans.Load().of[id]; registered {
		return id
	}
	payer, perHour := d.keyOwner(), l.keys.quota.NewTenantsPerHour
	if l.names.admit(l.names.hash(tenantName, viewBytes(string(id))), payer, payer, perHour, d.limits.now) {
		return id
	}
	limitMetrics.untagged.Inc()
	if l.names.mayLog(tenantName, d.limits.now) {
		l.log.Warn("an API key shows more new tenants than it may: they are counted as untagged, see key.new-tenants-per-hour of --quota",
			"key_id", d.limits.key, "tenant", string(id), "limit", perHour)
	}
	if d.out.warning == "" {
		d.out.warning = fmt.Sprintf("tenant %q is counted as untagged: this API key shows more than %d new tenants an hour (key.new-tenants-per-hour)",
			string(shorten(viewBytes(string(id)))), perHour)
	}
	return tenant.Untagged
}

// has reports whether the tenant's account was looked up a moment ago.
func (s *spanLimits) has(id tenant.ID) bool {
	if len(s.seen) > 0 && s.seen[s.seen[s.last].next].id == id {
		return true
	}
	_, ok := s.index[id]
	return ok
}
