package slo

import (
	"math"
	"testing"
	"time"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

func TestDefaultWindows(t *testing.T) {
	f := func(period time.Duration, want ...float64) {
		t.Helper()
		got := DefaultWindows(period)
		if len(got) != len(want) {
			t.Fatalf("%s: %d windows, want %d", period, len(got), len(want))
		}
		for i, w := range got {
			if math.Abs(w.Factor-want[i]) > 1e-6 {
				t.Errorf("%s, long %s: factor %v, want %v", period, w.Long, w.Factor, want[i])
			}
			if w.Short*12 != w.Long {
				t.Errorf("%s: short window %s is no twelfth of %s", period, w.Short, w.Long)
			}
		}
	}
	f(30*day, 14.4, 6, 3, 1)
	f(28*day, 13.44, 5.6, 2.8, 0.933333)
	f(7*day, 3.36, 1.4, 0.7, 0.233333)
	f(90*day, 43.2, 18, 9, 3)
}

func TestBudget(t *testing.T) {
	f := func(good, total uint64, target PPM, want float64) {
		t.Helper()
		if got := errorBudgetRemaining(Counts{Good: good, Total: total}, target); math.Abs(got-want) > 1e-12 {
			t.Errorf("remaining of %d/%d at %s = %v, want %v", good, total, target, got, want)
		}
	}
	f(0, 0, 999_000, 1)
	f(1000, 1000, 999_000, 1)
	f(999, 1000, 999_000, 0)
	f(9995, 10000, 999_000, 0.5)
	f(998, 1000, 999_000, -1)
	f(0, 10, 990_000, -99)
	f(29, 32, 999_000, 1-93.75)
}

func TestBounds(t *testing.T) {
	// Found by bisection of the binomial distribution's tails, summed term by term.
	f := func(bad, total uint64, lower, upper float64) {
		t.Helper()
		l, u := bounds(Counts{Good: total - bad, Total: total}, 0.99)
		if math.Abs(l-lower) > 1e-6 || math.Abs(u-upper) > 1e-6 {
			t.Errorf("bounds of %d/%d = %.7f, %.7f, want %.7f, %.7f", bad, total, l, u, lower, upper)
		}
	}
	f(0, 0, 0, 1)
	f(0, 10, 0, 1-math.Pow(0.01, 0.1))
	f(1, 1, 0.01, 1)
	f(10, 10, math.Pow(0.01, 0.1), 1)
	f(1, 10, 0.0010045, 0.5043527)
	f(3, 32, 0.0139728, 0.2810876)
	f(50, 1000, 0.0352815, 0.0684049)
}

// The bounds are where the binomial tail has the probability that the confidence leaves. Of more requests the tail itself,
// as RegIncBeta finds it, is no longer exact to a millionth: see TestBoundsOfLargeCounts.
func TestBoundsAreTails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64Range(1, 1<<uint(rapid.IntRange(1, 16).Draw(t, "magnitude"))).Draw(t, "total")
		bad := rapid.Uint64Range(0, total).Draw(t, "bad")
		if rapid.Bool().Draw(t, "few") {
			bad = min(total, bad%100)
		}
		confidence := rapid.Float64Range(0.5, 0.9999).Draw(t, "confidence")
		c := Counts{Good: total - bad, Total: total}
		lower, upper := bounds(c, confidence)
		k, n := float64(bad), float64(total)
		if lower < 0 || lower > c.ErrorRatio() || upper < c.ErrorRatio() || upper > 1 {
			t.Fatalf("%d of %d: bounds %v, %v do not hold %v between them", bad, total, lower, upper, c.ErrorRatio())
		}
		if bad > 0 {
			if p := mathext.RegIncBeta(k, n-k+1, lower); math.Abs(p-(1-confidence)) > 1e-6 {
				t.Fatalf("%d of %d: P(at least as many | %v) = %v, want %v", bad, total, lower, p, 1-confidence)
			}
		}
		if bad < total {
			if p := 1 - mathext.RegIncBeta(k+1, n-k, upper); math.Abs(p-(1-confidence)) > 1e-6 {
				t.Fatalf("%d of %d: P(at most as many | %v) = %v, want %v", bad, total, upper, p, 1-confidence)
			}
		}
	})
}

// Of many requests the bounds are as many standard deviations off as the normal distribution has them, as far as it
// holds: it has no skew, which moves a bound by the order of z² over the root of the errors.
func TestBoundsOfLargeCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64Range(1<<16, 1<<uint(rapid.IntRange(17, 40).Draw(t, "magnitude"))).Draw(t, "total")
		bad := rapid.Uint64Range(1_000, min(total-1_000, 1<<uint(rapid.IntRange(10, 40).Draw(t, "magnitude of bad")))).Draw(t, "bad")
		confidence := rapid.Float64Range(0.6, 0.9999).Draw(t, "confidence")
		c := Counts{Good: total - bad, Total: total}
		lower, upper := bounds(c, confidence)
		ratio, want := c.ErrorRatio(), distuv.UnitNormal.Quantile(confidence)
		deviation := math.Sqrt(ratio * (1 - ratio) / float64(total))
		tolerance := 1e-3 + (want*want+3)/2/math.Sqrt(float64(min(bad, total-bad)))
		for name, z := range map[string]float64{"lower": (ratio - lower) / deviation, "upper": (upper - ratio) / deviation} {
			if math.Abs(z-want) > tolerance {
				t.Fatalf("%d of %d: the %s bound is %v deviations off, want %v", bad, total, name, z, want)
			}
		}
	})
}

// Where the expansion takes over, both ways to find a quantile agree, also in the skew that TestBoundsOfLargeCounts leaves
// out.
func TestBetaQuantileIsContinuous(t *testing.T) {
	const a = 100_000
	for _, b := range []float64{a, 2 * a, 10 * a, 100 * a} {
		for _, p := range []float64{0.0001, 0.01, 0.3, 0.9, 0.99, 0.9999} {
			deviation := math.Sqrt(a*b/(a+b+1)) / (a + b)
			for _, shapes := range [][2]float64{{a, b}, {b, a}} {
				x, y := betaQuantile(shapes[0], shapes[1], p), mathext.InvRegIncBeta(shapes[0], shapes[1], p)
				if math.Abs(x-y) > 1e-3*deviation {
					t.Errorf("shapes %v, probability %v: %v, InvRegIncBeta has %v, %v deviations off", shapes, p, x, y, math.Abs(x-y)/deviation)
				}
			}
		}
	}
}

func BenchmarkBounds(b *testing.B) {
	for _, c := range []Counts{{Good: 29, Total: 32}, {Good: 9950, Total: 10_000}, {Good: 99_900_000, Total: 100_000_000}} {
		b.Run("", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bounds(c, 0.99)
			}
		})
	}
}
