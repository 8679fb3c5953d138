package collector

import vm "github.com/VictoriaMetrics/metrics"

// limitMetrics count what limits do. None has a tenant's name as a label: who invents tenants would fill the operator's
// own monitoring. Stats and the log name the worst.
var limitMetrics = struct {
	sampledAway   *vm.Counter
	otherRoutes   *vm.Counter
	otherServices *vm.Counter
	otherVersions *vm.Counter
	otherCalls    *vm.Counter
	untagged      *vm.Counter
	overKey       *vm.Counter
	planErrors    *vm.Counter
}{
	sampledAway:   vm.NewCounter("headroom_collector_sampled_away_spans_total"),
	otherRoutes:   vm.NewCounter("headroom_collector_other_route_requests_total"),
	otherServices: vm.NewCounter("headroom_collector_other_service_total"),
	otherVersions: vm.NewCounter("headroom_collector_other_version_total"),
	otherCalls:    vm.NewCounter("headroom_collector_other_instance_calls_total"),
	untagged:      vm.NewCounter("headroom_collector_untagged_new_tenants_total"),
	overKey:       vm.NewCounter("headroom_collector_over_key_quota_requests_total"),
	planErrors:    vm.NewCounter("headroom_collector_plan_refresh_errors_total"),
}

func (l *limiter) gauges(set *vm.Set) {
	set.NewGauge("headroom_collector_tenants", func() float64 { return float64(l.accounts()) })
	set.NewGauge("headroom_collector_charged_series", func() float64 { return float64(l.room.held.Load()) })
	set.NewGauge("headroom_collector_tenants_over_quota", func() float64 { return float64(l.listed()) })
}
