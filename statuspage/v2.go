package statuspage

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The types below are Statuspage's public API v2, whose field names and values existing clients know.

type v2Time time.Time

// MarshalJSON writes RFC 3339 with milliseconds, as Statuspage does.
func (t v2Time) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

func v2TimeOf(t *time.Time) *v2Time {
	if t == nil {
		return nil
	}
	v := v2Time(*t)
	return &v
}

type v2Page struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	URL       string `json:"url"`
	TimeZone  string `json:"time_zone"`
	UpdatedAt v2Time `json:"updated_at"`
}

type v2Status struct {
	Indicator   string `json:"indicator"`
	Description string `json:"description"`
}

type v2Component struct {
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	Status             Status   `json:"status"`
	CreatedAt          v2Time   `json:"created_at"`
	UpdatedAt          v2Time   `json:"updated_at"`
	Position           int      `json:"position"`
	Description        *string  `json:"description"`
	Showcase           bool     `json:"showcase"`
	StartDate          string   `json:"start_date"`
	Group              bool     `json:"group"`
	GroupID            *string  `json:"group_id"`
	PageID             string   `json:"page_id"`
	OnlyShowIfDegraded bool     `json:"only_show_if_degraded"`
	Components         []string `json:"components,omitempty"` // of a group
}

type v2Affected struct {
	Code      string `json:"code"`
	Name      string `json:"name"`
	OldStatus Status `json:"old_status"`
	NewStatus Status `json:"new_status"`
}

type v2Update struct {
	ID                 string       `json:"id"`
	Status             Phase        `json:"status"`
	Body               string       `json:"body"`
	IncidentID         string       `json:"incident_id"`
	CreatedAt          v2Time       `json:"created_at"`
	UpdatedAt          v2Time       `json:"updated_at"`
	DisplayAt          v2Time       `json:"display_at"`
	AffectedComponents []v2Affected `json:"affected_components"`
}

type v2Incident struct {
	ID              string     `json:"id"`
	Name            string     `json:"name"`
	Status          Phase      `json:"status"`
	Impact          Impact     `json:"impact"`
	CreatedAt       v2Time     `json:"created_at"`
	UpdatedAt       v2Time     `json:"updated_at"`
	MonitoringAt    *v2Time    `json:"monitoring_at"`
	ResolvedAt      *v2Time    `json:"resolved_at"`
	Shortlink       string     `json:"shortlink"`
	PageID          string     `json:"page_id"`
	IncidentUpdates []v2Update `json:"incident_updates"`
}

// v2 adds the documents. Maintenance lists are empty: there is no maintenance yet.
func (r *rendering) v2() error {
	page := v2Page{ID: r.o.pageID(), Name: r.o.Name, URL: r.o.BaseURL, TimeZone: "Etc/UTC", UpdatedAt: v2Time(r.v.changedAt())}
	status, components := v2Overall(r.v.Overall()), r.v2Components()
	all := make([]v2Incident, 0, len(r.v.Incidents))
	open := []v2Incident{}
	for n := range r.v.Incidents {
		i := r.v2Incident(&r.v.Incidents[n])
		all = append(all, i)
		if i.ResolvedAt == nil {
			open = append(open, i)
		}
	}
	slices.SortStableFunc(all, func(a, b v2Incident) int { return time.Time(b.CreatedAt).Compare(time.Time(a.CreatedAt)) })
	all = all[:min(len(all), 50)] // as many as Statuspage gives
	none := []struct{}{}
	maintenances := map[string]any{"page": page, "scheduled_maintenances": none}
	for path, doc := range map[string]any{
		"summary": struct {
			Page                  v2Page        `json:"page"`
			Components            []v2Component `json:"components"`
			Incidents             []v2Incident  `json:"incidents"`
			ScheduledMaintenances []struct{}    `json:"scheduled_maintenances"`
			Status                v2Status      `json:"status"`
		}{page, components, open, none, status},
		"status":                          map[string]any{"page": page, "status": status},
		"components":                      map[string]any{"page": page, "components": components},
		"incidents":                       map[string]any{"page": page, "incidents": all},
		"incidents/unresolved":            map[string]any{"page": page, "incidents": open},
		"scheduled-maintenances":          maintenances,
		"scheduled-maintenances/upcoming": maintenances,
		"scheduled-maintenances/active":   maintenances,
	} {
		b, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("cannot encode %s.json: %w", path, err)
		}
		r.b.add("/api/v2/"+path+".json", "application/json; charset=utf-8", cacheLive, true, b)
	}
	return nil
}

// v2Overall returns the indicator and Statuspage's own words for it, which bots compare.
func v2Overall(s Status) v2Status {
	switch s {
	case Degraded:
		return v2Status{"minor", "Partially Degraded Service"}
	case Partial:
		return v2Status{"major", "Partial System Outage"}
	case Major:
		return v2Status{"critical", "Major Service Outage"}
	case Maintenance:
		return v2Status{"none", "Service Under Maintenance"} // planned work is no trouble
	}
	return v2Status{"none", "All Systems Operational"}
}

// v2Components lists groups as components of their own, each before its members.
func (r *rendering) v2Components() []v2Component {
	out := []v2Component{}
	for n := range r.v.Groups {
		g := &r.v.Groups[n]
		var group *string
		at := -1
		if g.Name != "" {
			id := fmt.Sprintf("group-%s", groupSlug(g.Name, n))
			group, at = &id, len(out)
			out = append(out, v2Component{ID: id, Name: g.Name, Status: g.Status(), Position: n + 1, Group: true, PageID: r.o.pageID()})
		}
		for c := range g.Components {
			vc := &g.Components[c]
			var description *string
			if vc.Description != "" {
				description = &vc.Description
			}
			out = append(out, v2Component{ID: vc.ID, Name: vc.Name, Status: vc.Status, CreatedAt: v2Time(vc.CreatedAt), UpdatedAt: v2Time(vc.UpdatedAt),
				Position: c + 1, Description: description, Showcase: vc.Measured, StartDate: vc.CreatedAt.Format(time.DateOnly), GroupID: group,
				PageID: r.o.pageID()})
			if at >= 0 {
				head := &out[at]
				head.Components = append(head.Components, vc.ID)
				if c == 0 || vc.CreatedAt.Before(time.Time(head.CreatedAt)) {
					head.CreatedAt, head.StartDate = v2Time(vc.CreatedAt), vc.CreatedAt.Format(time.DateOnly)
				}
				head.UpdatedAt = v2Time(later(time.Time(head.UpdatedAt), vc.UpdatedAt))
			}
		}
	}
	return out
}

// groupSlug makes an id of a group's name, and of its place where the name has no letters of an id.
func groupSlug(name string, n int) string {
	if s := slug(name); s != "" {
		return s
	}
	return fmt.Sprint(n + 1)
}

func (r *rendering) v2Incident(i *ViewIncident) v2Incident {
	v := v2Incident{ID: i.ID, Name: i.Name, Status: i.Phase, Impact: i.Impact, CreatedAt: v2Time(i.CreatedAt), UpdatedAt: v2Time(i.UpdatedAt),
		MonitoringAt: v2TimeOf(i.MonitoringAt), ResolvedAt: v2TimeOf(i.ResolvedAt), Shortlink: r.o.BaseURL + "/incidents/" + i.ID,
		PageID: r.o.pageID(), IncidentUpdates: []v2Update{}}
	for n := range i.Updates {
		u := &i.Updates[n]
		vu := v2Update{ID: u.ID, Status: u.Phase, Body: u.Body, IncidentID: i.ID, CreatedAt: v2Time(u.CreatedAt), UpdatedAt: v2Time(u.UpdatedAt),
			DisplayAt: v2Time(u.DisplayAt), AffectedComponents: []v2Affected{}}
		for _, a := range u.Affected {
			vu.AffectedComponents = append(vu.AffectedComponents, v2Affected{a.Component, a.Name, a.Old, a.New})
		}
		v.IncidentUpdates = append(v.IncidentUpdates, vu)
	}
	return v
}
