package alerting

import "github.com/prometheus/client_golang/prometheus"

// metrics are what headroom says of its own alerting.
type metrics struct {
	alerts    *prometheus.GaugeVec
	tenants   *prometheus.GaugeVec
	observed  prometheus.Gauge
	ignored   prometheus.Counter
	delivered *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		alerts: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "headroom_alerting_alerts",
			Help: "Alerts that are not resolved."}, []string{"severity", "state"}),
		tenants: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "headroom_alerting_tenants",
			Help: "Tenants that burn, in alerts that are not resolved."}, []string{"severity"}),
		observed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "headroom_alerting_observed_timestamp_seconds",
			Help: "When what burns was last looked at."}),
		ignored: prometheus.NewCounter(prometheus.CounterOpts{Name: "headroom_alerting_invalid_conditions_total",
			Help: "Conditions that no alert could be made of."}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headroom_alerting_notifications_total",
			Help: "Attempts to show a notification, by how they ended: sent, updated, or the failure."}, []string{"notifier", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "headroom_alerting_delivery_seconds",
			Help:    "Time from when a notification was due until it was shown.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300}}, []string{"notifier"}),
	}
	if r != nil {
		r.MustRegister(m.alerts, m.tenants, m.observed, m.ignored, m.delivered, m.seconds)
	}
	return m
}

// count publishes how many alerts are open.
func (m *metrics) count(open []*Alert) {
	m.alerts.Reset()
	m.tenants.Reset()
	for _, sev := range []Severity{Page, Ticket} { // zeros too, so that an absent series means an absent headroom
		m.tenants.WithLabelValues(string(sev))
		for _, st := range []State{Firing, Acknowledged} {
			m.alerts.WithLabelValues(string(sev), string(st))
		}
	}
	for _, a := range open {
		if a.State == Resolved {
			continue
		}
		m.alerts.WithLabelValues(string(a.Severity), string(a.State)).Inc()
		m.tenants.WithLabelValues(string(a.Severity)).Add(float64(len(a.Burning())))
	}
}
