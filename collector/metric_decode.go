package collector

import (
	"errors"
	"fmt"
	"math"

	"github.com/VictoriaMetrics/easyproto"
)

// OTLP's aggregation temporalities.
const (
	temporalityDelta      = 1
	temporalityCumulative = 2
)

// OTLP's numbers of what a Metric holds.
const (
	otlpGauge       = 5
	otlpSum         = 7
	otlpHistogram   = 9
	otlpExponential = 10
	otlpSummary     = 11
)

// flagNoValue is OTLP's FLAG_NO_RECORDED_VALUE: the series ended.
const flagNoValue = 1

var errPacked = errors.New("malformed packed field")

// points reads an ExportMetricsServiceRequest.
func (d *decoder) points(src []byte) error {
	n := 0
	return eachMessage(src, 1, func(data []byte) error {
		if err := d.resourceMetrics(data); err != nil {
			return fmt.Errorf("resource_metrics[%d]: %w", n, err)
		}
		n++
		return nil
	})
}

// eachMessage calls f for each message in the field.
func eachMessage(src []byte, field uint32, f func(data []byte) error) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		if data, ok := fc.MessageData(); ok && fc.FieldNum == field {
			if err := f(data); err != nil {
				return err
			}
		}
	}
	return nil
}

// resourceMetrics goes over the message twice: protobuf lets the resource come after its metrics.
func (d *decoder) resourceMetrics(data []byte) error {
	m := &d.metric
	m.shared.reset()
	m.from, m.owner = origin{}, owner{}
	if err := eachMessage(data, 1, d.metricResource); err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	m.share()
	n := 0
	return eachMessage(data, 2, func(data []byte) error {
		if err := d.scopeMetrics(data); err != nil {
			return fmt.Errorf("scope_metrics[%d]: %w", n, err)
		}
		n++
		return nil
	})
}

func (d *decoder) metricResource(src []byte) error {
	m := &d.metric
	return eachMessage(src, 1, func(data []byte) error {
		key, v, err := parseKeyValue(data)
		if err != nil {
			return err
		}
		switch string(key) {
		case "service.name":
			m.from.service = v.str()
		case "service.namespace":
			m.from.product = v.str()
		}
		m.owner.learn(d.opts.tenantAttributes, key, &v)
		return d.addLabel(&m.shared, key, &v)
	})
}

// addLabel makes a label of an attribute. One without a value is none.
func (d *decoder) addLabel(s *labelSet, key []byte, v *value) error {
	if v.kind == valueNone || v.kind == valueString && len(v.data) == 0 {
		return nil
	}
	if len(s.labels) >= d.opts.maxAttributes {
		d.out.clipped++
		return nil
	}
	text := v.data
	if v.kind != valueString {
		at := len(s.buf)
		var err error
		if s.buf, err = v.appendText(s.buf); err != nil {
			return fmt.Errorf("cannot read the value of an attribute: %w", err)
		}
		text = s.buf[at:len(s.buf):len(s.buf)]
	}
	s.labels = append(s.labels, label{valid(d.name(key)), d.text(text)})
	return nil
}

func (d *decoder) scopeMetrics(data []byte) error {
	m := &d.metric
	var scope []byte
	err := eachMessage(data, 1, func(src []byte) (err error) {
		var fc easyproto.FieldContext
		for len(src) > 0 {
			if src, err = fc.NextField(src); err != nil {
				return fmt.Errorf("scope: %w", err)
			}
			if fc.FieldNum == 1 {
				setBytes(&fc, &scope)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.scope = d.text(scope)
	n := 0
	return eachMessage(data, 2, func(data []byte) error {
		if err := d.oneMetric(data); err != nil {
			return fmt.Errorf("metrics[%d] %q: %w", n, shorten(m.name), err)
		}
		n++
		return nil
	})
}

// oneMetric reads a Metric. Its name may come after its points, and of several kinds of points the last counts.
func (d *decoder) oneMetric(data []byte) (err error) {
	m := &d.metric
	m.name, m.unit = nil, nil
	var (
		fc                    easyproto.FieldContext
		kind                  uint32 // of what it holds
		points                []byte // from where on it holds that
		temporality, monotone int32
	)
	for src := data; len(src) > 0; {
		before := src
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			setBytes(&fc, &m.name)
		case 3:
			setBytes(&fc, &m.unit)
		case otlpGauge, otlpSum, otlpHistogram, otlpExponential, otlpSummary:
			holds, ok := fc.MessageData()
			if !ok {
				continue
			}
			if kind != fc.FieldNum {
				kind, points, temporality, monotone = fc.FieldNum, before, 0, 0
			}
			if err := aggregation(holds, &temporality, &monotone); err != nil {
				return err
			}
		}
	}
	m.name, m.unit = valid(d.name(m.name)), d.name(m.unit)
	decode, known := d.pointsOf(kind, temporality, monotone != 0)
	return eachMessage(points, kind, func(holds []byte) error {
		n := 0
		return eachMessage(holds, 1, func(data []byte) error {
			m.labels.reset()
			m.pointOwner, m.ts, m.started, m.identified = owner{}, 0, 0, false
			mark := d.cols.metric.mark()
			ok, err := decode(data)
			if err != nil {
				return fmt.Errorf("data_points[%d]: %w", n, err)
			}
			n++
			switch {
			case !ok:
				d.cols.metric.cut(mark)
			case !known:
				d.cols.metric.cut(mark)
				d.refusePoint(badTemporality, "aggregation_temporality", itoa(int(temporality)), "must be 1 (delta) or 2 (cumulative)")
			case !d.admitPoint(mark):
				d.cols.metric.cut(mark)
			default:
				d.out.accepted++
			}
			return nil
		})
	})
}

// pointsOf returns what reads the points of a kind, and sets the kind of their series. known says whether the
// temporality is.
func (d *decoder) pointsOf(kind uint32, temporality int32, monotone bool) (decode func(src []byte) (bool, error), known bool) {
	m := &d.metric
	delta := temporality == temporalityDelta
	known = delta || temporality == temporalityCumulative
	m.kind = gaugeSeries
	counts := counterSeries
	if delta {
		counts = deltaSeries
	}
	suffixes := []string{"_count", "_sum"}
	switch kind {
	case otlpGauge:
		decode, known, suffixes = d.numberPoint, true, []string{""}
	case otlpSum:
		decode, suffixes = d.numberPoint, []string{""}
		switch {
		case delta && monotone:
			m.kind = deltaSeries
		case delta:
			m.kind = upDownDeltaSeries
		case monotone:
			m.kind = counterSeries
		default:
			m.kind = upDownSeries
		}
	case otlpHistogram:
		decode, m.kind = d.explicitPoint, counts
	case otlpExponential:
		decode, m.kind = d.exponentialPoint, histogramSeries
		if delta {
			m.kind = deltaHistogramSeries
		}
	case otlpSummary:
		decode, known, m.kind = d.summaryPoint, true, counterSeries
	}
	d.lookUp(suffixes...)
	return decode, known
}

// lookUp finds out whether the vocabulary knows the metric, with any of the suffixes.
func (d *decoder) lookUp(suffixes ...string) {
	d.metric.mappings = false
	for _, s := range suffixes {
		if len(d.vocabulary.byMetric[string(d.partName(s))]) > 0 {
			d.metric.mappings = true
		}
	}
}

// aggregation reads the fields that Sum, Histogram and ExponentialHistogram share.
func aggregation(src []byte, temporality, monotone *int32) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 2:
			setEnum(&fc, temporality)
		case 3:
			if v, ok := fc.Uint64(); ok {
				*monotone = 0
				if v != 0 {
					*monotone = 1
				}
			}
		}
	}
	return nil
}

// pointField takes what all kinds of points have. attributes is the number of their field.
func (d *decoder) pointField(fc *easyproto.FieldContext, attributes uint32) error {
	m := &d.metric
	switch fc.FieldNum {
	case attributes:
		data, ok := fc.MessageData()
		if !ok {
			return nil
		}
		key, v, err := parseKeyValue(data)
		if err != nil {
			return err
		}
		m.pointOwner.learn(d.opts.tenantAttributes, key, &v)
		return d.addLabel(&m.labels, key, &v)
	case 2:
		setFixed64(fc, &m.started)
	case 3:
		setFixed64(fc, &m.ts)
	}
	return nil
}

// numberPoint reads a NumberDataPoint, of a gauge or a sum.
func (d *decoder) numberPoint(src []byte) (ok bool, err error) {
	var (
		fc     easyproto.FieldContext
		number = math.NaN()
		has    bool
		flags  uint64
	)
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return false, err
		}
		switch fc.FieldNum {
		case 4:
			if v, ok := fc.Double(); ok {
				number, has = v, true
			}
		case 6:
			if v, ok := fc.Sfixed64(); ok {
				number, has = float64(v), true
			}
		case 8:
			if v, ok := fc.Uint64(); ok {
				flags = v
			}
		default:
			if err := d.pointField(&fc, 7); err != nil {
				return false, err
			}
		}
	}
	if !d.settle() {
		return false, nil
	}
	switch {
	case flags&flagNoValue != 0:
		number = math.Float64frombits(staleBits)
	case !has:
		return d.refusePoint(noValue, "value", "", "must be set, or the flag that says that there is none"), nil
	}
	return d.addPart(part{kind: d.metric.kind, number: number}), nil
}
