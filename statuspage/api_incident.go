package statuspage

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func otherID(got string) error {
	return fault.InvalidField("id", got, "is not the one in the address; an id never changes")
}

// UpdateBody is an update as callers write it. It is exported because huma passes over embedded structs that are not.
type UpdateBody struct {
	Status     string     `json:"status,omitempty" doc:"investigating, identified, monitoring or resolved"`
	Body       string     `json:"body" doc:"Markdown, for everybody to read: name no customer, host or person"`
	DisplayAt  *time.Time `json:"display_at,omitempty" doc:"When it was so; now by default, never in the future"`
	Components []Affected `json:"components,omitempty" doc:"States from this update on. Those not named stay as they were; resolving ends them all."`
}

func (b *UpdateBody) update() NewUpdate {
	u := NewUpdate{Status: Phase(b.Status), Body: b.Body, Affected: b.Components}
	if b.DisplayAt != nil {
		u.DisplayAt = b.DisplayAt.UTC()
	}
	return u
}

type incidentBody struct {
	Name      string     `json:"name" doc:"What customers notice: Some checkouts are failing"`
	Impact    string     `json:"impact,omitempty" doc:"none, minor, major or critical; by default what fits the worst affected component"`
	StartedAt *time.Time `json:"started_at,omitempty" doc:"When it began; the time of the first update by default"`
	UpdateBody
}

type incidentOut struct{ Body Incident }

type incidentsIn struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type incidentsOut struct {
	Body struct {
		Incidents []Incident `json:"incidents"`
	}
}

type incidentPatch struct {
	Name      *string    `json:"name,omitempty"`
	Impact    *string    `json:"impact,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty" doc:"Not after the first update"`
}

func (s *Service) registerIncidents(api *web.API) {
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/incidents", ID: "list-incidents", Tag: apiTag,
		Summary: "List incidents with their updates, the newest first", Permission: tenant.MayRead(tenant.ResourceIncidents)},
		func(ctx context.Context, in *incidentsIn) (*incidentsOut, error) {
			out := &incidentsOut{}
			var err error
			out.Body.Incidents, err = s.Incidents(ctx, in.Limit)
			return out, err
		})
	web.Register(api, web.Operation{Method: http.MethodPost, Path: "/api/v1/incidents", ID: "open-incident", Tag: apiTag,
		Summary: "Publish an incident with its first update", Permission: tenant.MayCreate(tenant.ResourceIncidents), Status: http.StatusCreated,
		Doc: "It is public within seconds. `status` is `investigating` by default; one that is over already may begin as `resolved`."},
		func(ctx context.Context, in *struct{ Body incidentBody }) (*incidentOut, error) {
			n := NewIncident{Name: in.Body.Name, Impact: Impact(in.Body.Impact), First: in.Body.update()}
			if in.Body.StartedAt != nil {
				n.StartedAt = in.Body.StartedAt.UTC()
			}
			return answer(s.OpenIncident(ctx, actor(ctx), n))
		})
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/incidents/{id}", ID: "get-incident", Tag: apiTag,
		Summary: "Read an incident", Permission: tenant.MayRead(tenant.ResourceIncidents)},
		func(ctx context.Context, in *IDIn) (*incidentOut, error) { return answer(s.Incident(ctx, in.ID)) })
	web.Register(api, web.Operation{Method: http.MethodPatch, Path: "/api/v1/incidents/{id}", ID: "change-incident", Tag: apiTag,
		Summary: "Correct an incident's name, impact or beginning", Permission: tenant.MayUpdate(tenant.ResourceIncidents)},
		func(ctx context.Context, in *struct {
			IDIn
			Body incidentPatch
		}) (*incidentOut, error) {
			return answer(s.ChangeIncident(ctx, actor(ctx), in.ID, IncidentChange{in.Body.Name, (*Impact)(in.Body.Impact), in.Body.StartedAt}))
		})
	web.Register(api, web.Operation{Method: http.MethodPost, Path: "/api/v1/incidents/{id}/updates", ID: "update-incident", Tag: apiTag,
		Summary: "Publish an update of an incident", Permission: tenant.MayUpdate(tenant.ResourceIncidents), Status: http.StatusCreated,
		Doc: "A resolved incident takes a further `resolved` update, such as what was learned, and any other status only with `reopen`."},
		func(ctx context.Context, in *struct {
			IDIn
			Body struct {
				UpdateBody
				Reopen bool `json:"reopen,omitempty"`
			}
		}) (*incidentOut, error) {
			u := in.Body.update()
			u.Reopen = in.Body.Reopen
			return answer(s.AddUpdate(ctx, actor(ctx), in.ID, u))
		})
}

func answer(i Incident, err error) (*incidentOut, error) {
	if err != nil {
		return nil, err
	}
	return &incidentOut{i}, nil
}
