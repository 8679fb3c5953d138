package collector

import (
	"fmt"
	"math"

	"github.com/VictoriaMetrics/easyproto"
)

// Prometheus's schemas of native histograms.
const (
	minSchema    = -4
	maxSchema    = 8
	customSchema = -53 // buckets with bounds of their own
	hintGauge    = 3   // the reset hint of a histogram that is no running sum
)

// nativeBuckets are the positive or negative buckets of a native histogram: where they are, and what is in them, as
// differences of whole numbers or as they are.
type nativeBuckets struct {
	spans  []bucketSpan
	deltas []int64
	counts []float64
}

type bucketSpan struct {
	offset int32  // from the end of the span before
	length uint32 // buckets
}

func (b *nativeBuckets) reset() {
	b.spans, b.deltas, b.counts = b.spans[:0], b.deltas[:0], b.counts[:0]
}

// native is a Histogram of remote-write.
type native struct {
	count, sum, zeroThreshold, zeroCount float64
	schema                               int32
	hint                                 int32
	at, created                          int64
	positive, negative                   nativeBuckets
	bounds                               []float64
	limit                                int // of buckets, beyond which they are not read
}

// nativeHistogram reads a Histogram. One with an exponential schema is stored as such, one with bounds of its own as the
// series of an explicit histogram. Without store it is only read.
func (d *decoder) nativeHistogram(src []byte, created int64, store bool) (ok bool, err error) {
	h := &d.metric.native
	h.positive.reset()
	h.negative.reset()
	*h = native{created: created, positive: h.positive, negative: h.negative, bounds: h.bounds[:0], limit: d.opts.maxBuckets}
	if err := h.read(src); err != nil {
		return false, fmt.Errorf("histograms: %w", err)
	}
	m := &d.metric
	gauge := h.hint == hintGauge
	m.kind = histogramSeries
	if gauge {
		m.kind = gaugeHistogramSeries
	}
	if !store || !d.settleAt(h.at, h.created) {
		return false, nil
	}
	if n := max(len(h.positive.deltas), len(h.positive.counts), len(h.negative.deltas), len(h.negative.counts), len(h.bounds), len(h.positive.spans), len(h.negative.spans)); n > d.opts.maxBuckets {
		return d.refusePoint(badHistogram, "buckets", itoa(n), "must not be more than "+itoa(d.opts.maxBuckets)), nil
	}
	switch {
	case h.schema == customSchema:
		return d.customHistogram(h, gauge), nil
	case h.schema < minSchema || h.schema > maxSchema:
		return d.refusePoint(badHistogram, "schema", itoa(int(h.schema)), "must be from -4 to 8, or -53"), nil
	}
	c := &d.cols.metric.histograms
	row := histogramRow{count: h.count, sum: h.sum, min: math.NaN(), max: math.NaN(), scale: h.schema, zeroThreshold: h.zeroThreshold, zeroCount: h.zeroCount}
	if !d.eachBucket("positive", &h.positive, c.positive.append) || !d.eachBucket("negative", &h.negative, c.negative.append) {
		return false, nil
	}
	return d.addHistogram(row), nil
}

// eachBucket calls add for each bucket that is not empty with OpenTelemetry's index, which is one less than Prometheus's.
// A histogram that contradicts itself is refused.
func (d *decoder) eachBucket(which string, b *nativeBuckets, add func(index int32, count float64)) bool {
	var (
		total = max(len(b.deltas), len(b.counts))
		next  int64 // Prometheus's index
		i     int
		whole int64
	)
	for n, s := range b.spans {
		if n > 0 && s.offset < 0 {
			return d.refusePoint(badHistogram, which+"_spans", itoa(int(s.offset)), "must not have negative offsets but the first")
		}
		next += int64(s.offset)
		if int64(s.length) > int64(total-i) {
			return d.refusePoint(badHistogram, which+"_spans", itoa(n+1), "must have as many buckets as there are counts, which are "+itoa(total))
		}
		for range s.length {
			count := 0.0
			if len(b.counts) > 0 {
				count = b.counts[i]
			} else {
				whole += b.deltas[i]
				count = float64(whole)
			}
			if !(count >= 0) {
				return d.refusePoint(badHistogram, which+"_buckets", fmt.Sprint(count), "must not be negative")
			}
			if index := next - 1; index < math.MinInt32 || index >= math.MaxInt32 {
				return d.refusePoint(badHistogram, which+"_spans", fmt.Sprint(next), "must be within 32 bits")
			}
			if count > 0 {
				add(int32(next-1), count)
			}
			next++
			i++
		}
	}
	if i != total {
		return d.refusePoint(badHistogram, which+"_spans", itoa(i), "must have as many buckets as there are counts, which are "+itoa(total))
	}
	return true
}

// customHistogram appends a histogram with bounds of its own as _bucket, _sum and _count.
func (d *decoder) customHistogram(h *native, gauge bool) bool {
	m := &d.metric
	m.numbers = append(m.numbers[:0], h.bounds...)
	ended := isStale(h.sum)
	if !d.checkBounds("custom_values", true) {
		return false
	}
	m.kind = counterSeries
	if gauge {
		m.kind = gaugeSeries
	}
	m.totals = append(m.totals[:0], make([]float64, len(h.bounds)+1)...)
	outside := false
	if !d.eachBucket("positive", &h.positive, func(index int32, count float64) {
		if i := int(index) + 1; i >= 0 && i < len(m.totals) {
			m.totals[i] = count
		} else {
			outside = true
		}
	}) {
		return false
	}
	if outside {
		return d.refusePoint(badHistogram, "positive_spans", "", "must be within the "+itoa(len(h.bounds))+" custom_values")
	}
	total := 0.0
	for i, bound := range h.bounds {
		total += m.totals[i]
		if !d.addBucket(ended, bound, total, m.kind) {
			return false
		}
	}
	if !d.addBucket(ended, math.Inf(1), h.count, m.kind) {
		return false
	}
	return d.addPart(part{suffix: "_sum", kind: m.kind, number: h.sum}) &&
		d.addPart(part{suffix: "_count", kind: m.kind, number: numberOf(ended, h.count)})
}

func (h *native) read(src []byte) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			setCount(&fc, &h.count)
		case 2:
			setDouble(&fc, &h.count)
		case 3:
			setDouble(&fc, &h.sum)
		case 4:
			if v, ok := fc.Sint32(); ok {
				h.schema = v
			}
		case 5:
			setDouble(&fc, &h.zeroThreshold)
		case 6:
			setCount(&fc, &h.zeroCount)
		case 7:
			setDouble(&fc, &h.zeroCount)
		case 8:
			err = h.negative.span(&fc, h.limit)
		case 9:
			h.negative.deltas, err = unpack(h.negative.deltas, &fc, h.limit, fc.UnpackSint64s)
		case 10:
			h.negative.counts, err = unpack(h.negative.counts, &fc, h.limit, fc.UnpackDoubles)
		case 11:
			err = h.positive.span(&fc, h.limit)
		case 12:
			h.positive.deltas, err = unpack(h.positive.deltas, &fc, h.limit, fc.UnpackSint64s)
		case 13:
			h.positive.counts, err = unpack(h.positive.counts, &fc, h.limit, fc.UnpackDoubles)
		case 14:
			setEnum(&fc, &h.hint)
		case 15:
			setInt64(&fc, &h.at)
		case 16:
			h.bounds, err = unpack(h.bounds, &fc, h.limit, fc.UnpackDoubles)
		case 17:
			setInt64(&fc, &h.created)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *nativeBuckets) span(fc *easyproto.FieldContext, limit int) (err error) {
	src, ok := fc.MessageData()
	if !ok {
		return nil
	}
	var (
		in easyproto.FieldContext
		s  bucketSpan
	)
	for len(src) > 0 {
		if src, err = in.NextField(src); err != nil {
			return err
		}
		switch in.FieldNum {
		case 1:
			if v, ok := in.Sint32(); ok {
				s.offset = v
			}
		case 2:
			if v, ok := in.Uint64(); ok {
				s.length = uint32(v)
			}
		}
	}
	if len(b.spans) <= limit {
		b.spans = append(b.spans, s)
	}
	return nil
}

func setCount(fc *easyproto.FieldContext, dst *float64) {
	if v, ok := fc.Uint64(); ok {
		*dst = float64(v)
	}
}
