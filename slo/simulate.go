package slo

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// Simulation is made-up traffic that a definition's alerts are tried on: requests arrive independently of each other
// (Poisson), and each fails with the same probability.
type Simulation struct {
	RequestsPerHour float64
	HealthyRatio    float64       // of requests that fail while nothing is wrong
	FailingRatio    float64       // of those that fail in a trouble
	Healthy         time.Duration // how long to look for pages that nothing justifies
	Troubles        int           // how many troubles to wait for a page in
	Patience        time.Duration // how long to wait for one
}

// Simulated is what a definition's alerts did.
type Simulated struct {
	FalsePages  float64       // a page that opened in 30 days while nothing was wrong, on average
	Median, P95 time.Duration // from the beginning of a trouble to the page; Patience for those that were never seen
}

// Simulate tries the definition's own target on a simulation; r decides everything that is left to chance.
func (d *Definition) Simulate(sim Simulation, r *rand.Rand) Simulated {
	zero := time.Unix(0, 0).UTC()
	warm := zero
	for _, w := range d.Policy.Windows {
		if t := zero.Add(w.Long); w.Severity == Page && t.After(warm) {
			warm = t
		}
	}
	var out Simulated
	s := sim.series(r, zero, int(warm.Add(sim.Healthy).Sub(zero)/time.Minute), -1)
	for _, e := range newClock(d, zero, warm, warm.Add(sim.Healthy)).replay("", d.Target, s, s) {
		if e.Severity == Page {
			out.FalsePages += float64(30*day) / float64(sim.Healthy)
		}
	}
	begins := int(warm.Sub(zero) / time.Minute)
	clock := newClock(d, zero, warm, warm.Add(sim.Patience))
	delays := make([]time.Duration, sim.Troubles)
	var status Status
	for i := range delays {
		s := sim.series(r, zero, clock.to, begins)
		delays[i] = sim.Patience
		for m := begins; m < clock.to; m++ {
			if clock.at(m, s, d.Target, &status); status.firing(Page) != nil {
				delays[i] = time.Duration(m+1-begins) * time.Minute
				break
			}
		}
	}
	slices.Sort(delays)
	if n := len(delays); n > 0 {
		out.Median, out.P95 = delays[n/2], delays[min(n-1, n*95/100)]
	}
	return out
}

// series returns n minutes of traffic. From the begins-th on a trouble lasts; -1 is never.
func (sim Simulation) series(r *rand.Rand, zero time.Time, n, begins int) *series {
	s := newSeries(zero, n)
	for m := range n {
		ratio := sim.HealthyRatio
		if begins >= 0 && m >= begins {
			ratio = sim.FailingRatio
		}
		// The parts of a Poisson stream that a coin divides it into are Poisson streams of their own.
		bad, good := poisson(r, sim.RequestsPerHour/60*ratio), poisson(r, sim.RequestsPerHour/60*(1-ratio))
		s.put(zero.Add(time.Duration(m)*time.Minute), Counts{Good: good, Total: good + bad})
	}
	s.fill(n)
	return s
}

func poisson(r *rand.Rand, mean float64) uint64 {
	if mean <= 0 {
		return 0
	}
	return uint64(math.Round(distuv.Poisson{Lambda: mean, Src: r}.Rand()))
}
