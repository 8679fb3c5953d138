package statuspage

import (
	"slices"

	"github.com/nexis-limited/headroom/fault"
)

// Status is the state of a component under the name that Statuspage gives it.
type Status string

// The states.
const (
	Operational Status = "operational"
	Degraded    Status = "degraded_performance"
	Partial     Status = "partial_outage"
	Major       Status = "major_outage"
	Maintenance Status = "under_maintenance"
)

// statuses lists the states from the best to the worst. Planned work is no trouble, but it is no normal day either.
var statuses = []Status{Operational, Maintenance, Degraded, Partial, Major}

func (s Status) rank() int { return slices.Index(statuses, s) }

// worse returns the worse of two states; an unknown one never wins.
func worse(a, b Status) Status {
	if b.rank() > a.rank() {
		return b
	}
	return a
}

// Word returns the state as pages say it.
func (s Status) Word() string {
	switch s {
	case Degraded:
		return "Degraded"
	case Partial:
		return "Partial outage"
	case Major:
		return "Major outage"
	case Maintenance:
		return "Maintenance"
	}
	return "Working"
}

func parseStatus(field, s string) (Status, error) {
	if st := Status(s); slices.Contains(statuses, st) {
		return st, nil
	}
	return "", fault.InvalidField(field, s,
		"must be one of operational, degraded_performance, partial_outage, major_outage, under_maintenance")
}

// Phase is where an incident stands.
type Phase string

// The phases. An incident goes back and forth between the first three; Resolved ends it.
const (
	Investigating Phase = "investigating"
	Identified    Phase = "identified"
	Monitoring    Phase = "monitoring"
	Resolved      Phase = "resolved"
)

// Word returns the phase as pages say it.
func (p Phase) Word() string {
	switch p {
	case Identified:
		return "Identified"
	case Monitoring:
		return "Monitoring"
	case Resolved:
		return "Resolved"
	}
	return "Investigating"
}

func parsePhase(field, s string) (Phase, error) {
	switch p := Phase(s); p {
	case Investigating, Identified, Monitoring, Resolved:
		return p, nil
	}
	return "", fault.InvalidField(field, s, "must be one of investigating, identified, monitoring, resolved")
}

// Impact is how bad an incident is for customers.
type Impact string

// The impacts.
const (
	ImpactNone     Impact = "none"
	ImpactMinor    Impact = "minor"
	ImpactMajor    Impact = "major"
	ImpactCritical Impact = "critical"
)

func parseImpact(field, s string) (Impact, error) {
	switch i := Impact(s); i {
	case ImpactNone, ImpactMinor, ImpactMajor, ImpactCritical:
		return i, nil
	}
	return "", fault.InvalidField(field, s, "must be one of none, minor, major, critical")
}

// impactOf returns the impact that fits the worst state that an incident gives a component.
func impactOf(s Status) Impact {
	switch s {
	case Degraded:
		return ImpactMinor
	case Partial:
		return ImpactMajor
	case Major:
		return ImpactCritical
	}
	return ImpactNone
}

// statusOf is how an incident of this impact is shown when it names no component.
func (i Impact) statusOf() Status {
	switch i {
	case ImpactMinor:
		return Degraded
	case ImpactMajor:
		return Partial
	case ImpactCritical:
		return Major
	}
	return Operational
}
