package collector

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// otherRoute stands for the routes of a service beyond those it may show.
const otherRoute = "other"

// routes knows the routes of all services, so that one whose routes hold ids, or whatever its callers ask for, cannot fill
// the rollups. A route is known whoever asked for it: a tenant pays only for those that nobody has asked for before. It is
// safe for concurrent use.
//
// Routes are known by 64-bit hashes with a seed of this process, so nobody can make one that collides.
type routes struct {
	seed maphash.Seed
	max  int

	mu sync.Mutex // guards all below; taken once an hour for each route in use, and for each request over the limit
	// When recent holds half of max, it becomes older, and those that were only in older are forgotten.
	recent, older map[uint64]struct{}
	spent         map[uint64]*routeTokens // by tenant, product and service
	logAt         int64
}

// routeTokens are how many new routes may come, as of a time.
type routeTokens struct {
	left float64
	at   int64
}

const (
	maxRoutes    = 500_000 // that are known; about 15 MB
	maxSpent     = 50_000  // services of tenants with new routes in the last hour
	routeLogWait = int64(time.Minute)
)

func newRoutes(max int) *routes {
	return &routes{seed: maphash.MakeSeed(), max: max, recent: map[uint64]struct{}{}, spent: map[uint64]*routeTokens{}}
}

const mixer = 0x9E3779B97F4A7C15 // odd, its bits without a pattern

func (r *routes) hash(product, service, route []byte) uint64 {
	h := maphash.Bytes(r.seed, product)
	h = h*mixer + maphash.Bytes(r.seed, service)
	return h*mixer + maphash.Bytes(r.seed, route)
}

// learn makes a route known.
func (r *routes) learn(product, service, route []byte) {
	key := r.hash(product, service, route)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(key)
}

func (r *routes) remember(key uint64) {
	if len(r.recent) >= r.max/2 {
		r.older, r.recent = r.recent, make(map[uint64]struct{}, len(r.recent))
	}
	r.recent[key] = struct{}{}
}

// admit reports whether the route of the key is known, or may become known at the expense of spender. perHour is how many
// may, 0 being no limit.
func (r *routes) admit(key, spender uint64, perHour int64, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.recent[key]; ok {
		return true
	}
	if _, ok := r.older[key]; !ok && perHour > 0 && !r.spend(spender, float64(perHour), now) {
		return false
	}
	r.remember(key)
	return true
}

func (r *routes) spend(spender uint64, perHour float64, now int64) bool {
	t := r.spent[spender]
	if t == nil {
		if len(r.spent) >= maxSpent {
			r.forgetOneSpender()
		}
		t = &routeTokens{left: perHour, at: now}
		r.spent[spender] = t
	}
	t.left = min(t.left+perHour*elapsed(&t.at, now)/3600, perHour)
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}

func (r *routes) forgetOneSpender() {
	var oldest uint64
	first, n := true, 0
	for key, t := range r.spent { // in random order
		if first || t.at < r.spent[oldest].at {
			oldest, first = key, false
		}
		if n++; n == 16 {
			break
		}
	}
	delete(r.spent, oldest)
}

// forgetIdle forgets spenders that have all of their allowance again.
func (r *routes) forgetIdle(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, t := range r.spent {
		if now-t.at > int64(time.Hour) {
			delete(r.spent, key)
		}
	}
}

// mayLog reports whether a refused route is to be told of in the log.
func (r *routes) mayLog(now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now < r.logAt {
		return false
	}
	r.logAt = now + routeLogWait
	return true
}

// known is a decoder's memory of routes that were admitted in this hour, one for each place. It saves the lock: what is
// not in it is asked for.
type known [1024]uint64

// route returns the route under which a request of the tenant is counted: the route, or otherRoute. It follows admit of
// the same span.
func (d *decoder) admitRoute(id tenant.ID, product, service, route []byte) []byte {
	l := d.limits.limiter
	if l == nil {
		return route
	}
	key := l.routes.hash(product, service, route)
	hour := uint64(d.limits.now/int64(time.Hour)) + 1 // so that 0, an empty place, is the mark of no route
	place := &d.limits.known[key%uint64(len(d.limits.known))]
	mark := key + hour*mixer
	if *place == mark {
		return route
	}
	perHour := d.limits.of(id).account.quota().NewRoutesPerHour
	spender := l.routes.hash(viewBytes(string(id)), product, service)
	if l.routes.admit(key, spender, perHour, d.limits.now) {
		*place = mark
		return route
	}
	limitMetrics.otherRoutes.Inc()
	if l.routes.mayLog(d.limits.now) {
		l.log.Warn("a service shows more new routes than it may: they are counted as the route \"other\", see new-routes-per-hour of --quota",
			"tenant", string(id), "product", string(product), "service", string(service), "route", string(shorten(route)), "limit", perHour)
	}
	return viewBytes(otherRoute)
}

// quota returns the quota that holds for the tenant.
func (a *account) quota() tenant.Quota {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.terms.quota
}
