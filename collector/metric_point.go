package collector

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// seriesKind says how to read the values of a series.
type seriesKind uint8

const (
	gaugeSeries seriesKind = iota
	counterSeries
	upDownSeries
	deltaSeries
	upDownDeltaSeries
	histogramSeries
	deltaHistogramSeries
	gaugeHistogramSeries
)

var kindNames = [...]string{"gauge", "counter", "updown", "delta", "updown_delta", "histogram", "delta_histogram", "gauge_histogram"}

// form is what of the kind belongs to the identity of a series: running sums and what was added cannot be one series,
// nor numbers and histograms. A gauge that turns out to be a counter stays the same series.
func (k seriesKind) form() byte {
	switch k {
	case deltaSeries, upDownDeltaSeries:
		return 1
	case histogramSeries, gaugeHistogramSeries:
		return 2
	case deltaHistogramSeries:
		return 3
	}
	return 0
}

// staleBits are the bits of the NaN that Prometheus says with that a series ended. They are kept exactly.
const staleBits = 0x7ff0000000000002

func isStale(v float64) bool { return math.Float64bits(v) == staleBits }

// label is one of a series; both alias the request body, or memory of the set it is in.
type label struct{ key, value []byte }

// labelSet is labels sorted by key, each once, after sort.
type labelSet struct {
	labels []label
	buf    []byte // holds values that are not as they came
}

func (s *labelSet) reset() { s.labels, s.buf = s.labels[:0], s.buf[:0] }

// sort sorts the labels; of two with the same key the later one stays.
func (s *labelSet) sort() {
	slices.SortStableFunc(s.labels, func(a, b label) int { return bytes.Compare(a.key, b.key) })
	kept := s.labels[:0]
	for i, l := range s.labels {
		if i+1 < len(s.labels) && bytes.Equal(l.key, s.labels[i+1].key) {
			continue
		}
		kept = append(kept, l)
	}
	s.labels = kept
}

func (s *labelSet) get(key string) []byte {
	i, ok := slices.BinarySearchFunc(s.labels, key, func(l label, key string) int { return bytes.Compare(l.key, viewBytes(key)) })
	if !ok {
		return nil
	}
	return s.labels[i].value
}

// appendTo appends what tells one set from another: no key or value of valid UTF-8 has the byte 0xff.
func (s *labelSet) appendTo(dst []byte) []byte {
	for _, l := range s.labels {
		dst = append(dst, l.key...)
		dst = append(dst, 0xff)
		dst = append(dst, l.value...)
		dst = append(dst, 0xff)
	}
	return dst
}

// size returns how many bytes the labels hold.
func (s *labelSet) size() (n int) {
	for _, l := range s.labels {
		n += len(l.key) + len(l.value)
	}
	return n
}

// metricState is what is known of the metric and the point being decoded.
type metricState struct {
	// Of the resource and scope that points share.
	shared     labelSet
	from       origin
	owner      owner  // whom the resource names
	sharedHash uint64 // of shared, which is hashed once, for points are many
	scope      []byte // its name: two libraries of one process may count under the same name

	// Of the metric.
	name, unit []byte
	kind       seriesKind
	mappings   bool // some metric that is made of it is in the vocabulary

	// Of the point.
	labels      labelSet // its own
	pointOwner  owner
	identified  bool   // hash is that of these labels
	hash        uint64 // of all its labels
	tenant      []byte
	product     []byte // under which it is counted
	service     []byte // the same
	ts, started uint64 // nanoseconds; started is 0 when it is unknown

	counts  []uint64
	below   []uint64
	numbers []float64
	totals  []float64
	symbols [][]byte // of a remote-write 2.0 request
	refs    []uint32
	native  native
	text    []byte // of a label that a point gets
	scratch []byte
}

// part is one number of a point: all of it, or one of those that a histogram or summary is made of.
type part struct {
	suffix     string // of the metric's name
	key, value string // of the label beside the point's own, if any
	kind       seriesKind
	number     float64
}

// share settles the labels that all points of a resource have.
func (m *metricState) share() {
	m.shared.sort()
	m.scratch = m.shared.appendTo(m.scratch[:0])
	m.sharedHash = xxhash.Sum64(m.scratch)
}

// settle makes a point's labels, whose they are, and checks its time. If it cannot be stored it counts why.
func (d *decoder) settle() bool {
	m := &d.metric
	switch {
	case len(m.name) == 0:
		return d.refusePoint(badName, "name", "", "must not be empty")
	case m.ts == 0:
		return d.refusePoint(noTime, "time_unix_nano", "0", "must not be zero")
	case m.ts > d.newest:
		return d.refusePoint(inFuture, "time_unix_nano", nanoTime(m.ts), "must not be more than "+d.opts.maxFuture.String()+" in the future")
	case m.ts < d.oldest:
		return d.refusePoint(tooOld, "time_unix_nano", nanoTime(m.ts), "must not be older than the retention of "+d.opts.retention.String())
	}
	if m.started > m.ts { // the value is good all the same
		m.started = 0
		d.out.clipped++
	}
	m.identify()
	v := &m.pointOwner.value
	if v.kind == valueNone {
		v = &m.owner.value
	}
	text := v.data
	if v.kind != valueString {
		d.scratch, _ = v.appendText(d.scratch[:0]) // a broken array names no tenant
		text = d.scratch
	}
	id, err := d.tenantOf(text)
	if err != nil {
		d.out.reject(badTenantReason(err), func() error { return publicTenantError(err) })
		return false
	}
	product := d.productOf(m.from.product)
	if d.foreign(product) {
		d.rejectForeign(product)
		return false
	}
	m.tenant = append(m.tenant[:0], id...)
	product, service := d.name(product), d.name(m.from.service)
	m.product, m.service = product, service
	if !m.from.known {
		m.product, m.service, m.from.known = d.admitService(tenant.ID(viewString(m.tenant)), product, service)
	}
	return true
}

// identify sorts and hashes the labels, once for all points that have them.
func (m *metricState) identify() {
	if m.identified {
		return
	}
	m.identified = true
	m.labels.sort()
	b := binary.LittleEndian.AppendUint64(m.scratch[:0], m.sharedHash)
	b = append(b, m.scope...)
	b = append(b, 0xff)
	m.scratch = m.labels.appendTo(b)
	m.hash = xxhash.Sum64(m.scratch)
}

// sharedWithScope returns the labels that all points of the scope have, sorted.
func (m *metricState) sharedWithScope() []label {
	if len(m.scope) == 0 {
		return m.shared.labels
	}
	all := labelSet{labels: append(append(make([]label, 0, len(m.shared.labels)+1), m.shared.labels...), label{viewBytes("otel.scope.name"), m.scope})}
	all.sort()
	return all.labels
}

// refusePoint counts a point that is refused, and why. It returns false.
func (d *decoder) refusePoint(why reason, field, got, message string) bool {
	d.out.reject(why, func() error { return d.pointError(field, got, message) })
	return false
}

func (d *decoder) pointError(field, got, message string) error {
	return fault.InvalidField(field, got, "%s (metric %q of service %q)", message, shorten(d.metric.name), shorten(d.metric.from.service))
}

// series returns the series that the part belongs to and makes sure that it is named; false when it is refused.
func (d *decoder) series(suffix, key, value string, kind seriesKind) (uint64, bool) {
	m := &d.metric
	b := binary.LittleEndian.AppendUint64(m.scratch[:0], m.hash)
	b = append(b, kind.form())
	b = append(b, m.name...)
	b = append(b, suffix...)
	b = append(b, 0xff)
	b = append(b, key...)
	b = append(b, 0xff)
	b = append(b, value...)
	// Whose it is, for the labels need not say: those beyond the most are dropped, a bound key's name nobody, and what is over
	// a limit is counted under another name. Each has its name where its points are.
	for _, of := range [...][]byte{m.tenant, m.product, m.service} {
		b = append(append(b, 0xff), of...)
	}
	m.scratch = b
	s := seriesDay{series: xxhash.Sum64(b), day: uint16(m.ts / uint64(24*time.Hour))}
	if d.named.known(s) {
		return s.series, true
	}
	if _, ok := d.cols.metric.named[s]; ok {
		return s.series, true
	}
	return s.series, d.nameSeries(s, suffix, key, value, kind)
}

// nameSeries appends the row that says what a series is called on this day. It is the one place where a series that is
// new, to this process or for the day, is met; false says that it is refused.
func (d *decoder) nameSeries(s seriesDay, suffix, key, value string, kind seriesKind) bool {
	m := &d.metric
	size := m.shared.size() + len(m.scope) + m.labels.size()
	if size > d.opts.maxLabels {
		return d.refusePoint(badLabels, "labels", "", "must not have more than "+itoa(d.opts.maxLabels)+" bytes together")
	}
	if d.expanded += size; d.expanded > d.opts.maxExpansion {
		return d.refusePoint(badLabels, "labels", "", "of the request's new series are too large together: send smaller batches")
	}
	charge, ok := d.admitSeries(s.series)
	if !ok {
		return false
	}
	mc := &d.cols.metric
	c := &mc.series
	c.day.Append(s.day)
	c.metric.append(d.partName(suffix))
	c.series.Append(s.series)
	c.product.append(m.product)
	c.tenant.append(m.tenant)
	c.service.append(m.service)
	c.kind.append(viewBytes(kindNames[kind]))
	c.unit.append(d.name(m.unit))
	own, shared := m.labels.labels, m.sharedWithScope()
	for len(own) > 0 || len(shared) > 0 {
		order := 1
		switch {
		case len(own) == 0:
		case len(shared) == 0:
			order = -1
		default:
			order = bytes.Compare(own[0].key, shared[0].key)
		}
		next := label{}
		if order <= 0 {
			next, own = own[0], own[1:]
		} else {
			next = shared[0]
		}
		if order >= 0 { // of two with the same key the point's own counts
			shared = shared[1:]
		}
		if string(next.key) != key {
			d.appendLabel(next.key, next.value)
		}
	}
	if key != "" {
		d.appendLabel(viewBytes(key), viewBytes(value))
	}
	c.labels.endRow()
	mc.fresh, mc.charges = append(mc.fresh, s), append(mc.charges, charge)
	if mc.named == nil {
		mc.named = make(map[seriesDay]struct{})
	}
	mc.named[s] = struct{}{}
	return true
}

func (d *decoder) appendLabel(key, value []byte) {
	c := &d.cols.metric.series.labels
	c.keys.append(key)
	c.values.append(value)
}

// partName returns the metric's name with a suffix. It holds until the next call.
func (d *decoder) partName(suffix string) []byte {
	m := &d.metric
	if suffix == "" {
		return m.name
	}
	m.scratch = append(append(m.scratch[:0], m.name...), suffix...)
	return m.scratch
}

// addPart appends a number of the point to metric_points and, when the vocabulary has it, to resource_points.
func (d *decoder) addPart(p part) bool {
	m := &d.metric
	series, ok := d.series(p.suffix, p.key, p.value, p.kind)
	if !ok {
		return false
	}
	c := &d.cols.metric.points
	c.metric.append(d.partName(p.suffix))
	c.series.Append(series)
	c.ts.Append(millis(m.ts))
	started := int64(0)
	if p.kind != gaugeSeries {
		started = millis(m.started)
	}
	c.started.Append(started)
	c.value.Append(p.number)
	c.product.append(m.product)
	c.tenant.append(m.tenant)
	d.addResource(series, p)
	return true
}

func millis(ns uint64) int64 { return int64(ns / uint64(time.Millisecond)) }
