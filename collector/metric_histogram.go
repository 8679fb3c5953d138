package collector

import (
	"math"
	"strconv"

	"github.com/VictoriaMetrics/easyproto"
)

// The scales that OpenTelemetry's exponential histograms may have.
const (
	minScale = -10
	maxScale = 20
)

// distribution is what points of histograms and summaries have in common. What is not known is NaN.
type distribution struct {
	count         uint64
	sum, min, max float64
	flags         uint64
	countParts    seriesKind // of _count, _sum and _bucket
}

func newDistribution(kind seriesKind) distribution {
	return distribution{sum: math.NaN(), min: math.NaN(), max: math.NaN(), countParts: kind}
}

func (d *distribution) ended() bool { return d.flags&flagNoValue != 0 }

// unpack reads a packed field of counts or bounds. A field of another wire type is not the field. Of more than limit it
// returns some that are too many still, and does not take the memory for all.
func unpack[T any](dst []T, fc *easyproto.FieldContext, limit int, read func([]T) ([]T, bool)) ([]T, error) {
	const longest = 10 // bytes of a number
	raw, packed := fc.Bytes()
	if len(dst) > limit {
		return dst, nil
	}
	if len(raw) > longest*(limit+1) {
		return append(dst, make([]T, limit+1)...), nil
	}
	got, ok := read(dst)
	switch {
	case ok:
		return got, nil
	case packed:
		return dst, errPacked
	}
	return dst, nil
}

// explicitPoint reads a HistogramDataPoint. It becomes what Prometheus makes of a histogram: _bucket with the bucket's
// upper bound in le, counting all below it too, _sum and _count.
func (d *decoder) explicitPoint(src []byte) (ok bool, err error) {
	m := &d.metric
	var (
		fc = easyproto.FieldContext{}
		h  = newDistribution(m.kind)
	)
	m.counts, m.numbers = m.counts[:0], m.numbers[:0]
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return false, err
		}
		switch fc.FieldNum {
		case 4:
			setFixed64(&fc, &h.count)
		case 5:
			setDouble(&fc, &h.sum)
		case 6:
			if m.counts, err = unpack(m.counts, &fc, d.opts.maxBuckets+1, fc.UnpackFixed64s); err != nil {
				return false, err
			}
		case 7:
			if m.numbers, err = unpack(m.numbers, &fc, d.opts.maxBuckets, fc.UnpackDoubles); err != nil {
				return false, err
			}
		case 10:
			setUint64(&fc, &h.flags)
		default:
			if err := d.pointField(&fc, 9); err != nil {
				return false, err
			}
		}
	}
	if !d.settle() || !d.checkBounds("explicit_bounds", h.ended()) {
		return false, nil
	}
	total := uint64(0)
	for i, bound := range m.numbers {
		if !h.ended() {
			total += m.counts[i]
		}
		if !d.addBucket(h.ended(), bound, float64(total), m.kind) {
			return false, nil
		}
	}
	if (len(m.numbers) > 0 || len(m.counts) > 0) && !d.addBucket(h.ended(), math.Inf(1), float64(h.count), m.kind) {
		return false, nil
	}
	return d.addSums(&h), nil
}

// checkBounds checks the bounds and counts of an explicit histogram.
func (d *decoder) checkBounds(field string, ended bool) bool {
	m := &d.metric
	switch {
	case len(m.numbers) > d.opts.maxBuckets:
		return d.refusePoint(badHistogram, field, itoa(len(m.numbers)), "must not be more than "+itoa(d.opts.maxBuckets))
	case !ended && len(m.counts) != len(m.numbers)+1 && (len(m.counts) > 0 || len(m.numbers) > 0):
		return d.refusePoint(badHistogram, "bucket_counts", itoa(len(m.counts)), "must be one more than the "+itoa(len(m.numbers))+" bounds")
	}
	for i, b := range m.numbers {
		if math.IsNaN(b) || math.IsInf(b, 0) || i > 0 && b <= m.numbers[i-1] {
			return d.refusePoint(badHistogram, field, strconv.FormatFloat(b, 'g', -1, 64), "must be finite and increase")
		}
	}
	return true
}

func (d *decoder) addBucket(ended bool, bound float64, count float64, kind seriesKind) bool {
	if math.IsInf(bound, 1) {
		return d.addPart(part{suffix: "_bucket", key: "le", value: "+Inf", kind: kind, number: numberOf(ended, count)})
	}
	m := &d.metric
	m.text = strconv.AppendFloat(m.text[:0], bound, 'f', -1, 64)
	return d.addPart(part{suffix: "_bucket", key: "le", value: viewString(m.text), kind: kind, number: numberOf(ended, count)})
}

// addSums appends the _sum, if it is known, and _count of a point.
func (d *decoder) addSums(h *distribution) bool {
	if !math.IsNaN(h.sum) || h.ended() {
		if !d.addPart(part{suffix: "_sum", kind: h.countParts, number: numberOf(h.ended(), h.sum)}) {
			return false
		}
	}
	return d.addPart(part{suffix: "_count", kind: h.countParts, number: numberOf(h.ended(), float64(h.count))})
}

func numberOf(ended bool, v float64) float64 {
	if ended {
		return math.Float64frombits(staleBits)
	}
	return v
}

// summaryPoint reads a SummaryDataPoint. It becomes the metric with the quantile in a label, _sum and _count.
func (d *decoder) summaryPoint(src []byte) (ok bool, err error) {
	m := &d.metric
	var (
		fc = easyproto.FieldContext{}
		h  = newDistribution(counterSeries)
	)
	h.sum = 0
	m.numbers = m.numbers[:0] // quantile and value by turns
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return false, err
		}
		switch fc.FieldNum {
		case 4:
			setFixed64(&fc, &h.count)
		case 5:
			setDouble(&fc, &h.sum)
		case 6:
			data, ok := fc.MessageData()
			if !ok {
				continue
			}
			var quantile, value float64
			var in easyproto.FieldContext
			for len(data) > 0 {
				if data, err = in.NextField(data); err != nil {
					return false, err
				}
				switch in.FieldNum {
				case 1:
					setDouble(&in, &quantile)
				case 2:
					setDouble(&in, &value)
				}
			}
			if len(m.numbers)/2 <= d.opts.maxBuckets {
				m.numbers = append(m.numbers, quantile, value)
			}
		case 8:
			setUint64(&fc, &h.flags)
		default:
			if err := d.pointField(&fc, 7); err != nil {
				return false, err
			}
		}
	}
	if !d.settle() {
		return false, nil
	}
	if len(m.numbers)/2 > d.opts.maxBuckets {
		return d.refusePoint(badHistogram, "quantile_values", itoa(len(m.numbers)/2), "must not be more than "+itoa(d.opts.maxBuckets)), nil
	}
	for i := 0; i < len(m.numbers); i += 2 {
		m.text = strconv.AppendFloat(m.text[:0], m.numbers[i], 'f', -1, 64)
		p := part{key: "quantile", value: viewString(m.text), kind: gaugeSeries, number: numberOf(h.ended(), m.numbers[i+1])}
		if !d.addPart(p) {
			return false, nil
		}
	}
	return d.addSums(&h), nil
}

// exponentialPoint reads an ExponentialHistogramDataPoint. It stays what it is, in metric_histograms.
func (d *decoder) exponentialPoint(src []byte) (ok bool, err error) {
	m := &d.metric
	var (
		fc                           = easyproto.FieldContext{}
		dist                         = newDistribution(counterSeries)
		scale                        int64
		zeroCount                    uint64
		threshold                    float64
		mark                         = d.cols.metric.mark()
		h                            = &d.cols.metric.histograms
		positive, negative           int // buckets
		positiveStart, negativeStart = int32(0), int32(0)
	)
	m.counts = m.counts[:0]
	below := m.below[:0]
	defer func() { m.below = below }()
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return false, err
		}
		switch fc.FieldNum {
		case 4:
			setFixed64(&fc, &dist.count)
		case 5:
			setDouble(&fc, &dist.sum)
		case 6:
			if v, ok := fc.Sint32(); ok {
				scale = int64(v)
			}
		case 7:
			setFixed64(&fc, &zeroCount)
		case 8:
			if data, ok := fc.MessageData(); ok {
				if m.counts, err = otlpBuckets(m.counts, data, d.opts.maxBuckets, &positiveStart); err != nil {
					return false, err
				}
			}
		case 9:
			if data, ok := fc.MessageData(); ok {
				if below, err = otlpBuckets(below, data, d.opts.maxBuckets, &negativeStart); err != nil {
					return false, err
				}
			}
		case 10:
			setUint64(&fc, &dist.flags)
		case 12:
			setDouble(&fc, &dist.min)
		case 13:
			setDouble(&fc, &dist.max)
		case 14:
			setDouble(&fc, &threshold)
		default:
			if err := d.pointField(&fc, 1); err != nil {
				return false, err
			}
		}
	}
	positive, negative = len(m.counts), len(below)
	switch {
	case !d.settle():
		return false, nil
	case scale < minScale || scale > maxScale:
		return d.refusePoint(badHistogram, "scale", itoa(int(scale)), "must be from -10 to 20"), nil
	case max(positive, negative) > d.opts.maxBuckets:
		return d.refusePoint(badHistogram, "bucket_counts", itoa(max(positive, negative)), "must not be more than "+itoa(d.opts.maxBuckets)), nil
	case int64(positiveStart)+int64(positive) > math.MaxInt32 || int64(negativeStart)+int64(negative) > math.MaxInt32:
		return d.refusePoint(badHistogram, "offset", itoa(int(max(positiveStart, negativeStart))), "is too large for so many buckets"), nil
	}
	for i, n := range m.counts {
		if n > 0 {
			h.positive.append(positiveStart+int32(i), float64(n))
		}
	}
	for i, n := range below {
		if n > 0 {
			h.negative.append(negativeStart+int32(i), float64(n))
		}
	}
	row := histogramRow{count: float64(dist.count), sum: dist.sum, min: dist.min, max: dist.max, scale: int32(scale),
		zeroThreshold: threshold, zeroCount: float64(zeroCount)}
	if dist.ended() {
		row.sum = math.Float64frombits(staleBits)
	}
	if !d.addHistogram(row) {
		d.cols.metric.cut(mark)
		return false, nil
	}
	return true, nil
}

// otlpBuckets reads the Buckets of an exponential histogram.
func otlpBuckets(dst []uint64, src []byte, limit int, start *int32) (_ []uint64, err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return dst, err
		}
		switch fc.FieldNum {
		case 1:
			if v, ok := fc.Sint32(); ok {
				*start = v
			}
		case 2:
			if dst, err = unpack(dst, &fc, limit, fc.UnpackUint64s); err != nil {
				return dst, err
			}
		}
	}
	return dst, nil
}

// histogramRow is a row of metric_histograms without its buckets.
type histogramRow struct {
	count, sum, min, max     float64
	scale                    int32
	zeroThreshold, zeroCount float64
}

// addHistogram appends the point to metric_histograms, after its buckets were, and its sum and count to
// resource_points when the vocabulary has them.
func (d *decoder) addHistogram(r histogramRow) bool {
	m := &d.metric
	h := &d.cols.metric.histograms
	series, ok := d.series("", "", "", m.kind)
	if !ok {
		return false
	}
	h.metric.append(m.name)
	h.series.Append(series)
	h.ts.Append(millis(m.ts))
	h.started.Append(millis(m.started))
	h.count.Append(r.count)
	h.sum.Append(r.sum)
	h.min.Append(r.min)
	h.max.Append(r.max)
	h.scale.Append(r.scale)
	h.zeroThreshold.Append(r.zeroThreshold)
	h.zeroCount.Append(r.zeroCount)
	h.positive.endRow()
	h.negative.endRow()
	h.product.append(m.product)
	h.tenant.append(m.tenant)
	kind := counterSeries
	if m.kind == deltaHistogramSeries {
		kind = deltaSeries
	}
	if !isStale(r.sum) && m.kind != gaugeHistogramSeries {
		d.addResource(series, part{suffix: "_sum", kind: kind, number: r.sum})
		d.addResource(series, part{suffix: "_count", kind: kind, number: r.count})
	}
	return true
}

func setDouble(fc *easyproto.FieldContext, dst *float64) {
	if v, ok := fc.Double(); ok {
		*dst = v
	}
}

func setUint64(fc *easyproto.FieldContext, dst *uint64) {
	if v, ok := fc.Uint64(); ok {
		*dst = v
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
