package statuspage

import (
	"time"

	"github.com/nexis-limited/headroom/slo"
)

// The thresholds of Judge; docs/status-page.md gives them to operators with their reasons.
const (
	majorShare    = 0.50 // of requests that fail
	partialShare  = 0.10
	degradedShare = 0.05
	pagingShare   = 0.10 // of the tenants with traffic that burn a paging window

	minRequests = 20 // in a window, to say anything from its share
	minFailures = 5  // in a window, to say anything bad
	minPaging   = 3  // tenants
)

// maxEvidenceAge is the longest window that says something about now.
const maxEvidenceAge = time.Hour

// Window is what was counted over all tenants in the last Length.
type Window struct {
	Length time.Duration
	slo.Counts
}

// Evidence is what one SLO says about a component. It holds numbers of the fleet only, no tenant.
type Evidence struct {
	Kind          slo.Kind
	Windows       []Window // up to maxEvidenceAge, the shortest first
	Paging        bool     // the fleet as a whole burns a paging window
	Tenants       int      // with requests in the SLO's window
	TenantsPaging int      // of these, burning a paging window
}

// Health is a component's state as measured.
type Health struct {
	Status Status
	NoData bool // nothing was measured lately: Status is the last known one
	Window      // the one that decided; zero with NoData
}

// Judge returns the state that one SLO gives a component; last is the state before, Operational when there was none. It
// is pure and decides by the shortest window that holds enough requests:
//
//   - at least 50 % of the requests fail: major outage
//   - at least 10 % fail: partial outage
//   - at least 5 % fail, or the fleet or every tenth tenant burns a paging window: degraded
//   - a latency SLO says degraded at most: a slow answer is an answer
//   - no requests: the state stays as it was, because silence is no proof of health
func Judge(e Evidence, last Status) Health {
	w, enough := evidenceWindow(e.Windows)
	if w.Total == 0 {
		return Health{Status: last, NoData: true}
	}
	if !enough {
		// A handful of requests cannot prove an outage, and only a clean handful ends one.
		if w.Bad() == 0 {
			return Health{Status: Operational, Window: w}
		}
		return Health{Status: last, Window: w}
	}
	return Health{Status: judgeShare(e, w.Counts), Window: w}
}

func judgeShare(e Evidence, c slo.Counts) Status {
	share := c.ErrorRatio()
	if c.Bad() < minFailures {
		share = 0
	}
	widespread := e.TenantsPaging >= minPaging && float64(e.TenantsPaging) >= pagingShare*float64(e.Tenants)
	switch {
	case share >= majorShare && e.Kind != slo.Latency:
		return Major
	case share >= partialShare && e.Kind != slo.Latency:
		return Partial
	case share >= degradedShare, e.Paging, widespread:
		return Degraded
	}
	return Operational
}

// evidenceWindow returns the shortest window with enough requests, else the longest one.
func evidenceWindow(ws []Window) (w Window, enough bool) {
	for _, w = range ws {
		if w.Total >= minRequests {
			return w, true
		}
	}
	return w, false
}

// worstHealth joins what several SLOs say: the worst state that was measured, or the worst known one when nothing was.
func worstHealth(hs []Health) Health {
	var worst Health
	for i, h := range hs {
		switch {
		case i == 0, worst.NoData && !h.NoData:
			worst = h
		case h.NoData && !worst.NoData:
		case h.Status.rank() > worst.Status.rank(),
			h.Status == worst.Status && h.ErrorRatio() > worst.ErrorRatio():
			worst = h
		}
	}
	return worst
}

// dayLevel is how a day of the bars looks.
type dayLevel uint8

const (
	levelNone     dayLevel = iota // no requests
	levelGood                     // within the objective
	levelDegraded                 // the day missed the objective
	levelPartial
	levelMajor
	levelMaintenance
)

// judgeDay returns how a day's counts look against the share of failures that the objective allows (1 - target).
func judgeDay(c slo.Counts, allowed float64) dayLevel {
	share := c.ErrorRatio()
	switch {
	case c.Total == 0:
		return levelNone
	case c.Total < minRequests || c.Bad() < minFailures:
		return levelGood
	case share >= majorShare:
		return levelMajor
	case share >= partialShare:
		return levelPartial
	case share > allowed:
		return levelDegraded
	}
	return levelGood
}

func levelOf(s Status) dayLevel {
	switch s {
	case Degraded:
		return levelDegraded
	case Partial:
		return levelPartial
	case Major:
		return levelMajor
	case Maintenance:
		return levelMaintenance
	}
	return levelGood
}

// worseLevel returns the worse of two; planned work shows only where nothing was wrong.
func worseLevel(a, b dayLevel) dayLevel {
	rank := [...]int{levelNone: 0, levelGood: 1, levelMaintenance: 2, levelDegraded: 3, levelPartial: 4, levelMajor: 5}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
