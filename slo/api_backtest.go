package slo

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func (r *Reader) registerBacktest(api *web.API) {
	web.Register(api, web.Operation{
		Method: http.MethodPost, Path: "/api/v1/slos/backtest", ID: "backtest-slos", Summary: "Which alerts SLOs would have raised", Tag: "SLOs",
		Doc: "The body is OpenSLO v1 in YAML or JSON, as for applying, and is not applied. The stored history is replayed against " +
			"it, minute by minute, and the alerts that would have fired are listed. An SLO of which there is one by the same name " +
			"is replayed as it stands too, for comparison.",
		Permission: tenant.MayRead(tenant.ResourceSLOs), TenantParameter: "tenant",
	}, r.apiBacktest)
}

type backtestInput struct {
	Tenant  string    `query:"tenant" doc:"One tenant. Default: all."`
	From    time.Time `query:"from" doc:"RFC 3339; seven days before to by default, at most 31."`
	To      time.Time `query:"to" doc:"RFC 3339; now by default."`
	Limit   int       `query:"limit" minimum:"0" maximum:"10000" default:"1000" doc:"Alerts listed of each SLO; all are counted."`
	RawBody []byte    `contentType:"application/yaml"`
}

type backtestOutput struct {
	Body struct {
		SLOs []backtestView `json:"slos" doc:"One for each SLO of the body, in its order."`
	}
}

type backtestView struct {
	Name    string        `json:"name"`
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	Since   *time.Time    `json:"since,omitempty" doc:"The first minute with a request that was read; windows that reach further back hold less than their name says."`
	Source  string        `json:"source" enum:"rollup,requests" doc:"What was counted: the SLO's own counts, or for an SLI that is not counted yet the stored requests."`
	Tenants int           `json:"tenants" doc:"That had requests."`
	Pages   int           `json:"pages"`
	Tickets int           `json:"tickets"`
	Alerts  []episodeView `json:"alerts"`
	Present *presentView  `json:"present,omitempty" doc:"The same of the SLO as it stands."`
}

type presentView struct {
	Revision uint32 `json:"revision"`
	Pages    int    `json:"pages"`
	Tickets  int    `json:"tickets"`
}

type episodeView struct {
	Tenant     string     `json:"tenant"`
	Severity   Severity   `json:"severity" enum:"page,ticket"`
	OpenedAt   time.Time  `json:"opened_at"`
	ResolvedAt *time.Time `json:"resolved_at,omitempty" doc:"Absent when it was still open at the end."`
	PeakRate   float64    `json:"peak_rate" doc:"The highest burn rate while it was open."`
	Window     alertView  `json:"window" doc:"The pair of windows that opened it."`
}

func (r *Reader) apiBacktest(ctx context.Context, in *backtestInput) (*backtestOutput, error) {
	defs, err := Parse("", in.RawBody)
	if err != nil {
		return nil, err
	}
	var only *tenant.ID
	if in.Tenant != "" {
		id, err := tenant.ParseID(in.Tenant)
		if err != nil {
			return nil, fault.InvalidField("tenant", in.Tenant, "is not a tenant id: up to %d bytes without control characters", tenant.MaxIDLen)
		}
		only = &id
	}
	if in.To.IsZero() {
		in.To = time.Now()
	}
	if in.From.IsZero() {
		in.From = in.To.Add(-7 * day)
	}
	out := &backtestOutput{}
	out.Body.SLOs = make([]backtestView, len(defs))
	for i := range defs {
		if !defs[i].confine(ctx) {
			return nil, fault.New(fault.NotFound, "SLO %q counts nothing that you may see", defs[i].Name)
		}
		b, err := r.Backtest(ctx, defs[i], only, in.From, in.To)
		if err != nil {
			return nil, err
		}
		view := backtestViewOf(b, in.Limit)
		present, err := r.o.Store.Get(ctx, defs[i].Name)
		switch {
		case err == nil:
			b, err := r.Backtest(ctx, *present, only, in.From, in.To)
			if err != nil {
				return nil, err
			}
			view.Present = &presentView{Revision: present.Revision, Pages: b.Count(Page), Tickets: b.Count(Ticket)}
		case fault.KindOf(err) != fault.NotFound:
			return nil, err
		}
		out.Body.SLOs[i] = view
	}
	return out, nil
}

func backtestViewOf(b *Backtest, limit int) backtestView {
	v := backtestView{
		Name: b.Name, From: b.From, To: b.To, Source: b.Source, Tenants: b.Tenants, Pages: b.Count(Page), Tickets: b.Count(Ticket),
		Alerts: []episodeView{},
	}
	if !b.Since.IsZero() {
		v.Since = &b.Since
	}
	for _, e := range b.Episodes[:min(limit, len(b.Episodes))] {
		v.Alerts = append(v.Alerts, episodeView{
			Tenant: string(e.Tenant), Severity: e.Severity, OpenedAt: e.OpenedAt, ResolvedAt: e.ResolvedAt, PeakRate: e.Peak, Window: alertViewOf(e.Window),
		})
	}
	return v
}
