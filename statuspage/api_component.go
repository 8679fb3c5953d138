package statuspage

import (
	"context"
	"net/http"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

const apiTag = "Status page"

// actor is who stands in the audit log; every operation has been authenticated before it gets here.
func actor(ctx context.Context) string {
	who, _ := tenant.IdentityFrom(ctx)
	return who.Name
}

// RegisterAPI adds the operations on components, incidents and the changelog.
func (s *Service) RegisterAPI(api *web.API) {
	s.registerComponents(api)
	s.registerIncidents(api)
	s.registerChangelog(api)
}

type componentBody struct {
	ID           string   `json:"id,omitempty" doc:"Stands in addresses and never changes. By default made of the name."`
	Name         string   `json:"name" doc:"As customers know it"`
	Description  string   `json:"description,omitempty"`
	Group        string   `json:"group,omitempty" doc:"Name of the group that it stands in"`
	Position     int      `json:"position,omitempty" doc:"In its group. Groups stand in the order of their first component."`
	Product      string   `json:"product,omitempty"`
	SLOs         []string `json:"slos,omitempty" doc:"Names of the SLOs that its state and uptime follow"`
	Visible      *bool    `json:"visible,omitempty" doc:"true by default. What is not visible counts for nothing on the page."`
	ManualStatus *string  `json:"manual_status" required:"false" doc:"operational, degraded_performance, partial_outage, major_outage or under_maintenance: wins over measurements and incidents. null lets them speak again."`
}

func (b *componentBody) component(id string) Component {
	c := Component{ID: b.ID, Name: b.Name, Description: b.Description, Group: b.Group, Position: b.Position, Product: b.Product, SLOs: b.SLOs,
		Visible: b.Visible == nil || *b.Visible}
	if id != "" {
		c.ID = id
	}
	if b.ManualStatus != nil && *b.ManualStatus != "" {
		st := Status(*b.ManualStatus)
		c.ManualStatus = &st
	}
	return c
}

// componentAnswer is a component with what is known of its state, for the operator.
type componentAnswer struct {
	Component
	Status   Status        `json:"status" doc:"As the page shows it"`
	Measured *healthAnswer `json:"measured" doc:"What its SLOs say; null before the first look"`
}

type healthAnswer struct {
	Status     Status  `json:"status"`
	NoData     bool    `json:"no_data" doc:"Nothing was measured lately, and status is the last known one"`
	Good       uint64  `json:"good" doc:"Requests of all tenants in the window"`
	Total      uint64  `json:"total"`
	WindowSecs float64 `json:"window_seconds" doc:"The shortest window with enough requests to judge by"`
}

type componentOut struct{ Body componentAnswer }

type componentsOut struct {
	Body struct {
		Components []componentAnswer `json:"components"`
	}
}

func (s *Service) componentAnswer(c Component) componentAnswer {
	a := componentAnswer{Component: c, Status: Operational}
	if c.ManualStatus != nil {
		a.Status = *c.ManualStatus
	}
	st := s.last.Load()
	if st == nil {
		return a
	}
	if h, ok := st.Measured[c.ID]; ok {
		a.Measured = &healthAnswer{h.Status, h.NoData, h.Good, h.Total, h.Length.Seconds()}
		if c.ManualStatus == nil {
			a.Status = h.Status
		}
	}
	for _, v := range st.View.Components() {
		if v.ID == c.ID && c.ManualStatus == nil {
			a.Status = v.Status
		}
	}
	return a
}

// IDIn names what an operation is about. It is exported because huma passes over embedded structs that are not.
type IDIn struct {
	ID string `path:"id"`
}

func (s *Service) registerComponents(api *web.API) {
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/components", ID: "list-components", Tag: apiTag,
		Summary: "List the components of the status page", Permission: tenant.MayRead(tenant.ResourceComponents)},
		func(ctx context.Context, _ *struct{}) (*componentsOut, error) {
			cs, err := s.Components(ctx)
			if err != nil {
				return nil, err
			}
			out := &componentsOut{}
			out.Body.Components = make([]componentAnswer, 0, len(cs))
			for _, c := range cs {
				out.Body.Components = append(out.Body.Components, s.componentAnswer(c))
			}
			return out, nil
		})
	web.Register(api, web.Operation{Method: http.MethodPost, Path: "/api/v1/components", ID: "create-component", Tag: apiTag,
		Summary: "Add a component", Permission: tenant.MayCreate(tenant.ResourceComponents), Status: http.StatusCreated},
		func(ctx context.Context, in *struct{ Body componentBody }) (*componentOut, error) {
			c, err := s.CreateComponent(ctx, actor(ctx), in.Body.component(""))
			if err != nil {
				return nil, err
			}
			return &componentOut{s.componentAnswer(c)}, nil
		})
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/components/{id}", ID: "get-component", Tag: apiTag,
		Summary: "Read a component", Permission: tenant.MayRead(tenant.ResourceComponents)},
		func(ctx context.Context, in *IDIn) (*componentOut, error) {
			c, err := s.Component(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &componentOut{s.componentAnswer(c)}, nil
		})
	web.Register(api, web.Operation{Method: http.MethodPut, Path: "/api/v1/components/{id}", ID: "put-component", Tag: apiTag,
		Summary: "Create or replace a component", Permission: tenant.MayUpdate(tenant.ResourceComponents),
		Doc: "What is left out takes its default. Sending the same again changes nothing."},
		func(ctx context.Context, in *struct {
			IDIn
			Body componentBody
		}) (*componentOut, error) {
			if in.Body.ID != "" && in.Body.ID != in.ID {
				return nil, otherID(in.Body.ID)
			}
			c, err := s.PutComponent(ctx, actor(ctx), in.Body.component(in.ID))
			if err != nil {
				return nil, err
			}
			return &componentOut{s.componentAnswer(c)}, nil
		})
	web.Register(api, web.Operation{Method: http.MethodDelete, Path: "/api/v1/components/{id}", ID: "delete-component", Tag: apiTag,
		Summary: "Delete a component that no incident names", Permission: tenant.MayDelete(tenant.ResourceComponents), Status: http.StatusNoContent},
		func(ctx context.Context, in *IDIn) (*struct{}, error) {
			return nil, s.DeleteComponent(ctx, actor(ctx), in.ID)
		})
}
