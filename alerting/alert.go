package alerting

import (
	"cmp"
	"crypto/rand"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// State is where an alert, or a tenant in it, stands.
type State string

// The states. A tenant in an alert is firing or resolved.
const (
	Pending      State = "pending" // kept for rules that wait before they fire; none does yet
	Firing       State = "firing"
	Acknowledged State = "acknowledged" // firing, and somebody has taken it
	Resolved     State = "resolved"
)

// Alert is one rule that burns at one severity, for one tenant or many.
type Alert struct {
	ID         string
	Rule       string
	Severity   Severity
	Title      string // of the rule, for people
	Product    string
	BadIs      string
	State      State
	StartedAt  time.Time // when it began, as far as the data tells
	OpenedAt   time.Time // when it was first seen
	ObservedAt time.Time // as of when the numbers are
	ResolvedAt *time.Time
	ReopenedAt *time.Time // when it last burned again soon after it had resolved
	AckedBy    string
	AckedAt    *time.Time
	Members    []Member // those that burn first, the worst of them first

	version       int64 // counts what people are told of
	urgentVersion int64 // the last of these that must not wait
	notifiedAt    time.Time
}

// Member is one tenant in an alert.
type Member struct {
	Tenant       tenant.ID
	State        State
	StartedAt    time.Time
	ResolvedAt   *time.Time
	Burn         Burn    // the latest numbers
	PeakRate     float64 // the highest Burn.Rate seen
	BudgetBefore float64 // Burn.BudgetRemaining when it was first seen

	changed bool // since it was loaded
}

// Spent returns how much of the budget went while the tenant was in the alert: 0.23 is 23 points.
func (m *Member) Spent() float64 { return max(0, m.BudgetBefore-m.Burn.BudgetRemaining) }

// Burning returns the members that burn now, the worst first.
func (a *Alert) Burning() []Member {
	i := slices.IndexFunc(a.Members, func(m Member) bool { return m.State == Resolved })
	if i < 0 {
		i = len(a.Members)
	}
	return a.Members[:i]
}

func (a *Alert) sort() {
	slices.SortFunc(a.Members, func(x, y Member) int {
		if xr, yr := x.State == Resolved, y.State == Resolved; xr != yr {
			if xr {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(y.Burn.Rate, x.Burn.Rate), cmp.Compare(x.Tenant, y.Tenant))
	})
}

// idLetters has no letters that look like digits. Its length divides 256, so that all are as likely.
const idLetters = "abcdefghjkmnpqrstuvwxyz234567890"

// newID returns a name that can be said on the phone, one of a billion. The table refuses the rare repetition, and the
// next observation tries another.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = idLetters[int(b[i])%len(idLetters)]
	}
	return "a-" + string(b[:])
}
