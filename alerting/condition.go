package alerting

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// Severity says who is told.
type Severity string

// The severities: a page wakes somebody, a ticket waits for the morning.
const (
	Page   Severity = "page"
	Ticket Severity = "ticket"
)

// Condition is something that is true of one tenant now and that somebody should know. Conditions with the same Rule
// and Severity are one alert with many tenants.
type Condition struct {
	Rule     string    // stable name of what is watched, such as the SLO's name
	Title    string    // for people: "Checkout availability"
	Product  string    // product it belongs to, for routing
	Tenant   tenant.ID // whom it hurts
	Severity Severity
	BadIs    string    // what a bad request did, for people: "took longer than 2 s"; "failed" when empty
	Since    time.Time // when it began as far as the data tells; zero is "now"
	Burn     Burn
}

// Burn holds the numbers of a burning budget.
type Burn struct {
	Rate            float64       `json:"rate"`   // times the rate that uses the budget up exactly over its window
	Factor          float64       `json:"factor"` // the rate that it had to exceed
	Long            time.Duration `json:"long"`
	Short           time.Duration `json:"short"`
	Bad             uint64        `json:"bad"`             // in the long window
	Total           uint64        `json:"total"`           // in the long window
	Target          string        `json:"target"`          // as people write it: "99.9 %"
	BudgetRemaining float64       `json:"budgetRemaining"` // 1 is full, 0 used up, negative overspent
	ExhaustsAt      *time.Time    `json:"exhaustsAt,omitempty"`
	Confidence      float64       `json:"confidence,omitempty"` // of the bound that had to exceed Factor; 0 is unknown
}

// Key names what an Observation covers.
type Key struct {
	Rule     string
	Tenant   tenant.ID
	Severity Severity
}

// Observation is everything that one evaluation saw at one moment. Alerting compares it with what is open: a firing
// condition that is not open opens, an open one that was evaluated and is not firing resolves, and an open one that
// could not be evaluated (no data) stays as it is. Giving the same observation twice changes nothing.
type Observation struct {
	At        time.Time
	Firing    []Condition
	Evaluated func(Key) bool // whether there was enough data to say that the condition is over; nil says no for all

	// Current returns the numbers of a key that does not fire, for what an alert cost in the end. It may be nil.
	Current func(Key) (Burn, bool)
}
