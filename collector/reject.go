package collector

import (
	"fmt"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// reason says why a span or a data point is refused. Its name is the label of headroom_collector_rejected_spans_total and
// headroom_collector_rejected_points_total.
type reason uint8

const (
	badTraceID reason = iota
	badSpanID
	endBeforeStart
	inFuture
	tooOld
	badTenant
	overQuota
	badName        // of a metric
	noTime         // of a point
	noValue        // of a point
	badTemporality // of a sum or histogram
	badHistogram
	badLabels // of a series
	tooMany   // points of a request
	badProduct
	deletedTenant
	reasons // how many there are
)

var reasonNames = [reasons]string{"trace_id", "span_id", "end_before_start", "in_future", "too_old", "tenant_id", "over_quota",
	"name", "time", "value", "temporality", "histogram", "labels", "batch_size", "product", "deleted_tenant"}

// outcome is what became of what a request carries.
type outcome struct {
	signal      *signal
	accepted    int
	rejected    [reasons]int
	first       string // what was wrong with the first thing that is refused
	clipped     int    // values cut to their limit
	warning     string // of what is counted otherwise than the sender meant it
	sampledAway int    // spans that were counted and are not in trace_spans, because their tenant is over its quota

	samples, histograms int // of remote-write, accepted
	numbers             int // that the accepted points are stored as
}

// work is how much a request was for a key's rate: its spans, or the numbers of its points.
func (o *outcome) work() int { return max(o.accepted, o.numbers) + o.rejectedTotal() }

func (o *outcome) rejectedTotal() (n int) {
	for _, r := range o.rejected {
		n += r
	}
	return n
}

// reject counts something refused and keeps what was wrong with the first. What is built lazily, by a closure that the hot path
// never calls.
func (o *outcome) reject(why reason, err func() error) {
	o.rejected[why]++
	if o.first == "" {
		o.first = publicText(err())
	}
}

func publicText(err error) string {
	if e, ok := err.(*fault.Error); ok { //nolint:errorlint // made here, never wrapped
		return e.Public()
	}
	return err.Error()
}

// answer is what a request is told about what it carries; the zero answer is full success.
type answer struct {
	rejected int64
	message  string
}

func (o *outcome) answer() answer {
	n := o.rejectedTotal()
	switch n {
	case 0:
		return answer{0, o.warning}
	case 1:
		return answer{1, o.first}
	}
	return answer{int64(n), fmt.Sprintf("%s; %d more %s were refused", o.first, n-1, o.signal.things)}
}

// brief returns the answer as it is remembered, with the beginning of its message.
func (a answer) brief() answer {
	text, cut := clip(viewBytes(a.message), maxMessage)
	if cut {
		a.message = string(text) + "…"
	}
	return a
}

// nanoTime renders a timestamp of a span for an error message.
func nanoTime(ns uint64) string {
	if ns > 1<<63-1 {
		return fmt.Sprintf("%d ns", ns)
	}
	return time.Unix(0, int64(ns)).UTC().Format(time.RFC3339Nano)
}
