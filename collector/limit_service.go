package collector

import "github.com/nexis-limited/headroom/tenant"

// origin is where the points of a resource come from.
type origin struct {
	product, service []byte
	known            bool // admitService knows them
}

// admitService returns product and service under which something of the tenant is counted: as they are, or otherName for
// the service, and for the product if that is not known either. known says that they are known, to anybody.
func (d *decoder) admitService(id tenant.ID, product, service []byte) (countedProduct, countedService []byte, known bool) {
	l := d.limits.limiter
	if l == nil || len(product) == 0 && len(service) == 0 {
		return product, service, true
	}
	key := l.names.hash(serviceName, product, service)
	place, mark := d.limits.known.place(key, d.limits.now)
	if *place == mark {
		return product, service, true
	}
	perHour := d.limits.of(id).account.quota(l).NewServicesPerHour
	owner := l.ownerOfNames(id, d.keyOwner())
	productKey := l.names.hash(productName, product)
	if l.names.admit(key, owner, l.names.hash(serviceName, viewBytes(string(id))), perHour, d.limits.now) {
		l.names.learn(owner, productKey)
		*place = mark
		return product, service, true
	}
	limitMetrics.otherServices.Inc()
	if l.names.mayLog(serviceName, d.limits.now) {
		l.log.Warn("a tenant shows more new services than it may: they are counted as the service \"other\", see new-services-per-hour of --quota",
			"tenant", string(id), "product", string(shorten(product)), "service", string(shorten(service)), "limit", perHour)
	}
	if len(product) > 0 && !l.names.isKnown(productKey) {
		product = viewBytes(otherName)
	}
	return product, viewBytes(otherName), false
}
