package demo

import (
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// Trouble is something that goes wrong for a while. Times count from the moment at which the demo goes live.
type Trouble struct {
	Name  string
	From  time.Duration
	Until time.Duration
	Calm  time.Duration // after Until, without the everyday errors of the route that was deployed
	Effect
}

// Effect is what a trouble does to the traffic. What is nil does nothing.
type Effect struct {
	Deploy *Deploy
	Slow   *Slow
	Flood  *Flood
	Calm   *Route // has no everyday errors
}

// Deploy is a new version of the route's service, in which the route fails for the tenants of some cells.
type Deploy struct {
	Route   *Route
	Cells   []int
	Share   float64 // of the requests that fail
	Failure Failure
}

func (d *Deploy) hits(cell int) bool {
	for _, c := range d.Cells {
		if c == cell {
			return true
		}
	}
	return false
}

// Slow makes every call to an instance take longer.
type Slow struct {
	Instance *Instance
	Times    float64
}

// Flood makes one tenant ask for a route so often that all its requests together are Times as many.
type Flood struct {
	Tenant tenant.ID
	Route  *Route
	Times  float64
}

// round is how often trouble comes back.
const round = 30 * time.Minute

// The first trouble begins and ends so that an alert is up and over within five minutes of the demo's start: 25 s of
// history, then firstTrouble, at most a minute until the alert, and two minutes after the rollback until the short
// window of slos/policy.yaml is clean.
const (
	firstTrouble = 12 * time.Second
	badDeploy    = 70 * time.Second

	// A tenant with ten checkouts a minute would be over the short window's limit again with a single failure, and the
	// long window remembers the deploy for twelve minutes more. So that the alert does not flap, there is none till then.
	calmAfter = 13 * time.Minute
)

// Schedule is all trouble there ever is: what lies in the history, and rounds that follow each other once the demo is live.
type Schedule struct {
	past   []Trouble
	rounds [][]Trouble // times count from the round's begin
}

// NewSchedule returns the company's schedule. A route or database has its turn once in four hours and, from the second
// turn on, only for a third of the tenants: more would use up the budgets of a demo that is left running.
func NewSchedule(c *Company) *Schedule {
	deploy := func(at, lasts time.Duration, route string, share float64, failure Failure, cells ...int) Trouble {
		r := c.Route(route)
		failure.Step = -1
		return Trouble{Name: "bad deploy of " + r.Entry.Service.Name, From: at, Until: at + lasts,
			Effect: Effect{Deploy: &Deploy{Route: r, Cells: cells, Share: share, Failure: failure}}}
	}
	broken := func(cells ...int) Trouble {
		t := deploy(firstTrouble, badDeploy, "checkout POST /checkout", .94, Failure{Status: 500, Type: "java.lang.NullPointerException",
			Message: "Cannot invoke \"TaxRegion.rate()\" because \"region\" is null"}, cells...)
		t.Calm = calmAfter
		return t
	}
	slow := func(at, lasts time.Duration, address string, times float64) Trouble {
		return Trouble{Name: "slow database " + address, From: at, Until: at + lasts,
			Effect: Effect{Slow: &Slow{Instance: c.Instance(address), Times: times}}}
	}
	noisy := func(at, lasts time.Duration, id tenant.ID, route, address string, times float64) Trouble {
		return Trouble{Name: "noisy tenant " + string(id), From: at, Until: at + lasts, Effect: Effect{
			Flood: &Flood{Tenant: id, Route: c.Route(route), Times: 20},
			Slow:  &Slow{Instance: c.Instance(address), Times: times}}}
	}
	var (
		emoji    = Failure{Status: 500, Type: "TypeError", Message: "Cannot read properties of undefined (reading 'codePointAt')"}
		columns  = Failure{Status: 500, Type: "KeyError", Message: "'net_amount'"}
		currency = Failure{Status: 500, Type: "java.lang.IllegalStateException", Message: "no rounding rule for currency of invoice"}
	)
	s := &Schedule{past: []Trouble{
		deploy(-20*hour, 14*time.Minute, "reports GET /reports/{id}", .7, columns, 0, 2),
		deploy(-18*hour, 8*time.Minute, "invoices GET /invoices", .5, currency, 1),
		deploy(-17*hour-30*time.Minute, 9*time.Minute, "inbox POST /conversations/{id}/messages", .6, emoji, 1, 2),
		slow(-22*hour, 25*time.Minute, "pg-messaging-1", 6),
		noisy(-19*hour, 20*time.Minute, "barley-row-brewing", "catalog POST /catalog/import", "pg-commerce-3", 4),
	}}
	const m = time.Minute
	rest := [][]Trouble{
		{noisy(4*m, 6*m, "drift-anchor", "catalog POST /catalog/import", "pg-commerce-1", 5)},
		{deploy(3*m, 3*m, "inbox POST /conversations/{id}/messages", .5, emoji, 0), slow(12*m, 4*m, "pg-messaging-1", 9)},
		{slow(5*m, 5*m, "pg-analytics-1", 8)},
		{deploy(2*m, 3*m, "reports GET /reports/{id}", .6, columns, 1), noisy(14*m, 5*m, "signal-yard-media", "reports GET /funnels/{id}", "pg-analytics-2", 5)},
		{slow(6*m, 4*m, "pg-commerce-3", 7)},
		{deploy(4*m, 2*m, "invoices GET /invoices", .4, currency, 2)},
		{noisy(3*m, 7*m, "fennel-kitchenware", "catalog POST /catalog/import", "pg-commerce-1", 4), slow(16*m, 4*m, "pg-billing-2", 8)},
	}
	const turns = 1 + cells
	for turn := range turns {
		if turn == 0 {
			s.rounds = append(s.rounds, []Trouble{
				broken(0, 1),
				slow(150*time.Second, 5*m, "pg-billing-1", 20),
				noisy(10*m, 6*m, "quarry-tools", "catalog POST /catalog/import", "pg-commerce-1", 6),
			})
		} else {
			s.rounds = append(s.rounds, []Trouble{
				broken((turn + 1) % cells),
				slow(5*m, 5*m, "pg-billing-1", 20),
			})
		}
		s.rounds = append(s.rounds, rest...)
	}
	return s
}

// At returns the trouble at an offset from going live; before it, offsets are negative.
func (s *Schedule) At(offset time.Duration) []Trouble {
	list, offset := s.around(offset)
	var now []Trouble
	for _, t := range list {
		if t.From <= offset && offset < t.Until {
			now = append(now, t)
		}
	}
	return now
}

// Effects returns what the trouble at an offset does to the traffic, and what the trouble before it left.
func (s *Schedule) Effects(offset time.Duration) []Effect {
	list, offset := s.around(offset)
	var now []Effect
	for _, t := range list {
		switch {
		case offset < t.From || offset >= t.Until+t.Calm:
		case offset < t.Until:
			now = append(now, t.Effect)
		default:
			now = append(now, Effect{Calm: t.Deploy.Route})
		}
	}
	return now
}

// around returns the round of an offset, and the offset within it.
func (s *Schedule) around(offset time.Duration) ([]Trouble, time.Duration) {
	if offset < 0 {
		return s.past, offset
	}
	// The rounds of the first turn, then the other turns for ever.
	n := int(offset / round)
	if first := len(s.rounds) / (1 + cells); n >= len(s.rounds) {
		n = first + (n-first)%(len(s.rounds)-first)
	}
	return s.rounds[n], offset % round
}
