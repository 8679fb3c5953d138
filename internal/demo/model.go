package demo

import (
	"fmt"
	"math"
	"time"

	"github.com/nexis-limited/headroom/slo"
	"github.com/nexis-limited/headroom/tenant"
)

// Company is who takes part: products with their services, the databases, caches and queues behind them, and the
// tenants. It is built once, says nothing about time, and is only read afterwards.
type Company struct {
	Name      string
	Products  []*Product
	Instances []*Instance
	Tenants   []*Tenant // the largest first
	Nobody    *Tenant   // stands in where a service forgets to say for whom it works
}

// Product is what the company sells; service.namespace in its telemetry.
type Product struct {
	Name     string
	Title    string
	Index    int // in Company.Products
	Services []*Service
	Routes   []*Route // those that come from outside, whose Weight is above 0
	Targets  map[tenant.Plan]slo.PPM
	weight   float64 // sum over Routes
}

// Service is one program of a product. It is deployed every now and then, which moves its version.
type Service struct {
	Name    string
	Product *Product
	Index   int // over all products
	Runtime string
	Pods    int
	release release
}

// release says when a service is deployed and how its versions are numbered.
type release struct {
	major, minor int64
	every, phase time.Duration
}

// Version returns the version that runs at t: a new minor with each deploy.
func (s *Service) Version(t time.Time) string { return s.versionAfter(t, 0) }

// NextVersion returns the version after the one that runs at t, for a deploy that is rolled back.
func (s *Service) NextVersion(t time.Time) string { return s.versionAfter(t, 1) }

func (s *Service) versionAfter(t time.Time, more int64) string {
	n := (t.Unix()+int64(s.release.phase/time.Second))/int64(s.release.every/time.Second) + more
	return fmt.Sprintf("%d.%d.%d", s.release.major, s.release.minor+n/3%400, n%3)
}

// Kind is a span's kind, numbered as OTLP does.
type Kind uint8

// The kinds of span.
const (
	Server   Kind = 2
	Client   Kind = 3
	Producer Kind = 4
	Consumer Kind = 5
)

// Attr is one attribute: a text, or a number when Text is empty.
type Attr struct {
	Key    string
	Text   string
	Number int64
}

// Operation is what all spans of one sort have in common.
type Operation struct {
	Service  *Service
	Kind     Kind
	Name     string
	HTTP     bool      // has http.response.status_code
	RPC      bool      // has rpc.grpc.status_code
	Instance *Instance // the database, cache or queue it talks to; nil for others
	Attrs    []Attr
	attrs    []byte // Attrs as fields of an OTLP span
}

// Instance is one database server, cache or queue.
type Instance struct {
	System  string // as db.system.name or messaging.system has it
	Address string
	Port    int64
	Space   string // database name
	Index   int    // in Company.Instances
}

// Route is one thing that a service does when asked: what it costs and what it calls.
type Route struct {
	Entry    *Operation
	Path     string
	Weight   float64       // share of the product's requests from outside, over the sum of all; 0: only called by other routes
	Own      time.Duration // median of the time spent in the service itself
	Spread   float64       // sigma of that time's logarithm
	Steps    []Step
	Failures []Failure // what goes wrong now and then, equally often
	Refusals Refusal   // requests that the caller got wrong
	Untagged float64   // share of requests whose spans name no tenant
}

// Step is one call that a route makes, in order.
type Step struct {
	Ops    []*Operation // one for each instance; the tenant's cell says which
	Median time.Duration
	Spread float64
	Chance float64 // that it is made at all
	Times  int
	Calls  *Route // what runs on the other side, if that is ours
	Async  bool   // Calls runs later, after a wait in the queue of Median
}

// Failure is a way in which a request fails.
type Failure struct {
	Step    int // which step fails; -1 is the service's own code
	Status  uint16
	Type    string // exception.type
	Message string // exception.message
}

// Refusal is an answer 4xx: not an error of ours.
type Refusal struct {
	Status uint16
	Chance float64
}

// Tenant is one customer.
type Tenant struct {
	ID     tenant.ID
	Name   string
	Plan   tenant.Plan
	Index  int       // in Company.Tenants
	Cell   int       // which of the instances of a product it lives on
	Share  float64   // of the company's requests; all sum to 1
	Mix    []float64 // of its requests over the products; sums to 1
	Size   float64   // how much longer its queries take than the median tenant's
	Spends []float64 // share of the error budget that everyday errors use up, for each product
	attr   []byte    // tenant.id as a field of an OTLP span
}

// Route returns the route of a service, as "service POST /path"; it panics when there is none.
func (c *Company) Route(name string) *Route {
	for _, p := range c.Products {
		for _, r := range p.Routes {
			if r.Entry.Service.Name+" "+r.Entry.Name == name {
				return r
			}
		}
	}
	panic("BUG: no route " + name)
}

// Instance returns the instance at an address; it panics when there is none.
func (c *Company) Instance(address string) *Instance {
	for _, i := range c.Instances {
		if i.Address == address {
			return i
		}
	}
	panic("BUG: no instance " + address)
}

// day is how busy the company is in each hour of its local day, against its busiest hour.
var day = [24]float64{
	.18, .15, .13, .13, .14, .19, .30, .50, .76, .93, .99, 1,
	.92, .89, .96, .99, .94, .83, .68, .55, .45, .37, .29, .22,
}

// Busy returns how much of its peak load the company has at a local time of day.
func Busy(local time.Duration) float64 {
	h := math.Mod(local.Hours(), 24)
	if h < 0 {
		h += 24
	}
	i := int(h)
	f := h - float64(i)
	return day[i]*(1-f) + day[(i+1)%24]*f
}

// meanBusy is the mean of Busy over a day.
func meanBusy() float64 {
	var sum float64
	for _, b := range day {
		sum += b
	}
	return sum / float64(len(day))
}
