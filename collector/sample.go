package collector

import (
	"math"

	"github.com/cespare/xxhash/v2"
)

// amount is how much there is of something: spans and their bytes, or so many of both a second.
type amount struct{ spans, bytes float64 }

func (a amount) plus(b amount, times float64) amount {
	return amount{a.spans + b.spans*times, a.bytes + b.bytes*times}
}

// within returns a cut to what lies between low and high.
func (a amount) within(low, high amount) amount {
	return amount{min(max(a.spans, low.spans), high.spans), min(max(a.bytes, low.bytes), high.bytes)}
}

// least returns how much of whole there is of what there is least of: 0 when one is used up, 1 when both are full.
func (a amount) least(whole amount) float64 {
	return max(0, min(a.spans/whole.spans, a.bytes/whole.bytes))
}

// unlimited stands for a rate without a limit. It is finite, so that no sum of it is without meaning.
const unlimited = 1e18

// sampler says how many traces to keep of a stream, so that what is kept stays within a rate, after a burst. It keeps 1 of
// 2^level. Powers of two, because then what a high level keeps is a part of what a lower one keeps: a trace that spans
// several requests, or several collectors at different levels, is whole wherever the highest of them keeps it.
type sampler struct {
	level   uint8
	tokens  amount // that may be kept at once
	opened  int64  // start of the window in which the rate is measured, nanoseconds
	offered amount // since then
}

const (
	maxLevel = 30
	// A rate is taken over a second, so the level falls by one a second at most.
	sampleWindow = 1.0
	// While tokens lack, over less, so that it rises at once; not over so little that one request makes a flood.
	leastWindow = 0.25
)

// refill adds what a time of so many seconds brings. A debt is forgiven beyond that of a second: it is due to the level
// having been too low, not to what comes next.
func (s *sampler) refill(rate amount, burst, seconds float64) {
	s.tokens = s.tokens.plus(rate, seconds).within(amount{}.plus(rate, -1), amount{}.plus(rate, burst))
}

// charge counts what was offered, and what the level kept of it.
func (s *sampler) charge(offered, kept amount) {
	s.offered = s.offered.plus(offered, 1)
	s.tokens = s.tokens.plus(kept, -1)
}

// refund takes a charge back.
func (s *sampler) refund(offered, kept amount) {
	s.offered = s.offered.plus(offered, -1).within(amount{}, s.offered)
	s.tokens = s.tokens.plus(kept, 1)
}

// adjust sets the level for what comes next. When there are no tokens, it is the one that the measured rate needs. When half
// of the burst has been saved up it is one below that: so over a longer time the whole rate is used, not just
// what a power of two leaves of it.
func (s *sampler) adjust(rate amount, burst float64, now int64) {
	age := float64(now-s.opened) / 1e9
	if age < 0 { // the clock went back
		s.opened, s.offered = now, amount{}
		return
	}
	left := s.tokens.least(amount{}.plus(rate, burst))
	if left == 0 {
		s.level = max(s.level, levelFor(s.offered, max(age, leastWindow), rate))
	}
	if age < sampleWindow {
		return
	}
	want := levelFor(s.offered, age, rate)
	if left >= 0.5 && want > 0 {
		want--
	}
	if left > 0 && s.level > want {
		s.level -= min(s.level-want, uint8(min(age, maxLevel))) // one for each window that has passed
	}
	s.opened, s.offered = now, amount{}
}

// levelFor returns the lowest level that keeps what was offered within the rate.
func levelFor(offered amount, seconds float64, rate amount) uint8 {
	excess := max(offered.spans/(rate.spans*seconds), offered.bytes/(rate.bytes*seconds))
	if excess <= 1 {
		return 0
	}
	return uint8(min(math.Ceil(math.Log2(excess)), maxLevel))
}

// keeps reports whether a trace is among the 1 of 2^level that are kept.
//
// It goes by a hash of the trace id and not by the id's own random bits, as OpenTelemetry's samplers do: traces that one of
// those has let pass are alike in just these bits, and ids of older systems have few random ones. The hash
// has no seed: every collector has to decide the same, and a secret that all of them share would be one more thing to set up,
// against somebody who fills only the quota of its own tenant: whoever chooses ids that pass gets as far as the hard limit,
// which does not ask for ids. It is only taken for tenants over their quota.
func keeps(traceID []byte, level uint8) bool {
	return level == 0 || xxhash.Sum64(traceID)>>(64-level) == 0
}
