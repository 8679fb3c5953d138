package collector

import "sync"

// seriesDay is a series on a day (since 1970).
type seriesDay struct {
	series uint64
	day    uint16
}

// namedSeries remembers which series have a row in metric_series for which day, so that a series is named once a day and
// not with every point: with six labels a point is 102 bytes before compression with its series' name, and 35 without,
// 30 and 12 after. What it says it knows is stored. It is safe for concurrent use.
//
// It keeps two generations, each of at most max: a series that is met is in the young one or moves there, and when that is
// full it becomes the old one. So what is not met any more is forgotten; a series that is forgotten too early is named
// once more, which costs a row and nobody's quota.
type namedSeries struct {
	max int

	mu         sync.RWMutex // guards both
	young, old map[seriesDay]struct{}
}

func newNamedSeries(most int) *namedSeries {
	return &namedSeries{max: most, young: make(map[seriesDay]struct{})}
}

// known says whether the series has a row for the day.
func (n *namedSeries) known(s seriesDay) bool {
	n.mu.RLock()
	_, young := n.young[s]
	_, old := n.old[s]
	n.mu.RUnlock()
	if old && !young {
		n.add([]seriesDay{s})
	}
	return young || old
}

// add tells that rows of these series are stored.
func (n *namedSeries) add(stored []seriesDay) {
	if len(stored) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range stored {
		if len(n.young) >= n.max {
			n.old, n.young = n.young, make(map[seriesDay]struct{})
		}
		n.young[s] = struct{}{}
	}
}

// forget forgets all: some of it may have been lost after it was stored.
func (n *namedSeries) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.young, n.old = make(map[seriesDay]struct{}), nil
}

func (n *namedSeries) len() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.young) + len(n.old)
}
