package collector

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// names knows the tenants that nobody registered, the services, and their routes, so that one of them whose names hold ids
// cannot fill the rollups. A name is known whoever brought it: what it costs is paid once, by the tenant of the span that
// has it first, or, for a tenant, by the API key. It is owned by that tenant if somebody registered it, else by the key: who
// invents a tenant for each name has brought them all. It is safe for concurrent use.
//
// Names are known by 64-bit hashes with a seed of this process, so nobody can make one that collides. When there are too
// many, whoever has brought most forgets those of its own that were not asked for lately.
type names struct {
	seed maphash.Seed

	mu    sync.Mutex // guards all below; taken once an hour for each name in use, and for each one over its limit
	known *shared[uint64, uint64, asked]
	spent map[uint64]*nameTokens // by who pays for what
	logAt [nameKinds]int64
}

// asked says whether a name was asked for since it was its turn to be forgotten.
type asked bool

// nameTokens are how many new names may come, as of a time.
type nameTokens struct {
	left float64
	at   int64
}

// nameKind is what a name is of.
type nameKind uint64

const (
	routeName nameKind = iota
	serviceName
	productName
	tenantName
	versionName
	instanceName
	keyName
	nameKinds // how many there are
)

const (
	maxNames    = 500_000 // that are known; about 26 MB, and 90 bytes for each owner
	maxSpent    = 50_000  // who paid for a name in the last hour
	nameLogWait = int64(time.Minute)
)

func newNames(max int) *names {
	n := &names{seed: maphash.MakeSeed(), known: newShared[uint64, uint64, asked](max), spent: map[uint64]*nameTokens{}}
	n.known.spare = func(a asked) (asked, bool) { return false, bool(a) }
	return n
}

// formerKeys own what unregistered tenants brought to a former process, for nobody knows any more which those were.
const formerKeys uint64 = 0

// ownerOfNames returns who owns what the tenant brings: it, or the owner that stands for those that nobody registered.
func (l *limiter) ownerOfNames(id tenant.ID, unregistered uint64) uint64 {
	if _, registered := l.plans.Load().of[id]; registered {
		return l.names.hash(tenantName, viewBytes(string(id)))
	}
	return unregistered
}

// keyOwner returns the API key of the request as an owner of names.
func (d *decoder) keyOwner() uint64 {
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], uint64(d.limits.key))
	return d.limits.limiter.names.hash(keyName, key[:])
}

const mixer = 0x9E3779B97F4A7C15 // odd, its bits without a pattern

// hash returns what a name is known by. What has fewer parts leaves the last ones out.
func (n *names) hash(kind nameKind, parts ...[]byte) uint64 {
	h := uint64(kind)
	for _, p := range parts {
		h = h*mixer + maphash.Bytes(n.seed, p)
	}
	return h
}

// learn makes a name known that the owner has brought.
func (n *names) learn(owner, name uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known.put(owner, name, false)
}

func (n *names) isKnown(name uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.known.things[name]
	return ok
}

// admit reports whether the name is known, or may become known as the owner's and at the expense of spender. perHour is
// how many may, 0 being no limit.
func (n *names) admit(name, owner, spender uint64, perHour int64, now int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known.things[name]; !ok && perHour > 0 && !n.spend(spender, float64(perHour), now) {
		return false
	}
	n.known.put(owner, name, true)
	return true
}

func (n *names) spend(spender uint64, perHour float64, now int64) bool {
	t := n.spent[spender]
	if t == nil {
		if len(n.spent) >= maxSpent {
			n.forgetOneSpender()
		}
		t = &nameTokens{left: perHour, at: now}
		n.spent[spender] = t
	}
	t.left = min(t.left+perHour*elapsed(&t.at, now)/3600, perHour)
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}

func (n *names) forgetOneSpender() {
	var oldest uint64
	first, looked := true, 0
	for key, t := range n.spent { // in random order
		if first || t.at < n.spent[oldest].at {
			oldest, first = key, false
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(n.spent, oldest)
}

// forgetIdle forgets spenders that have all of their allowance again.
func (n *names) forgetIdle(now int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, t := range n.spent {
		if now-t.at > int64(time.Hour) {
			delete(n.spent, key)
		}
	}
}

// mayLog reports whether a refused name of the kind is to be told of in the log.
func (n *names) mayLog(kind nameKind, now int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now < n.logAt[kind] {
		return false
	}
	n.logAt[kind] = now + nameLogWait
	return true
}

func (n *names) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.known.things)
}

// knownLately is a decoder's memory of names that were admitted in this hour, one for each place. It saves the lock: what
// is not in it is asked for.
type knownLately [1024]uint64

// place returns where the name stands, and what stands there if it was admitted in this hour.
func (k *knownLately) place(name uint64, now int64) (place *uint64, mark uint64) {
	hour := uint64(now/int64(time.Hour)) + 1 // so that 0, an empty place, is the mark of no name
	return &k[name%uint64(len(k))], name + hour*mixer
}
