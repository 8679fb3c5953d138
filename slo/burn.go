package slo

import (
	"math"
	"time"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// DefaultConfidence is that of the lower bound of the error ratio in the long window. Simulated over a month, 99 % takes
// the false pages of quiet tenants to none and costs minutes of detection at a hundred requests an hour; 95 % still pages
// on one failure of one request.
const DefaultConfidence = 0.99

// shares are the default window pairs: which share of the period's budget may burn within the long window. The factor
// follows as share × period ÷ long, and the short window is a twelfth of the long one (Google's SRE workbook, chapter 5).
var shares = []struct {
	long     time.Duration
	share    float64
	severity Severity
}{
	{time.Hour, 0.02, Page},
	{6 * time.Hour, 0.05, Page},
	{24 * time.Hour, 0.10, Ticket},
	{72 * time.Hour, 0.10, Ticket},
}

// DefaultWindows returns the default window pairs for an SLO over period: for 30 days 14.4, 6, 3 and 1 times.
func DefaultWindows(period time.Duration) []BurnWindow {
	windows := make([]BurnWindow, 0, len(shares))
	for _, s := range shares {
		factor := s.share * float64(period) / float64(s.long)
		windows = append(windows, BurnWindow{
			Long: s.long, Short: s.long / 12, Factor: math.Round(factor*1e6) / 1e6, Severity: s.severity,
		})
	}
	return windows
}

// canFire reports whether a total outage exceeds the factor at a target.
func (w BurnWindow) canFire(target PPM) bool {
	return w.Factor*(1-target.Fraction()) < 1-1e-9
}

// burnRate returns the error ratio over the allowed error ratio.
func burnRate(errorRatio float64, target PPM) float64 {
	return errorRatio / (1 - target.Fraction())
}

// errorBudgetRemaining returns the share of the budget that is left, 1 when nothing was asked for.
func errorBudgetRemaining(c Counts, target PPM) float64 {
	return 1 - burnRate(c.ErrorRatio(), target)
}

// bounds returns the one-sided lower and upper Clopper–Pearson bounds of the error ratio, each at the confidence: the
// ratios at which as many errors as these, or more (fewer), would have probability 1 − confidence. Confidence 0 returns
// the ratio itself twice, and no requests leave everything possible.
func bounds(c Counts, confidence float64) (lower, upper float64) {
	if confidence == 0 {
		return c.ErrorRatio(), c.ErrorRatio()
	}
	return lowerBound(c, confidence), upperBound(c, confidence)
}

func lowerBound(c Counts, confidence float64) float64 {
	k, n := float64(c.Bad()), float64(c.Total)
	if k == 0 {
		return 0
	}
	if k == n {
		return math.Pow(1-confidence, 1/n)
	}
	return min(k/n, betaQuantile(k, n-k+1, 1-confidence)) // its last digits may be off
}

func upperBound(c Counts, confidence float64) float64 {
	k, n := float64(c.Bad()), float64(c.Total)
	switch {
	case n == 0 || k == n:
		return 1
	case k == 0:
		return -math.Expm1(math.Log1p(-confidence) / n)
	}
	return max(k/n, betaQuantile(k+1, n-k, confidence))
}

// betaQuantile returns where the beta distribution of shapes a and b reaches the probability p. InvRegIncBeta does not
// always converge where both shapes are large; there the Cornish–Fisher expansion with the skewness is within a
// thousandth of a standard deviation.
func betaQuantile(a, b, p float64) float64 {
	const large = 100_000
	if min(a, b) < large {
		return mathext.InvRegIncBeta(a, b, p)
	}
	n := a + b
	mean, deviation := a/n, math.Sqrt(a*b/(n+1))/n
	skewness := 2 * (b - a) * math.Sqrt(n+1) / ((n + 2) * math.Sqrt(a*b))
	z := distuv.UnitNormal.Quantile(p)
	return mean + deviation*(z+skewness*(z*z-1)/6)
}
