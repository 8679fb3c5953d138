package collector

import (
	"crypto/rand"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// offer lets a tenant send rate spans a second for so many seconds, in requests of some spans, and returns how many of
// them were kept. The sampler goes by the shares that its level keeps.
func offer(s *sampler, quota amount, burst float64, from, seconds, rate float64) (kept float64, end float64) {
	const step = 0.01
	for t := from; t < from+seconds; t += step {
		now := int64(t * 1e9)
		s.refill(quota, burst, step)
		s.adjust(quota, burst, now)
		offered := amount{rate * step, rate * step * 100}
		share := math.Exp2(-float64(s.level))
		s.charge(offered, amount{offered.spans * share, offered.bytes * share})
		kept += offered.spans * share
	}
	return kept, from + seconds
}

// Whatever a tenant sends: under its quota all is kept; over it what is kept comes to the quota, and soon after the flood
// everything is kept again.
func TestSamplingFollowsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quota := amount{rapid.Float64Range(1, 1e6).Draw(t, "quota"), 1e12}
		if rapid.Bool().Draw(t, "by bytes") {
			quota = amount{1e12, quota.spans * 100}
		}
		rate := min(quota.spans, quota.bytes/100)
		burst := rapid.Float64Range(1, 60).Draw(t, "burst")
		times := rapid.Float64Range(1.05, 1000).Draw(t, "times")
		s := sampler{tokens: amount{}.plus(quota, burst)}

		kept, now := offer(&s, quota, burst, 0, 30, 0.9*rate)
		if math.Abs(kept-30*0.9*rate) > 0.01*kept {
			t.Fatalf("under the quota %.1f of %.1f were kept", kept, 30*0.9*rate)
		}
		const long = 600.0
		kept, now = offer(&s, quota, burst, now, long, times*rate)
		// The burst comes on top, and what came before the level was high enough.
		if allowed := rate*(long+burst) + 0.6*times*rate; kept > allowed*1.05 {
			t.Fatalf("at %.2f times the quota of %.1f/s %.0f were kept in %.0f s, more than %.0f", times, rate, kept, long, allowed)
		}
		if kept < 0.7*rate*long {
			t.Fatalf("at %.2f times the quota of %.1f/s only %.0f were kept in %.0f s", times, rate, kept, long)
		}
		_, now = offer(&s, quota, burst, now, maxLevel, 0.5*rate)
		kept, _ = offer(&s, quota, burst, now, 10, 0.5*rate)
		if math.Abs(kept-10*0.5*rate) > 0.01*kept {
			t.Fatalf("after the flood %.1f of %.1f were kept", kept, 10*0.5*rate)
		}
	})
}

// The level rises at once: a flood of a hundred times the quota is sampled within the first second after the burst.
func TestSamplingRisesAtOnce(t *testing.T) {
	quota := amount{1000, unlimited}
	s := sampler{tokens: amount{}.plus(quota, 1)}
	offer(&s, quota, 1, 0, 0.5, 100_000)
	if s.level < 6 || s.level > 8 {
		t.Errorf("level %d after half a second of 100 times the quota, want about 7", s.level)
	}
}

// A clock that jumps anywhere gives nobody more than a burst, and takes the quota from nobody for long.
func TestSamplerSurvivesClocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLimiter(testQuotas(100, 0), nil, discard, time.Now())
		a := l.account("acme", 0)
		full := amount{}.plus(a.terms.soft, a.terms.burst)
		for range rapid.IntRange(1, 50).Draw(t, "requests") {
			now := rapid.Int64Range(-int64(1000*time.Hour), int64(1000*time.Hour)).Draw(t, "now")
			n := float64(rapid.IntRange(0, 1000).Draw(t, "spans"))
			a.settle(l, &usage{spent: spent{offered: amount{n, n}, kept: amount{n, n}}}, now)
			if a.main.tokens.spans > full.spans || a.hard.spans > 1e19 || a.main.tokens.spans < -a.terms.soft.spans || math.IsNaN(a.main.tokens.bytes) {
				t.Fatalf("tokens %+v of at most %+v", a.main.tokens, full)
			}
		}
		// From wherever the clock stands now, a minute of quiet restores the burst.
		now := a.at
		for s := range int64(62 + maxLevel) {
			a.settle(l, &usage{}, now+s*1e9)
		}
		if a.main.level != 0 || a.main.tokens.spans != full.spans {
			t.Fatalf("after a minute of quiet: level %d, tokens %+v", a.main.level, a.main.tokens)
		}
	})
}

// What a level keeps is a part of what each lower level keeps, and is as much as it says.
func TestSampledTracesNest(t *testing.T) {
	const traces = 1 << 16
	kept := make([]int, 8)
	for range traces {
		var id [16]byte
		_, _ = rand.Read(id[:])
		before := true
		for level := range kept {
			now := keeps(id[:], uint8(level))
			if now && !before {
				t.Fatalf("trace %x is kept at level %d and not at the one before", id, level)
			}
			if before = now; now {
				kept[level]++
			}
		}
	}
	for level, n := range kept {
		want := float64(traces) / math.Exp2(float64(level))
		if math.Abs(float64(n)-want) > 6*math.Sqrt(want) {
			t.Errorf("level %d keeps %d of %d traces, want about %.0f", level, n, traces, want)
		}
	}
}

// Ids with few random bits, and those that a sampler before us let pass by their lowest or highest bits, are sampled
// just as well.
func TestSamplingDoesNotFollowTheIDsBits(t *testing.T) {
	f := func(name string, id func(n int) [16]byte) {
		t.Helper()
		kept := 0
		for n := range 1 << 14 {
			v := id(n)
			if keeps(v[:], 3) {
				kept++
			}
		}
		if want := 1 << 11; math.Abs(float64(kept-want)) > 6*math.Sqrt(float64(want)) {
			t.Errorf("%s: %d kept, want about %d", name, kept, want)
		}
	}
	f("counting", func(n int) (id [16]byte) { id[15], id[14] = byte(n), byte(n>>8); return id })
	f("64 bits", func(int) (id [16]byte) { _, _ = rand.Read(id[8:]); return id })
	f("sampled before", func(int) (id [16]byte) { _, _ = rand.Read(id[:]); id[8], id[9] = 0, 0; return id })
}
