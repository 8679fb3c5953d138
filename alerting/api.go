package alerting

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// AlertJSON is an alert as the API shows it.
type AlertJSON struct {
	ID         string       `json:"id" example:"a-7f3kq2"`
	SLO        string       `json:"slo" doc:"The SLO that burns."`
	Title      string       `json:"title"`
	Product    string       `json:"product"`
	Severity   Severity     `json:"severity" enum:"page,ticket"`
	State      State        `json:"state" enum:"pending,firing,acknowledged,resolved"`
	Sentence   string       `json:"sentence" doc:"What is true, in words; times are UTC."`
	StartedAt  time.Time    `json:"started_at" doc:"When it began, as far as the data tells."`
	OpenedAt   time.Time    `json:"opened_at" doc:"When it was first seen."`
	ObservedAt time.Time    `json:"observed_at" doc:"As of when the numbers are."`
	ResolvedAt *time.Time   `json:"resolved_at,omitempty"`
	ReopenedAt *time.Time   `json:"reopened_at,omitempty"`
	AckedBy    string       `json:"acknowledged_by,omitempty"`
	AckedAt    *time.Time   `json:"acknowledged_at,omitempty"`
	Burning    int          `json:"tenants_burning" doc:"How many tenants burn now."`
	URL        string       `json:"url"`
	Tenants    []MemberJSON `json:"tenants" doc:"Those that burn first, the worst of them first."`
}

// MemberJSON is one tenant in an alert.
type MemberJSON struct {
	Tenant           tenant.ID  `json:"tenant"`
	State            State      `json:"state" enum:"firing,acknowledged,resolved"`
	StartedAt        time.Time  `json:"started_at"`
	ResolvedAt       *time.Time `json:"resolved_at,omitempty"`
	BurnRate         float64    `json:"burn_rate" doc:"1 uses the error budget up exactly over the SLO's window."`
	PeakBurnRate     float64    `json:"peak_burn_rate"`
	Factor           float64    `json:"factor" doc:"The burn rate that had to be exceeded."`
	LongWindow       float64    `json:"long_window_seconds"`
	ShortWindow      float64    `json:"short_window_seconds"`
	Bad              uint64     `json:"bad" doc:"Requests in the long window that were not good."`
	Total            uint64     `json:"total" doc:"Requests in the long window."`
	Target           string     `json:"target" example:"99.9 %"`
	BudgetRemaining  float64    `json:"error_budget_remaining" doc:"1 is full, 0 used up, negative overspent."`
	BudgetWhenOpened float64    `json:"error_budget_when_opened"`
	ExhaustsAt       *time.Time `json:"exhausts_at,omitempty" doc:"When the budget is used up at this rate."`
}

// json returns the alert as the API shows it.
func (a *Alert) json(v *View) AlertJSON {
	j := AlertJSON{
		ID: a.ID, SLO: a.Rule, Title: a.Title, Product: a.Product, Severity: a.Severity, State: a.State, Sentence: v.Sentence,
		StartedAt: a.StartedAt.UTC(), OpenedAt: a.OpenedAt.UTC(), ObservedAt: a.ObservedAt.UTC(),
		ResolvedAt: utc(a.ResolvedAt), ReopenedAt: utc(a.ReopenedAt), AckedBy: a.AckedBy, AckedAt: utc(a.AckedAt),
		Burning: len(a.Burning()), URL: v.URL, Tenants: make([]MemberJSON, 0, len(a.Members)),
	}
	for _, m := range a.Members {
		b := m.Burn
		j.Tenants = append(j.Tenants, MemberJSON{
			Tenant: m.Tenant, State: m.State, StartedAt: m.StartedAt.UTC(), ResolvedAt: utc(m.ResolvedAt),
			BurnRate: b.Rate, PeakBurnRate: m.PeakRate, Factor: b.Factor, LongWindow: b.Long.Seconds(), ShortWindow: b.Short.Seconds(),
			Bad: b.Bad, Total: b.Total, Target: b.Target, BudgetRemaining: b.BudgetRemaining, BudgetWhenOpened: m.BudgetBefore, ExhaustsAt: utc(b.ExhaustsAt),
		})
	}
	return j
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

type listInput struct {
	State  string `query:"state" doc:"open, or one of the states." enum:"open,pending,firing,acknowledged,resolved"`
	SLO    string `query:"slo" maxLength:"200"`
	Tenant string `query:"tenant" maxLength:"128" doc:"Alerts that this tenant is or was in."`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
	After  string `query:"after" maxLength:"20" doc:"The id of the last alert of the page before."`
}

type listOutput struct {
	Body struct {
		Alerts []AlertJSON `json:"alerts"`
		Next   string      `json:"next,omitempty" doc:"Give it as after to get the next page."`
	}
}

type idInput struct {
	ID string `path:"id" maxLength:"20" example:"a-7f3kq2"`
}

type alertOutput struct{ Body AlertJSON }

// RegisterAPI adds the operations on alerts.
func (s *Service) RegisterAPI(api *web.API) {
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/alerts", ID: "list-alerts", Summary: "List alerts, the latest first",
		Tag: "Alerts", Permission: tenant.MayRead(tenant.ResourceAlerts)}, s.listAlerts)
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/alerts/{id}", ID: "get-alert", Summary: "Get an alert",
		Tag: "Alerts", Permission: tenant.MayRead(tenant.ResourceAlerts)}, s.getAlert)
	web.Register(api, web.Operation{Method: http.MethodPost, Path: "/api/v1/alerts/{id}/ack", ID: "acknowledge-alert", Summary: "Acknowledge an alert",
		Doc: "Says that somebody takes it, and tells everybody. Doing it again changes nothing.",
		Tag: "Alerts", Permission: tenant.MayUpdate(tenant.ResourceAlerts)}, s.ackAlert)
}

func (s *Service) listAlerts(ctx context.Context, in *listInput) (*listOutput, error) {
	f := Filter{Rule: in.SLO, Limit: in.Limit + 1, After: in.After}
	if in.State == "open" {
		f.Open = true
	} else {
		f.State = State(in.State)
	}
	if in.Tenant != "" {
		id, err := tenant.ParseID(in.Tenant)
		if err != nil {
			return nil, err
		}
		f.Tenant = &id
	}
	alerts, err := s.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	if len(alerts) > in.Limit {
		alerts = alerts[:in.Limit]
		out.Body.Next = alerts[in.Limit-1].ID
	}
	out.Body.Alerts = make([]AlertJSON, 0, len(alerts))
	for i, v := range s.Views(ctx, alerts) {
		out.Body.Alerts = append(out.Body.Alerts, alerts[i].json(v))
	}
	return out, nil
}

func (s *Service) getAlert(ctx context.Context, in *idInput) (*alertOutput, error) {
	a, err := s.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &alertOutput{a.json(s.View(ctx, a))}, nil
}

func (s *Service) ackAlert(ctx context.Context, in *idInput) (*alertOutput, error) {
	who, ok := tenant.IdentityFrom(ctx)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "nobody to acknowledge for")
	}
	a, err := s.Ack(ctx, who.Name, in.ID)
	if err != nil {
		return nil, err
	}
	return &alertOutput{a.json(s.View(ctx, a))}, nil
}
