package collector

import "github.com/nexis-limited/headroom/tenant"

// admitVersion returns the version under which a request is counted: as it is, or otherName. The product and service are
// those under which it is counted. known says that the version is known, to anybody.
func (d *decoder) admitVersion(id tenant.ID, product, service, version []byte) (counted []byte, known bool) {
	if len(version) == 0 || d.admitName(id, versionName, "version", [][]byte{product, service}, version) {
		return version, true
	}
	limitMetrics.otherVersions.Inc()
	return viewBytes(otherName), false
}

// admitInstance returns the database, cache or queue under which a call is counted: as it is, or otherName.
func (d *decoder) admitInstance(id tenant.ID, kind, instance []byte) []byte {
	if len(instance) == 0 || d.admitName(id, instanceName, "instance", [][]byte{kind}, instance) {
		return instance
	}
	limitMetrics.otherCalls.Inc()
	return viewBytes(otherName)
}

// admitName reports whether a name of what is within is known, or may become known at the tenant's expense: each such
// kind has as many as a service has routes.
func (d *decoder) admitName(id tenant.ID, kind nameKind, what string, within [][]byte, name []byte) bool {
	l := d.limits.limiter
	if l == nil {
		return true
	}
	key := l.names.hashWithin(kind, within, name)
	place, mark := d.limits.known.place(key, d.limits.now)
	if *place == mark {
		return true
	}
	perHour := d.limits.of(id).account.quota(l).NewRoutesPerHour
	if l.names.admit(key, l.ownerOfNames(id, d.keyOwner()), l.names.hashWithin(kind+nameKinds, within, viewBytes(string(id))), perHour, d.limits.now) {
		*place = mark
		return true
	}
	if l.names.mayLog(kind, d.limits.now) {
		l.log.Warn("a tenant shows more new names than it may: they are counted as \"other\", see new-routes-per-hour of --quota",
			"what", what, "tenant", string(id), "name", string(shorten(name)), "limit", perHour)
	}
	return false
}

// hashWithin returns what a name within others is known by.
func (n *names) hashWithin(kind nameKind, within [][]byte, name []byte) uint64 {
	h := n.hash(kind, within...)
	return h*mixer + n.hash(kind, name)
}
