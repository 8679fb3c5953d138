package statuspage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// Origin says who opened an incident. Only what was opened automatically may ever be resolved automatically.
type Origin string

// The origins.
const (
	Manual    Origin = "manual"
	Automatic Origin = "automatic"
)

// Incident is something that customers noticed, told in updates.
type Incident struct {
	ID           string           `json:"id" db:"id"`
	Name         string           `json:"name" db:"name"`
	Impact       Impact           `json:"impact" db:"impact"`
	Status       Phase            `json:"status" db:"status"` // of the last update
	Origin       Origin           `json:"origin" db:"origin"`
	StartedAt    time.Time        `json:"started_at" db:"started_at"` // when it began, not when it was told
	MonitoringAt *time.Time       `json:"monitoring_at" db:"monitoring_at"`
	ResolvedAt   *time.Time       `json:"resolved_at" db:"resolved_at"`
	CreatedAt    time.Time        `json:"created_at" db:"created_at"`
	UpdatedAt    time.Time        `json:"updated_at" db:"updated_at"`
	Updates      []IncidentUpdate `json:"updates" db:"-"` // the newest first
}

// IncidentUpdate is one message of an incident.
type IncidentUpdate struct {
	ID         string     `json:"id" db:"id"`
	IncidentID string     `json:"incident_id" db:"incident_id"`
	Status     Phase      `json:"status" db:"status"`
	Body       string     `json:"body" db:"body"` // Markdown
	DisplayAt  time.Time  `json:"display_at" db:"display_at"`
	Affected   []Affected `json:"components" db:"affected"` // as of this update; those not named stay as they were
	CreatedAt  time.Time  `json:"created_at" db:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at" db:"updated_at"`
}

// Affected is the state that an incident gives a component.
type Affected struct {
	Component string `json:"component" doc:"Id of a component"`
	Status    Status `json:"status" doc:"operational, degraded_performance, partial_outage, major_outage or under_maintenance"`
}

// clockSkew is how far ahead of ours a caller's clock may be.
const clockSkew = time.Minute

// NewUpdate is an update to be written.
type NewUpdate struct {
	Status    Phase
	Body      string
	DisplayAt time.Time // zero is now
	Affected  []Affected
	Reopen    bool // a resolved incident takes an open status only when this is said
}

// check reports what is wrong with u as a further update of i, which is nil for the first one; started is when the
// incident began. known tells which components there are.
func (u *NewUpdate) check(i *Incident, started, now time.Time, known map[string]bool) error {
	var m mistakes
	_, err := parsePhase("status", string(u.Status))
	m.add(err)
	m.text("body", u.Body, maxText, true)
	at := u.DisplayAt.UTC().Format(time.RFC3339)
	if u.DisplayAt.After(now.Add(clockSkew)) {
		m.add(fault.InvalidField("display_at", at, "is in the future"))
	}
	if u.DisplayAt.Before(started) {
		m.add(fault.InvalidField("display_at", at, "is before the incident began at %s", started.UTC().Format(time.RFC3339)))
	}
	seen := map[string]bool{}
	for n, a := range u.Affected {
		field := fmt.Sprintf("components[%d]", n)
		if !known[a.Component] {
			m.add(fault.InvalidField(field+".component", a.Component, "there is no such component"))
		}
		if seen[a.Component] {
			m.add(fault.InvalidField(field+".component", a.Component, "is named twice"))
		}
		seen[a.Component] = true
		_, err := parseStatus(field+".status", string(a.Status))
		m.add(err)
		if u.Status == Resolved && a.Status != Operational && a.Status != Maintenance {
			m.add(fault.InvalidField(field+".status", string(a.Status), "must be operational when the incident is resolved"))
		}
	}
	if i != nil && i.Status == Resolved && u.Status != Resolved && !u.Reopen {
		m.list = append(m.list, &fault.Error{Kind: fault.Conflict, Field: "status", Value: string(u.Status),
			Message: "the incident is resolved: send reopen true to open it again, or status resolved to add to its story"})
	}
	if u.Reopen && (i == nil || i.Status != Resolved) {
		m.add(fault.InvalidField("reopen", "true", "the incident is not resolved"))
	}
	return m.err()
}

// follow sets what of an incident follows from its updates: its status and the times of its phases. A time belongs to the
// last stretch of its phase, so reopening takes it back.
func (i *Incident) follow() {
	sortUpdates(i.Updates)
	i.MonitoringAt, i.ResolvedAt = nil, nil
	for _, u := range slices.Backward(i.Updates) { // the oldest first
		was := i.Status
		i.Status = u.Status
		at := u.DisplayAt
		switch u.Status {
		case Resolved:
			if i.ResolvedAt == nil {
				i.ResolvedAt = &at
			}
			continue
		case Monitoring:
			if i.MonitoringAt == nil || was != Monitoring {
				i.MonitoringAt = &at
			}
		default:
			i.MonitoringAt = nil
		}
		i.ResolvedAt = nil
	}
}

// sortUpdates puts the newest first; of two with one time the one written later.
func sortUpdates(us []IncidentUpdate) {
	slices.SortStableFunc(us, func(a, b IncidentUpdate) int {
		return cmp.Or(b.DisplayAt.Compare(a.DisplayAt), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
}

// affectedNow returns the state of every component that the incident has named.
func (i *Incident) affectedNow() map[string]Status {
	now := map[string]Status{}
	for _, u := range slices.Backward(i.Updates) {
		for _, a := range u.Affected {
			now[a.Component] = a.Status
		}
	}
	return now
}

// worst returns the worst state that the incident gave any component, and by its impact when it named none.
func (i *Incident) worst() Status {
	w := Operational
	for _, u := range i.Updates {
		for _, a := range u.Affected {
			w = worse(w, a.Status)
		}
	}
	if w == Operational {
		return i.Impact.statusOf()
	}
	return w
}
