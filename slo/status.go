package slo

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// State is how an SLO stands for a tenant, from the worst down.
type State string

// The states.
const (
	StatePage      State = "page"      // a paging window pair burns
	StateTicket    State = "ticket"    // a ticket window pair burns
	StateExhausted State = "exhausted" // no budget is left, and nothing burns now
	StateWatching  State = "watching"  // some window is over its factor, but not with enough evidence
	StateOK        State = "ok"
	StateNoData    State = "no_data" // no request in the SLO's window, or none lately: neither good nor bad
)

// Counts are requests. Budgets are sums of counts, never averages of ratios.
type Counts struct {
	Good  uint64 `json:"good"`
	Total uint64 `json:"total"`
}

// Bad returns Total - Good.
func (c Counts) Bad() uint64 { return c.Total - c.Good }

// ErrorRatio returns Bad / Total, and 0 for no requests.
func (c Counts) ErrorRatio() float64 {
	if c.Total == 0 {
		return 0
	}
	return float64(c.Bad()) / float64(c.Total)
}

// BurnRate is how fast one window pair burns: error ratio over the allowed error ratio, 1 uses the budget up exactly
// over the SLO's window.
type BurnRate struct {
	BurnWindow
	LongCounts  Counts  `json:"longCounts"`
	ShortCounts Counts  `json:"shortCounts"`
	LongRate    float64 `json:"longRate"`
	ShortRate   float64 `json:"shortRate"`
	Firing      bool    `json:"firing"`

	target     PPM
	confidence float64
	evident    bool // the long window has enough evidence
}

// LowerRate returns the burn rate at the lower confidence bound of the long window. It and UpperRate are worked out when
// asked for: they cost twenty times as much as the rest of an evaluation, and of most tenants nobody looks at them.
func (b BurnRate) LowerRate() float64 {
	lower, _ := bounds(b.LongCounts, b.confidence)
	return burnRate(lower, b.target)
}

// UpperRate returns the burn rate at the upper confidence bound of the long window, 0 when that saw no request.
func (b BurnRate) UpperRate() float64 {
	if b.LongCounts.Total == 0 {
		return 0
	}
	_, upper := bounds(b.LongCounts, b.confidence)
	return burnRate(upper, b.target)
}

// Status is how one SLO stands for one tenant at a moment.
type Status struct {
	SLO                  string        `json:"slo"`
	Revision             uint32        `json:"revision"`
	Title                string        `json:"title"`
	Product              string        `json:"product"`
	Tenant               tenant.ID     `json:"tenant"`
	Target               PPM           `json:"target"`
	Window               time.Duration `json:"window"`
	WindowWords          string        `json:"-"`               // the window as people say it: "30 days", "calendar month"
	From                 time.Time     `json:"from"`            // where the window begins that ends with the minute of At
	Until                *time.Time    `json:"until,omitempty"` // where a calendar window will end; nil for a rolling one
	Counts                             // over the SLO's window, without what is excluded
	Excluded             Counts        `json:"excluded"`             // over the window: what corrections name
	ErrorBudgetRemaining float64       `json:"errorBudgetRemaining"` // 1 is full, 0 used up, negative overspent
	BurnRates            []BurnRate    `json:"burnRates"`
	ExhaustsAt           *time.Time    `json:"exhaustsAt,omitempty"` // at the present rate; nil when it does not run out within the window
	State                State         `json:"state"`
	At                   time.Time     `json:"at"`
}

// BudgetWithExcluded returns the share of the budget that would be left without corrections.
func (s *Status) BudgetWithExcluded() float64 {
	return errorBudgetRemaining(Counts{Good: s.Good + s.Excluded.Good, Total: s.Total + s.Excluded.Total}, s.Target)
}

// Worst returns the firing pair with the highest long rate, else the pair with the highest long rate, else nil.
func (s *Status) Worst() *BurnRate {
	var worst *BurnRate
	for i := range s.BurnRates {
		b := &s.BurnRates[i]
		if worst == nil || b.Firing && !worst.Firing || b.Firing == worst.Firing && b.LongRate > worst.LongRate {
			worst = b
		}
	}
	return worst
}

// Snapshot is every SLO for every tenant at one moment. It is shared and must not be changed.
type Snapshot struct {
	At       time.Time
	SLOs     []Definition
	Statuses []Status // by SLO name, then by tenant
	Fleet    []Status // one for each SLO over all tenants together, against the definition's own target; Tenant is empty
	byTenant map[tenant.ID][]*Status
}

// ForTenant returns the statuses of one tenant.
func (s *Snapshot) ForTenant(t tenant.ID) []*Status { return s.byTenant[t] }

// DayCounts are an SLO's requests over all tenants on one UTC day.
type DayCounts struct {
	Day time.Time
	Counts
}
