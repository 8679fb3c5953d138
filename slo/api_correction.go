package slo

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func (r *Reader) registerCorrections(api *web.API) {
	op := func(method, path, id, summary, doc string, may tenant.Permission) web.Operation {
		return web.Operation{Method: method, Path: "/api/v1/corrections" + path, ID: id, Summary: summary, Doc: doc, Tag: "SLOs", Permission: may}
	}
	web.Register(api, op(http.MethodGet, "", "list-corrections", "List the corrections",
		"What does not count against error budgets, the latest first, also what was revoked.", tenant.MayRead(tenant.ResourceSLOs)), r.apiCorrections)
	create := op(http.MethodPost, "", "create-correction", "Let a stretch of time not count",
		"Planned or in the past, once or again and again. It holds from the next evaluation on; no count is changed.", tenant.MayUpdate(tenant.ResourceSLOs))
	create.Status = http.StatusCreated
	web.Register(api, create, r.apiAddCorrection)
	web.Register(api, op(http.MethodPost, "/{id}/revoke", "revoke-correction", "Take a correction back",
		"Also for the past: budgets are again what they would be without it.", tenant.MayUpdate(tenant.ResourceSLOs)), r.apiRevokeCorrection)
}

// correctionBody is what people write of a correction.
type correctionBody struct {
	Reason   string    `json:"reason" example:"Move to new disks, announced on 2 November" doc:"Why, for those who ask later."`
	SLOs     []string  `json:"slos,omitempty" nullable:"false" doc:"Names; all SLOs by default."`
	Tenants  []string  `json:"tenants,omitempty" nullable:"false" doc:"Ids; all tenants by default."`
	StartsAt time.Time `json:"starts_at" doc:"A whole minute. Of the first time, when it repeats."`
	EndsAt   time.Time `json:"ends_at" doc:"A whole minute, which counts again; at most 31 days later."`
	Repeats  string    `json:"repeats,omitempty" maxLength:"500" example:"FREQ=WEEKLY;BYDAY=SU" doc:"RRULE of RFC 5545, by the day or slower, at the time of starts_at; once by default."`
	TimeZone string    `json:"time_zone,omitempty" maxLength:"100" example:"Europe/Berlin" doc:"Whose clock it repeats by; UTC by default."`
}

type correctionView struct {
	ID string `json:"id"`
	correctionBody
	CreatedBy     string     `json:"created_by"`
	CreatedAt     time.Time  `json:"created_at"`
	RevokedAt     *time.Time `json:"revoked_at,omitempty"`
	RevokedBy     string     `json:"revoked_by,omitempty"`
	RevokedReason string     `json:"revoked_reason,omitempty"`
}

func correctionViewOf(c *Correction) correctionView {
	v := correctionView{
		ID: c.ID, CreatedBy: c.CreatedBy, CreatedAt: c.CreatedAt, RevokedAt: c.RevokedAt, RevokedBy: c.RevokedBy, RevokedReason: c.RevokedWhy,
		correctionBody: correctionBody{Reason: c.Reason, SLOs: c.SLOs, StartsAt: c.StartsAt, EndsAt: c.EndsAt, Repeats: c.Repeats, TimeZone: c.TimeZone},
	}
	for _, t := range c.Tenants {
		v.Tenants = append(v.Tenants, string(t))
	}
	return v
}

type correctionsInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type correctionsOutput struct {
	Body struct {
		Corrections []correctionView `json:"corrections"`
	}
}

func (r *Reader) apiCorrections(ctx context.Context, in *correctionsInput) (*correctionsOutput, error) {
	all, err := r.o.Store.Corrections(ctx, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &correctionsOutput{}
	out.Body.Corrections = make([]correctionView, len(all))
	for i := range all {
		out.Body.Corrections[i] = correctionViewOf(&all[i])
	}
	return out, nil
}

type addCorrectionInput struct{ Body correctionBody }

type correctionOutput struct{ Body correctionView }

func (r *Reader) apiAddCorrection(ctx context.Context, in *addCorrectionInput) (*correctionOutput, error) {
	c := Correction{
		Reason: in.Body.Reason, SLOs: in.Body.SLOs, StartsAt: in.Body.StartsAt, EndsAt: in.Body.EndsAt, Repeats: in.Body.Repeats, TimeZone: in.Body.TimeZone,
	}
	for _, t := range in.Body.Tenants {
		id, err := tenant.ParseID(t)
		if err != nil {
			return nil, fault.InvalidField("tenants", t, "is not a tenant id: up to %d bytes without control characters", tenant.MaxIDLen)
		}
		c.Tenants = append(c.Tenants, id)
	}
	who, _ := tenant.IdentityFrom(ctx)
	added, err := r.o.Store.AddCorrection(ctx, who.Name, c)
	if err != nil {
		return nil, err
	}
	r.Forget()
	return &correctionOutput{Body: correctionViewOf(added)}, nil
}

type revokeCorrectionInput struct {
	ID   string `path:"id" maxLength:"32" doc:"The correction's id."`
	Body struct {
		Reason string `json:"reason" doc:"Why, for those who ask later."`
	}
}

func (r *Reader) apiRevokeCorrection(ctx context.Context, in *revokeCorrectionInput) (*struct{}, error) {
	who, _ := tenant.IdentityFrom(ctx)
	if err := r.o.Store.RevokeCorrection(ctx, who.Name, in.ID, in.Body.Reason); err != nil {
		return nil, err
	}
	r.Forget()
	return nil, nil
}
