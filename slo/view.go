package slo

import (
	"strconv"
	"time"
)

// The types of this file are what the API shows. Targets are numbers in percent, durations stand as OpenSLO writes them
// and in seconds.

type sloView struct {
	Name            string             `json:"name"`
	Title           string             `json:"title"`
	Description     string             `json:"description,omitempty"`
	Kind            Kind               `json:"kind" enum:"availability,latency"`
	ThresholdMs     float64            `json:"threshold_ms,omitempty" doc:"A good request took at most this long; latency SLOs only."`
	Selector        selectorView       `json:"selector"`
	Target          float64            `json:"target" doc:"In percent."`
	TargetsByPlan   map[string]float64 `json:"targets_by_plan,omitempty"`
	TargetsByTenant map[string]float64 `json:"targets_by_tenant,omitempty"`
	Window          string             `json:"window" example:"30d"`
	WindowSeconds   int64              `json:"window_seconds" doc:"Of a calendar window nominally: a month is 30 days."`
	Calendar        *calendarView      `json:"calendar,omitempty" doc:"Absent for a rolling window."`
	Alerts          []alertView        `json:"alerts"`
	Confidence      float64            `json:"confidence" doc:"Of the lower bound that the long window must exceed; 0 for none."`
	Revision        uint32             `json:"revision"`
	AppliedAt       time.Time          `json:"applied_at"`
}

type selectorView struct {
	Product         string   `json:"product"`
	Service         string   `json:"service,omitempty"`
	Routes          []string `json:"routes,omitempty"`
	ExcludeRoutes   []string `json:"exclude_routes,omitempty"`
	Methods         []string `json:"methods,omitempty"`
	ExcludeStatuses []uint16 `json:"exclude_statuses,omitempty"`
}

type calendarView struct {
	Duration  string `json:"duration" example:"1M"`
	StartTime string `json:"start_time"`
	TimeZone  string `json:"time_zone" example:"Europe/Berlin"`
}

type alertView struct {
	Severity     Severity `json:"severity" enum:"page,ticket"`
	Factor       float64  `json:"factor"`
	Long         string   `json:"long" example:"1h"`
	Short        string   `json:"short" example:"5m"`
	LongSeconds  int64    `json:"long_seconds"`
	ShortSeconds int64    `json:"short_seconds"`
}

type changeView struct {
	Name     string        `json:"name"`
	Action   Action        `json:"action" enum:"created,updated,unchanged"`
	Revision uint32        `json:"revision"`
	Restarts bool          `json:"restarts" doc:"What is counted changed, so that the budget starts afresh."`
	Fields   []FieldChange `json:"fields,omitempty"`
}

type revisionView struct {
	Revision uint32        `json:"revision"`
	Actor    string        `json:"actor"`
	At       time.Time     `json:"at"`
	Deleted  bool          `json:"deleted,omitempty"`
	Fields   []FieldChange `json:"fields,omitempty"`
}

type statusView struct {
	SLO                  string         `json:"slo"`
	Title                string         `json:"title"`
	Product              string         `json:"product"`
	Tenant               string         `json:"tenant,omitempty" doc:"Empty for all tenants together."`
	Revision             uint32         `json:"revision"`
	State                State          `json:"state" enum:"page,ticket,exhausted,watching,ok,no_data"`
	Target               float64        `json:"target" doc:"In percent."`
	Window               string         `json:"window" example:"30d"`
	WindowSeconds        int64          `json:"window_seconds"`
	From                 time.Time      `json:"from" doc:"Where the window begins: good and total are the requests of this minute and later ones."`
	Until                *time.Time     `json:"until,omitempty" doc:"Where a calendar window will end; absent for a rolling one."`
	Good                 uint64         `json:"good"`
	Total                uint64         `json:"total"`
	ErrorBudgetRemaining float64        `json:"error_budget_remaining" doc:"1 is full, 0 used up, negative overspent."`
	Excluded             *excludedView  `json:"excluded,omitempty" doc:"What corrections take out of the window; absent when nothing."`
	BurnRates            []burnRateView `json:"burn_rates"`
	ExhaustsAt           *time.Time     `json:"exhausts_at,omitempty" doc:"At the present rate; absent when it does not run out within the window."`
	ExhaustsEarliest     *time.Time     `json:"exhausts_earliest,omitempty" doc:"At the upper confidence bound of the present rate; there when exhausts_at is."`
	ExhaustsLatest       *time.Time     `json:"exhausts_latest,omitempty" doc:"At the lower bound; absent when it does not run out within the window then."`
	At                   time.Time      `json:"at"`
}

type excludedView struct {
	Good                 uint64  `json:"good"`
	Total                uint64  `json:"total"`
	ErrorBudgetRemaining float64 `json:"error_budget_remaining" doc:"What would be left if they counted."`
}

type burnRateView struct {
	alertView
	Rate       float64 `json:"rate" doc:"In the long window: 1 uses the budget up exactly over the SLO's window."`
	RateLower  float64 `json:"rate_lower" doc:"Lower confidence bound of rate."`
	RateUpper  float64 `json:"rate_upper" doc:"Upper confidence bound of rate."`
	ShortRate  float64 `json:"short_rate"`
	Good       uint64  `json:"good" doc:"In the long window."`
	Total      uint64  `json:"total" doc:"In the long window."`
	ShortGood  uint64  `json:"short_good"`
	ShortTotal uint64  `json:"short_total"`
	Firing     bool    `json:"firing"`
}

func inPercent(p PPM) float64 { return float64(p) / 10_000 }

func viewOf(d *Definition) sloView {
	v := sloView{
		Name: d.Name, Title: d.Title, Description: d.Description, Kind: d.Kind, ThresholdMs: float64(d.Threshold) / float64(time.Millisecond),
		Selector: selectorView(d.Selector), Target: inPercent(d.Target), Window: Shorthand(d.Window),
		WindowSeconds: int64(d.Window / time.Second), Confidence: d.Policy.Confidence, Revision: d.Revision, AppliedAt: d.AppliedAt,
		Alerts: make([]alertView, len(d.Policy.Windows)),
	}
	if c := d.Calendar; c != nil {
		v.Window = strconv.Itoa(c.Count) + c.Unit
		v.Calendar = &calendarView{Duration: v.Window, StartTime: c.Start, TimeZone: c.TimeZone}
	}
	for i, w := range d.Policy.Windows {
		v.Alerts[i] = alertViewOf(w)
	}
	if len(d.TargetsByPlan) > 0 {
		v.TargetsByPlan = map[string]float64{}
		for p, t := range d.TargetsByPlan {
			v.TargetsByPlan[string(p)] = inPercent(t)
		}
	}
	if len(d.TargetsByTenant) > 0 {
		v.TargetsByTenant = map[string]float64{}
		for id, t := range d.TargetsByTenant {
			v.TargetsByTenant[string(id)] = inPercent(t)
		}
	}
	return v
}

func alertViewOf(w BurnWindow) alertView {
	return alertView{
		Severity: w.Severity, Factor: w.Factor, Long: Shorthand(w.Long), Short: Shorthand(w.Short),
		LongSeconds: int64(w.Long / time.Second), ShortSeconds: int64(w.Short / time.Second),
	}
}

func statusViewOf(s *Status) statusView {
	v := statusView{
		SLO: s.SLO, Title: s.Title, Product: s.Product, Tenant: string(s.Tenant), Revision: s.Revision, State: s.State,
		Target: inPercent(s.Target), Window: Shorthand(s.Window), WindowSeconds: int64(s.Window / time.Second), From: s.From, Until: s.Until, Good: s.Good,
		Total: s.Total, ErrorBudgetRemaining: s.ErrorBudgetRemaining, ExhaustsAt: s.ExhaustsAt, At: s.At,
		BurnRates: make([]burnRateView, len(s.BurnRates)),
	}
	v.ExhaustsEarliest, v.ExhaustsLatest = s.ExhaustsBetween()
	if s.Excluded.Total > 0 {
		v.Excluded = &excludedView{Good: s.Excluded.Good, Total: s.Excluded.Total, ErrorBudgetRemaining: s.BudgetWithExcluded()}
	}
	if s.Until != nil {
		v.Window = s.WindowWords
	}
	for i := range s.BurnRates {
		b := &s.BurnRates[i]
		v.BurnRates[i] = burnRateView{
			alertView: alertViewOf(b.BurnWindow), Rate: b.LongRate, RateLower: b.LowerRate(), RateUpper: b.UpperRate(),
			ShortRate: b.ShortRate, Good: b.LongCounts.Good, Total: b.LongCounts.Total, ShortGood: b.ShortCounts.Good,
			ShortTotal: b.ShortCounts.Total, Firing: b.Firing,
		}
	}
	return v
}
