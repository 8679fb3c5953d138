package collector

import (
	"fmt"
	"sync"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// metrics are the counters of this process. Gauges are in Collector.gauges.
var metrics = struct {
	requests       [transports]*vm.Counter
	unauthorized   *vm.Counter
	malformed      *vm.Counter
	overloaded     *vm.Counter
	duplicates     *vm.Counter
	forgottenEarly *vm.Counter
	bytes          *vm.Counter
	received       *vm.Counter
	accepted       *vm.Counter
	rejected       [reasons]*vm.Counter
	receivedPoints *vm.Counter
	acceptedPoints *vm.Counter
	rejectedPoints [reasons]*vm.Counter
	clipped        *vm.Counter
	commitSeconds  *vm.Histogram
	ackSeconds     *vm.Histogram
	spoolErrors    *vm.Counter
	torn           *vm.Counter
	quarantined    *vm.Counter
	damagedBytes   *vm.Counter
	truncated      *vm.Counter
	vanished       *vm.Counter
	purged         *vm.Counter

	damagedReceipts *vm.Counter
	insertSeconds   *vm.Histogram
	insertErrors    *vm.Counter
	insertedRows    [tables]*vm.Counter
}{
	requests:       requestCounters(),
	unauthorized:   vm.NewCounter(`headroom_collector_refused_requests_total{reason="key"}`),
	malformed:      vm.NewCounter(`headroom_collector_refused_requests_total{reason="malformed"}`),
	overloaded:     vm.NewCounter(`headroom_collector_refused_requests_total{reason="unavailable"}`),
	duplicates:     vm.NewCounter("headroom_collector_duplicate_requests_total"),
	forgottenEarly: vm.NewCounter("headroom_collector_receipts_forgotten_early_total"),
	bytes:          vm.NewCounter("headroom_collector_received_bytes_total"),
	received:       vm.NewCounter("headroom_collector_received_spans_total"),
	accepted:       vm.NewCounter("headroom_collector_accepted_spans_total"),
	rejected:       rejectedCounters("spans"),
	receivedPoints: vm.NewCounter("headroom_collector_received_points_total"),
	acceptedPoints: vm.NewCounter("headroom_collector_accepted_points_total"),
	rejectedPoints: rejectedCounters("points"),
	clipped:        vm.NewCounter("headroom_collector_clipped_values_total"),
	commitSeconds:  vm.NewHistogram("headroom_collector_commit_duration_seconds"),
	ackSeconds:     vm.NewHistogram("headroom_collector_ack_duration_seconds"),
	spoolErrors:    vm.NewCounter("headroom_collector_spool_errors_total"),
	torn:           vm.NewCounter("headroom_collector_spool_torn_writes_total"),
	quarantined:    vm.NewCounter("headroom_collector_quarantined_segments_total"),
	damagedBytes:   vm.NewCounter("headroom_collector_damaged_bytes_total"),
	truncated:      vm.NewCounter("headroom_collector_truncated_segments_total"),
	vanished:       vm.NewCounter("headroom_collector_vanished_segments_total"),
	purged:         vm.NewCounter("headroom_collector_quarantine_purged_files_total"),

	damagedReceipts: vm.NewCounter("headroom_collector_damaged_receipts_total"),
	insertSeconds:   vm.NewHistogram("headroom_collector_insert_duration_seconds"),
	insertErrors:    vm.NewCounter("headroom_collector_insert_errors_total"),
	insertedRows:    insertedCounters(),
}

// transport is how a request came: the label of headroom_collector_requests_total.
type transport uint8

const (
	overHTTP transport = iota
	overGRPC
	overRemoteWrite
	transports // how many there are
)

var transportNames = [transports]string{"http", "grpc", "remote_write"}

func requestCounters() (cs [transports]*vm.Counter) {
	for t, name := range transportNames {
		cs[t] = vm.NewCounter(fmt.Sprintf("headroom_collector_requests_total{transport=%q}", name))
	}
	return cs
}

func rejectedCounters(things string) (cs [reasons]*vm.Counter) {
	for r, name := range reasonNames {
		cs[r] = vm.NewCounter(fmt.Sprintf("headroom_collector_rejected_%s_total{reason=%q}", things, name))
	}
	return cs
}

func insertedCounters() (cs [tables]*vm.Counter) {
	for t, name := range tableNames {
		cs[t] = vm.NewCounter(fmt.Sprintf("headroom_collector_inserted_rows_total{table=%q}", name))
	}
	return cs
}

// count adds what became of what a request carries.
func (o *outcome) count() {
	received, rejected := metrics.received, &metrics.rejected
	if o.signal != traces {
		received, rejected = metrics.receivedPoints, &metrics.rejectedPoints
	}
	received.Add(o.accepted + o.rejectedTotal())
	metrics.clipped.Add(o.clipped)
	limitMetrics.sampledAway.Add(o.sampledAway)
	for r, n := range o.rejected {
		rejected[r].Add(n)
	}
}

// Stats is how the collector does, for the console.
type Stats struct {
	LastInsert     time.Time // when ClickHouse last took a segment; zero when it has not yet
	SpansPerSecond float64   // acknowledged, over the last 10 seconds
	BacklogBytes   int64     // in the spool
	BacklogFiles   int
	OldestBacklog  time.Time // when the oldest segment of the spool began; zero when it is empty
	Receipts       int       // requests that would be recognized if sent again
	InsertError    string    // of the last insert, when it failed

	OverQuota []OverQuota // the tenants that sent most beyond their quotas, as of the last 10 seconds
}

// Stats returns how the collector does now.
func (c *Collector) Stats() Stats {
	s := Stats{SpansPerSecond: c.committer.rate.perSecond(time.Now()), Receipts: c.window.len()}
	s.BacklogBytes, s.BacklogFiles, s.OldestBacklog = c.spool.backlog()
	s.LastInsert, s.InsertError = c.writer.last()
	s.OverQuota = c.limiter.worstOver()
	return s
}

// gauges returns the gauges of this collector, to be registered while it runs.
func (c *Collector) gauges() *vm.Set {
	set := vm.NewSet()
	set.NewGauge("headroom_collector_spool_bytes", func() float64 {
		bytes, _, _ := c.spool.backlog()
		return float64(bytes)
	})
	set.NewGauge("headroom_collector_spool_segments", func() float64 {
		_, segments, _ := c.spool.backlog()
		return float64(segments)
	})
	set.NewGauge("headroom_collector_spool_oldest_age_seconds", func() float64 {
		_, _, oldest := c.spool.backlog()
		if oldest.IsZero() {
			return 0
		}
		return time.Since(oldest).Seconds()
	})
	set.NewGauge("headroom_collector_spool_usable", func() float64 {
		if c.spool.takes() {
			return 1
		}
		return 0
	})
	set.NewGauge("headroom_collector_quarantine_bytes", func() float64 { return float64(c.spool.quarantineBytes.Load()) })
	set.NewGauge("headroom_collector_quarantine_files", func() float64 { return float64(c.spool.quarantineFiles.Load()) })
	set.NewGauge("headroom_collector_named_series", func() float64 { return float64(c.committer.named.len()) })
	set.NewGauge("headroom_collector_receipts", func() float64 { return float64(c.window.len()) })
	set.NewGauge("headroom_collector_inflight_bytes", func() float64 { return float64(c.memory.inUse()) })
	c.limiter.gauges(set)
	return set
}

// rateSeconds is over how long a rate is taken.
const rateSeconds = 10

// rate counts events of the last seconds. It is safe for concurrent use.
type rate struct {
	mu     sync.Mutex // guards all
	counts [rateSeconds + 1]int
	second int64 // that the newest count is of
}

func (r *rate) add(n int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forward(now)
	r.counts[r.second%int64(len(r.counts))] += n
}

// perSecond returns the mean over the last 10 whole seconds.
func (r *rate) perSecond(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forward(now)
	sum := -r.counts[r.second%int64(len(r.counts))]
	for _, n := range r.counts {
		sum += n
	}
	return float64(sum) / rateSeconds
}

func (r *rate) forward(now time.Time) {
	to := now.Unix()
	for s := max(r.second+1, to-int64(len(r.counts))+1); s <= to; s++ {
		r.counts[s%int64(len(r.counts))] = 0
	}
	r.second = max(r.second, to)
}
