package statuspage

import "time"

// View is all that the public may know, and the only source of pages, feeds and JSON. Its types hold no tenant, host,
// actor or request count on purpose: a field that is added to a Component or an Incident does not get here by itself. It
// is what the snapshot on disk holds.
type View struct {
	Name       string         `json:"name"`        // of the operator
	RecordsAt  time.Time      `json:"records_at"`  // when components, incidents and changelog were read
	MeasuredAt time.Time      `json:"measured_at"` // when the components' states were measured; zero is never
	Groups     []ViewGroup    `json:"groups"`
	Incidents  []ViewIncident `json:"incidents"` // the newest first
	Changelog  []ViewEntry    `json:"changelog"` // the newest first
}

// ViewGroup is a group of components; the name is empty for those in none.
type ViewGroup struct {
	Name       string          `json:"name"`
	Components []ViewComponent `json:"components"`
}

// ViewComponent is a component as customers see it.
type ViewComponent struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Status      Status    `json:"status"`
	Since       time.Time `json:"since"`    // of this status
	Failing     float64   `json:"failing"`  // share of requests that fail now, where measurements made the status; else 0
	Measured    bool      `json:"measured"` // it follows an SLO
	Uptime      float64   `json:"uptime"`   // share of requests that worked in the days; negative when there were none
	Days        []ViewDay `json:"days"`     // the oldest first, today last
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// ViewDay is one UTC day of a component.
type ViewDay struct {
	Day      time.Time `json:"day"`
	Worked   float64   `json:"worked"` // share of requests; negative when there were none
	Level    dayLevel  `json:"level"`
	Incident string    `json:"incident,omitempty"` // id of the worst incident that touched the component on this day
}

// ViewIncident is an incident as customers see it.
type ViewIncident struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Impact       Impact       `json:"impact"`
	Phase        Phase        `json:"phase"`
	Worst        Status       `json:"worst"` // state that it gave a component
	StartedAt    time.Time    `json:"started_at"`
	MonitoringAt *time.Time   `json:"monitoring_at"`
	ResolvedAt   *time.Time   `json:"resolved_at"`
	CreatedAt    time.Time    `json:"created_at"`
	UpdatedAt    time.Time    `json:"updated_at"`
	Updates      []ViewUpdate `json:"updates"` // the newest first
}

// ViewUpdate is a message of an incident.
type ViewUpdate struct {
	ID        string         `json:"id"`
	Phase     Phase          `json:"phase"`
	Body      string         `json:"body"` // Markdown
	DisplayAt time.Time      `json:"display_at"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
	Affected  []ViewAffected `json:"affected"`
}

// ViewAffected is a component's change of state by an update.
type ViewAffected struct {
	Component string `json:"component"`
	Name      string `json:"name"`
	Old       Status `json:"old"`
	New       Status `json:"new"`
}

// ViewEntry is an entry of the changelog.
type ViewEntry struct {
	ID          string     `json:"id"`
	Title       string     `json:"title"`
	Body        string     `json:"body"` // Markdown
	Type        EntryType  `json:"type"`
	Product     string     `json:"product"`
	Version     string     `json:"version"`
	PublishedAt time.Time  `json:"published_at"`
	EffectiveAt *time.Time `json:"effective_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// Components returns all components in the order of the page.
func (v *View) Components() []*ViewComponent {
	var cs []*ViewComponent
	for g := range v.Groups {
		for c := range v.Groups[g].Components {
			cs = append(cs, &v.Groups[g].Components[c])
		}
	}
	return cs
}

// Open returns the incidents that are not over.
func (v *View) Open() []*ViewIncident {
	var is []*ViewIncident
	for i := range v.Incidents {
		if v.Incidents[i].ResolvedAt == nil {
			is = append(is, &v.Incidents[i])
		}
	}
	return is
}

// Status returns the worst state of the group's components.
func (g *ViewGroup) Status() Status {
	w := Operational
	for i := range g.Components {
		w = worse(w, g.Components[i].Status)
	}
	return w
}

// Overall returns the worst state of all components and open incidents.
func (v *View) Overall() Status {
	w := Operational
	for _, c := range v.Components() {
		w = worse(w, c.Status)
	}
	for _, i := range v.Open() {
		if !i.namesComponent() {
			w = worse(w, i.Worst)
		}
	}
	return w
}

func (i *ViewIncident) namesComponent() bool {
	for _, u := range i.Updates {
		if len(u.Affected) > 0 {
			return true
		}
	}
	return false
}

// changedAt returns when anything that customers see last changed.
func (v *View) changedAt() time.Time {
	var t time.Time
	later := func(o time.Time) {
		if o.After(t) {
			t = o
		}
	}
	for _, c := range v.Components() {
		later(c.UpdatedAt)
	}
	for i := range v.Incidents {
		later(v.Incidents[i].UpdatedAt)
	}
	return t.UTC()
}
