package statuspage

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

type entryBody struct {
	ID          string     `json:"id,omitempty" doc:"Stands in addresses and feeds and never changes. By default made of the title."`
	Title       string     `json:"title"`
	Body        string     `json:"body,omitempty" doc:"Markdown"`
	Type        string     `json:"type" doc:"added, changed, fixed, deprecated, removed or security"`
	Product     string     `json:"product,omitempty"`
	Version     string     `json:"version,omitempty"`
	PublishedAt *time.Time `json:"published_at,omitempty" doc:"Shown from then on; now by default"`
	EffectiveAt *time.Time `json:"effective_at,omitempty" doc:"When a deprecation or removal takes effect"`
}

func (b *entryBody) entry(id string) Entry {
	e := Entry{ID: b.ID, Title: b.Title, Body: b.Body, Type: EntryType(b.Type), Product: b.Product, Version: b.Version, EffectiveAt: utc(b.EffectiveAt)}
	if id != "" {
		e.ID = id
	}
	if b.PublishedAt != nil {
		e.PublishedAt = b.PublishedAt.UTC()
	}
	return e
}

type entryOut struct{ Body Entry }

type entriesIn struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type entriesOut struct {
	Body struct {
		Entries []Entry `json:"entries"`
	}
}

func (s *Service) registerChangelog(api *web.API) {
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/changelog", ID: "list-changelog", Tag: apiTag,
		Summary: "List the changelog, the newest first, with what is yet to be shown", Permission: tenant.MayRead(tenant.ResourceChangelog)},
		func(ctx context.Context, in *entriesIn) (*entriesOut, error) {
			out := &entriesOut{}
			var err error
			out.Body.Entries, err = s.Changelog(ctx, in.Limit)
			return out, err
		})
	web.Register(api, web.Operation{Method: http.MethodPost, Path: "/api/v1/changelog", ID: "create-changelog-entry", Tag: apiTag,
		Summary: "Add an entry to the changelog", Permission: tenant.MayCreate(tenant.ResourceChangelog), Status: http.StatusCreated},
		func(ctx context.Context, in *struct{ Body entryBody }) (*entryOut, error) {
			e, err := s.CreateEntry(ctx, actor(ctx), in.Body.entry(""))
			if err != nil {
				return nil, err
			}
			return &entryOut{e}, nil
		})
	web.Register(api, web.Operation{Method: http.MethodPut, Path: "/api/v1/changelog/{id}", ID: "put-changelog-entry", Tag: apiTag,
		Summary: "Create or replace an entry of the changelog", Permission: tenant.MayUpdate(tenant.ResourceChangelog),
		Doc: "Without `published_at` an entry keeps the time it has. Sending the same again changes nothing."},
		func(ctx context.Context, in *struct {
			IDIn
			Body entryBody
		}) (*entryOut, error) {
			if in.Body.ID != "" && in.Body.ID != in.ID {
				return nil, otherID(in.Body.ID)
			}
			e, err := s.PutEntry(ctx, actor(ctx), in.Body.entry(in.ID))
			if err != nil {
				return nil, err
			}
			return &entryOut{e}, nil
		})
	web.Register(api, web.Operation{Method: http.MethodDelete, Path: "/api/v1/changelog/{id}", ID: "delete-changelog-entry", Tag: apiTag,
		Summary: "Delete an entry of the changelog", Permission: tenant.MayDelete(tenant.ResourceChangelog), Status: http.StatusNoContent},
		func(ctx context.Context, in *IDIn) (*struct{}, error) {
			return nil, s.DeleteEntry(ctx, actor(ctx), in.ID)
		})
}
