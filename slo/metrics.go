package slo

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics tell how the engine itself does.
type engineMetrics struct {
	prometheus.GaugeFunc // whether this process leads
	duration             prometheus.Histogram
	lag                  prometheus.Gauge
	failures             prometheus.Counter
}

func newEngineMetrics(e *Engine) *engineMetrics {
	return &engineMetrics{
		GaugeFunc: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "headroom_slo_leading", Help: "1 on the process that evaluates the SLOs, else 0.",
		}, func() float64 {
			if e.Leading() {
				return 1
			}
			return 0
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "headroom_slo_cycle_duration_seconds", Help: "How long evaluating all SLOs and telling alerting took.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headroom_slo_cycle_lag_seconds", Help: "How much later than due the last cycle began.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headroom_slo_cycle_failures_total", Help: "Cycles that failed.",
		}),
	}
}

var (
	lastEvaluation = prometheus.NewDesc("headroom_slo_last_evaluation_timestamp_seconds", "When the SLOs were last evaluated.", nil, nil)
	tenantsByState = prometheus.NewDesc("headroom_slo_tenants", "Tenants by the state that the SLO is in for them.", []string{"slo", "state"}, nil)
	fleetRemaining = prometheus.NewDesc("headroom_slo_fleet_error_budget_remaining",
		"Share of the error budget that is left over all tenants together; negative when overspent.", []string{"slo"}, nil)
	budgetRemaining = prometheus.NewDesc("headroom_slo_error_budget_remaining",
		"Share of the tenant's error budget that is left; negative when overspent.", []string{"slo", "tenant"}, nil)
	burnRateDesc = prometheus.NewDesc("headroom_slo_burn_rate",
		"How many times as fast as allowed the tenant's error budget burns over the window.", []string{"slo", "tenant", "window"}, nil)
	left = prometheus.NewDesc("headroom_slo_tenants_not_shown",
		"Pairs of SLO and tenant that have no series of their own, for there are too many.", nil, nil)
)

// stateCollector shows how the SLOs stand, on the process that leads: one scrape of all processes has every series once.
type stateCollector struct{ engine *Engine }

// Describe sends what Collect may send.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lastEvaluation, tenantsByState, fleetRemaining, budgetRemaining, burnRateDesc, left} {
		ch <- d
	}
}

// Collect sends the last snapshot.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.engine.last.Load()
	if s == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		for i, l := range labels {
			labels[i] = strings.ToValidUTF8(l, "\uFFFD")
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(lastEvaluation, float64(s.At.UnixMilli())/1000)
	type key struct {
		slo   string
		state State
	}
	states := map[key]int{}
	for i := range s.Fleet {
		gauge(fleetRemaining, s.Fleet[i].ErrorBudgetRemaining, s.Fleet[i].SLO)
		for _, state := range []State{StatePage, StateTicket, StateExhausted, StateWatching, StateOK, StateNoData} {
			states[key{s.Fleet[i].SLO, state}] = 0
		}
	}
	for i := range s.Statuses {
		states[key{s.Statuses[i].SLO, s.Statuses[i].State}]++
	}
	for k, n := range states {
		gauge(tenantsByState, float64(n), k.slo, string(k.state))
	}
	shown := c.engine.shown(s)
	gauge(left, float64(len(s.Statuses)-len(shown)))
	for _, st := range shown {
		gauge(budgetRemaining, st.ErrorBudgetRemaining, st.SLO, string(st.Tenant))
		for i := range st.BurnRates {
			b := &st.BurnRates[i]
			if slices.ContainsFunc(st.BurnRates[:i], func(o BurnRate) bool { return o.Long == b.Long }) {
				continue // two pairs may share a long window
			}
			gauge(burnRateDesc, b.LongRate, st.SLO, string(st.Tenant), Shorthand(b.Long))
		}
	}
}

// shown returns the statuses that get series of their own: all, or when there are too many those in trouble, the least
// budget first.
func (e *Engine) shown(s *Snapshot) []*Status {
	all := make([]*Status, len(s.Statuses))
	for i := range s.Statuses {
		all[i] = &s.Statuses[i]
	}
	if len(all) <= e.o.MaxTenants {
		return all
	}
	burns := func(st *Status) int {
		if st.State == StatePage || st.State == StateTicket {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b *Status) int {
		return cmp.Or(burns(a)-burns(b), cmp.Compare(a.ErrorBudgetRemaining, b.ErrorBudgetRemaining),
			strings.Compare(a.SLO, b.SLO), strings.Compare(string(a.Tenant), string(b.Tenant)))
	})
	return all[:e.o.MaxTenants]
}
