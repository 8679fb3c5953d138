package slo

import (
	"math/rand/v2"
	"testing"
	"time"
)

// What alerting promises of quiet tenants and of outages, on simulated traffic: the plain rule of the workbook pages for
// nothing where requests are few, the confident one does not, and it sees an outage all the same.
func TestSimulatedDetection(t *testing.T) {
	t.Parallel()
	f := func(perHour float64, failing float64, plainFalse, falsePages float64, median time.Duration) {
		t.Helper()
		sim := Simulation{
			RequestsPerHour: perHour, HealthyRatio: 0.0005, FailingRatio: failing, Healthy: 720 * day, Troubles: 40, Patience: day,
		}
		d := &Definition{Target: 999_000, Window: 30 * day, Policy: Policy{Windows: DefaultWindows(30 * day)[:2]}}
		plain := d.Simulate(sim, rand.New(rand.NewPCG(1, 2)))
		d.Policy.Confidence = DefaultConfidence
		confident := d.Simulate(sim, rand.New(rand.NewPCG(1, 2)))
		if plain.FalsePages < plainFalse {
			t.Errorf("%v requests an hour: the plain rule pages %v times a month for nothing, want at least %v", perHour, plain.FalsePages, plainFalse)
		}
		if confident.FalsePages > falsePages {
			t.Errorf("%v requests an hour: %v pages a month for nothing, want at most %v", perHour, confident.FalsePages, falsePages)
		}
		if confident.Median > median || confident.P95 < confident.Median || plain.Median > confident.Median {
			t.Errorf("%v requests an hour, %v failing: seen after %s (95 %%: %s), plain %s, want at most %s", perHour, failing,
				confident.Median, confident.P95, plain.Median, median)
		}
	}
	f(10, 1, 1.5, 0, 40*time.Minute)
	f(100, 1, 0.5, 0, 6*time.Minute)
	f(100, 0.5, 0.5, 0, 10*time.Minute)
	f(1000, 1, 0, 0, 3*time.Minute)
	f(1000, 0.05, 0, 0, 45*time.Minute)
}
