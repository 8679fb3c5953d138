package collector

import "github.com/nexis-limited/headroom/tenant"

// otherName stands for the services and routes beyond those that may be shown.
const otherName = "other"

// admitRoute returns the route under which a request of the tenant is counted: the route, or otherName. The product and
// service are those under which it is counted. It follows admit of the same span.
func (d *decoder) admitRoute(id tenant.ID, product, service, route []byte) []byte {
	l := d.limits.limiter
	if l == nil {
		return route
	}
	key := l.names.hash(routeName, product, service, route)
	place, mark := d.limits.known.place(key, d.limits.now)
	if *place == mark {
		return route
	}
	perHour := d.limits.of(id).account.quota(l).NewRoutesPerHour
	spender := l.names.hash(routeName, viewBytes(string(id)), product, service)
	if l.names.admit(key, l.ownerOfNames(id, d.keyOwner()), spender, perHour, d.limits.now) {
		*place = mark
		return route
	}
	limitMetrics.otherRoutes.Inc()
	if l.names.mayLog(routeName, d.limits.now) {
		l.log.Warn("a service shows more new routes than it may: they are counted as the route \"other\", see new-routes-per-hour of --quota",
			"tenant", string(id), "product", string(product), "service", string(service), "route", string(shorten(route)), "limit", perHour)
	}
	return viewBytes(otherName)
}

// quota returns the quota that holds for the tenant.
func (a *account) quota(l *limiter) tenant.Quota {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.follow(l) // who sends metrics alone settles nothing
	return a.terms.quota
}
