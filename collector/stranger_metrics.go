package collector

import (
	"sync/atomic"

	vm "github.com/VictoriaMetrics/metrics"
)

// strangerMetrics count connections without a valid API key.
var strangerMetrics = newStrangerMetrics()

type strangerCounts struct {
	open                 *atomic.Int64
	tooMany, silent, tls *vm.Counter
}

func newStrangerMetrics() strangerCounts {
	open := new(atomic.Int64)
	vm.NewGauge("headroom_collector_strangers", func() float64 { return float64(open.Load()) })
	return strangerCounts{
		open:    open,
		tooMany: vm.NewCounter(`headroom_collector_closed_strangers_total{reason="too_many"}`),
		silent:  vm.NewCounter(`headroom_collector_closed_strangers_total{reason="no_key"}`),
		tls:     vm.NewCounter("headroom_collector_tls_clients_total"),
	}
}
