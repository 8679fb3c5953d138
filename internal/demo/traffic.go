package demo

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"
)

// Span is one span of a trace. Times are nanoseconds since 1970.
type Span struct {
	Trace      [16]byte
	ID, Parent [8]byte
	Op         *Operation
	Tenant     *Tenant
	Version    string
	Pod        uint8
	Status     uint16 // HTTP status where Op.HTTP
	Start, End int64
	Failure    *Failure // nil: it worked
}

// Traffic says what happens in a second. The same seed, rate and second give the same spans, in whatever order seconds
// are asked for. It reuses its state between calls: one goroutine at a time.
type Traffic struct {
	company  *Company
	seed     uint64
	rate     float64
	zone     time.Duration
	failures [][]float64 // chance that a request fails, by tenant and product
	source   *rand.PCG
	rng      *rand.Rand
	versions []string // by service, in the second at work
	effects  []Effect
	trace    []Span
}

// NewTraffic returns the traffic of a company whose busiest hour brings peakRate requests a second from outside, in a
// time zone that is ahead of UTC by zone.
func NewTraffic(c *Company, seed uint64, peakRate float64, zone time.Duration) *Traffic {
	source := rand.NewPCG(seed, 0)
	f := &Traffic{company: c, seed: seed, rate: peakRate, zone: zone, source: source, rng: rand.New(source)}
	for _, p := range c.Products {
		f.versions = append(f.versions, make([]string, len(p.Services))...)
	}
	for _, t := range c.Tenants {
		var chances []float64
		for _, p := range c.Products {
			chances = append(chances, f.failureChance(t, p))
		}
		f.failures = append(f.failures, chances)
	}
	return f
}

// failureChance spends the tenant's share of the budget, but less where the budget of a day is only a few requests:
// there a single unlucky one would be a large part of it.
func (f *Traffic) failureChance(t *Tenant, p *Product) float64 {
	budget := 1 - p.Targets[t.Plan].Fraction()
	chance := t.Spends[p.Index] * budget
	if t.Spends[p.Index] > spendsMost {
		return chance
	}
	aDay := budget * f.rate * meanBusy() * t.Share * t.Mix[p.Index] * 86_400
	return chance * aDay / (aDay + 8)
}

// Rate returns the mean number of requests a second that a tenant makes at t, without troubles.
func (f *Traffic) Rate(t *Tenant, at time.Time) float64 {
	local := time.Duration(at.Unix()%86_400)*time.Second + f.zone
	// Each tenant's load drifts up and down by a fifth over an hour or so, so that charts are not ruled lines.
	period := 2400 + 131*float64(t.Index)
	drift := 1 + .2*math.Sin(2*math.Pi*(float64(at.Unix())/period+scatter(t.Index, 0)))
	return f.rate * t.Share * Busy(local) * drift
}

// Second appends to dst the spans of all traces whose last span ends in the second that begins at t.
func (f *Traffic) Second(dst []Span, t time.Time, effects []Effect) []Span {
	f.source.Seed(f.seed, mix(uint64(t.Unix())))
	f.effects = effects
	for _, p := range f.company.Products {
		for _, s := range p.Services {
			f.versions[s.Index] = f.version(s, t)
		}
	}
	for _, who := range f.company.Tenants {
		for range f.poisson(f.Rate(who, t)) {
			dst = f.request(dst, t, who, f.pick(who))
		}
		for _, e := range effects {
			if e.Flood == nil || e.Flood.Tenant != who.ID {
				continue
			}
			for range f.poisson(f.Rate(who, t) * (e.Flood.Times - 1)) {
				dst = f.request(dst, t, who, e.Flood.Route)
			}
		}
	}
	return dst
}

func (f *Traffic) version(s *Service, t time.Time) string {
	for _, e := range f.effects {
		if e.Deploy != nil && e.Deploy.Route.Entry.Service == s {
			return s.NextVersion(t)
		}
	}
	return s.Version(t)
}

// pick chooses a product by the tenant's habits and one of its routes by weight.
func (f *Traffic) pick(who *Tenant) *Route {
	x := f.rng.Float64()
	for i, share := range who.Mix {
		if x -= share; x >= 0 && i < len(who.Mix)-1 {
			continue
		}
		p := f.company.Products[i]
		y := f.rng.Float64() * p.weight
		for _, r := range p.Routes {
			if y -= r.Weight; y < 0 {
				return r
			}
		}
		return p.Routes[0]
	}
	panic("BUG: tenant " + who.ID + " asks for no product")
}

// request makes one trace and moves it so that its last span ends within the second of t.
func (f *Traffic) request(dst []Span, t time.Time, who *Tenant, r *Route) []Span {
	first := len(dst)
	f.trace = dst
	var trace [16]byte
	binary.LittleEndian.PutUint64(trace[:8], f.rng.Uint64())
	binary.LittleEndian.PutUint64(trace[8:], f.rng.Uint64()|1)
	fails := f.rng.Float64() < f.failures[who.Index][r.Entry.Service.Product.Index] && !f.calm(r)
	if r.Untagged > 0 && f.rng.Float64() < r.Untagged {
		who = f.company.Nobody
	}
	f.serve(hop{trace: trace, who: who, fails: fails}, r, 0)
	last := int64(0)
	for _, s := range f.trace[first:] {
		last = max(last, s.End)
	}
	shift := t.UnixNano() + int64(f.rng.Uint64()%uint64(time.Second)) - last
	for i := first; i < len(f.trace); i++ {
		f.trace[i].Start += shift
		f.trace[i].End += shift
	}
	return f.trace
}

// hop is what a call hands on to the service that serves it.
type hop struct {
	trace  [16]byte
	parent [8]byte
	who    *Tenant
	fails  bool
}

// serve appends the spans of one service's work from start on, and returns when it ended and why it failed.
func (f *Traffic) serve(c hop, r *Route, start int64) (end int64, failure *Failure) {
	s := r.Entry.Service
	at := f.open(c, r.Entry, start, uint8(f.rng.Uint32()%uint32(s.Pods)))
	status := uint16(200)
	if c.fails && len(r.Failures) > 0 {
		failure = &r.Failures[f.rng.IntN(len(r.Failures))]
	}
	if d := f.broken(r, c.who); d != nil {
		failure = &d.Failure
	}
	own := f.lognormal(r.Own, r.Spread)
	now := start + own/3
	if failure == nil && f.rng.Float64() < r.Refusals.Chance {
		status, failure = r.Refusals.Status, nil
		own /= 2
	} else {
		now, failure = f.steps(c, r, at, now, failure)
	}
	end = now + own - own/3
	span := &f.trace[at]
	span.End, span.Failure = end, failure
	if failure != nil {
		status = failure.Status
	} else if status == 200 && r.Entry.HTTP && len(r.Entry.Name) > 4 && r.Entry.Name[:4] == "POST" {
		status = 201
	}
	if r.Entry.HTTP {
		span.Status = status
	}
	return end, failure
}

// steps makes the calls of a route in order, up to the one that fails.
func (f *Traffic) steps(c hop, r *Route, entry int, now int64, failure *Failure) (int64, *Failure) {
	parent := f.trace[entry].ID
	pod := f.trace[entry].Pod
	for i := range r.Steps {
		st := &r.Steps[i]
		failsHere := failure != nil && failure.Step == i
		if failure != nil && failure.Step < 0 && i > 0 {
			break // its own code fails after the first call
		}
		if st.Chance > 0 && !failsHere && f.rng.Float64() >= st.Chance {
			continue
		}
		for range max(1, st.Times) {
			op := st.Ops[c.who.Cell%len(st.Ops)]
			at := f.open(hop{trace: c.trace, parent: parent, who: c.who}, op, now, pod)
			span := &f.trace[at]
			if op.HTTP {
				span.Status = 200
			}
			switch {
			case st.Async:
				now += f.lognormal(2*ms, .4)
				span.End = now
				if !failsHere {
					f.serve(hop{trace: c.trace, parent: span.ID, who: c.who}, st.Calls, now+f.wait(st, c.who))
				}
			case failsHere && st.Calls != nil:
				now += f.lognormal(5*time.Second, .01) // it never arrived on the other side
				span.End = now
			case st.Calls != nil:
				inner := hop{trace: c.trace, parent: span.ID, who: c.who}
				ended, why := f.serve(inner, st.Calls, now+f.lognormal(400*time.Microsecond, .3))
				now = ended + f.lognormal(300*time.Microsecond, .3)
				span = &f.trace[at]
				span.End = now
				if why != nil {
					failsHere = true
					failure = &Failure{Step: i, Status: 502, Type: "UpstreamError", Message: st.Calls.Entry.Service.Name + ": " + why.Message}
				}
			case failsHere:
				now += 12 * f.wait(st, c.who) // most failures are found by waiting
				span.End = now
			default:
				now += f.wait(st, c.who)
				span.End = now
			}
			if failsHere {
				span.Failure = failure
				if op.HTTP {
					span.Status = max(500, failure.Status)
				}
				return now, failure
			}
		}
	}
	return now, failure
}

func (f *Traffic) open(c hop, op *Operation, start int64, pod uint8) int {
	s := Span{Trace: c.trace, Parent: c.parent, Op: op, Tenant: c.who, Version: f.versions[op.Service.Index], Pod: pod, Start: start}
	binary.LittleEndian.PutUint64(s.ID[:], f.rng.Uint64()|1)
	f.trace = append(f.trace, s)
	return len(f.trace) - 1
}

// wait is how long a step takes for a tenant, in nanoseconds: large tenants have more rows, and an instance in trouble
// is slow for all that live on it.
func (f *Traffic) wait(st *Step, who *Tenant) int64 {
	d := float64(f.lognormal(st.Median, st.Spread))
	if i := st.Ops[who.Cell%len(st.Ops)].Instance; i != nil {
		if i.System == "postgresql" {
			d *= who.Size
		}
		for _, e := range f.effects {
			if e.Slow != nil && e.Slow.Instance == i {
				d *= e.Slow.Times
			}
		}
	}
	return int64(min(d, float64(5*time.Second)))
}

func (f *Traffic) broken(r *Route, who *Tenant) *Deploy {
	for _, e := range f.effects {
		if d := e.Deploy; d != nil && d.Route == r && d.hits(who.Cell) && f.rng.Float64() < d.Share {
			return d
		}
	}
	return nil
}

func (f *Traffic) calm(r *Route) bool {
	for _, e := range f.effects {
		if e.Calm == r {
			return true
		}
	}
	return false
}

// lognormal returns nanoseconds around a median.
func (f *Traffic) lognormal(median time.Duration, sigma float64) int64 {
	x := max(-3.5, min(f.rng.NormFloat64(), 3.5))
	return int64(float64(median) * math.Exp(sigma*x))
}

// poisson returns how many events happen where mean are expected: Knuth's method, and for many the normal distribution.
func (f *Traffic) poisson(mean float64) int {
	if mean > 64 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*f.rng.NormFloat64())))
	}
	limit, n := math.Exp(-mean), 0
	for p := f.rng.Float64(); p > limit; p *= f.rng.Float64() {
		n++
	}
	return n
}
