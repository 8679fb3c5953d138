package statuspage

import (
	"testing"
	"time"
)

// What several updates say alike of a component is told once.
func TestLanesJoinEqualStates(t *testing.T) {
	began := time.Date(2026, 3, 4, 20, 32, 0, 0, time.UTC)
	at := func(minutes int, s Status) ViewUpdate {
		return ViewUpdate{DisplayAt: began.Add(time.Duration(minutes) * time.Minute), Affected: []ViewAffected{{Component: "c", Name: "Checkout", New: s}}}
	}
	i := &ViewIncident{StartedAt: began, Updates: []ViewUpdate{at(14, Operational), at(6, Partial), at(0, Partial)}}
	l := lanes(i, began.Add(14*time.Minute), began.Add(time.Hour))
	if len(l) != 1 || len(l[0].Spans) != 1 || l[0].Label != "Partial outage from 20:32 to 20:46 UTC" {
		t.Errorf("got %+v", l)
	}
}
