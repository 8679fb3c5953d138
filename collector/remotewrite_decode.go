package collector

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/VictoriaMetrics/easyproto"
)

// seriesFields are where a TimeSeries has what, which differs between the two versions.
type seriesFields struct{ samples, histograms uint32 }

var (
	fields1 = seriesFields{samples: 2, histograms: 4}
	fields2 = seriesFields{samples: 2, histograms: 3}
)

// maxSymbols bounds the symbols of a 2.0 request: far more than Prometheus sends, and little memory.
const maxSymbols = 1 << 20

// The types of 2.0's Metadata.
const (
	typeCounter        = 1
	typeGauge          = 2
	typeHistogram      = 3
	typeGaugeHistogram = 4
	typeSummary        = 5
)

// writeRequest1 reads a prometheus.WriteRequest. Its metadata, which come apart from the series, are not kept.
func (d *decoder) writeRequest1(src []byte) error {
	n := 0
	var fc easyproto.FieldContext
	for rest := src; len(rest) > 0; {
		var err error
		if rest, err = fc.NextField(rest); err != nil {
			return fmt.Errorf("timeseries[%d]: %w", n, err)
		}
		data, ok := fc.MessageData()
		switch {
		case !ok:
		case fc.FieldNum == 1:
			if err := d.timeSeries1(data); err != nil {
				return fmt.Errorf("timeseries[%d]: %w", n, err)
			}
			n++
		case fc.FieldNum == 4 || fc.FieldNum == 5:
			return errors.New("it is a message of version 2.0, whose Content-Type is application/x-protobuf;proto=" + "io.prometheus.write.v2.Request")
		}
	}
	return nil
}

func (d *decoder) timeSeries1(src []byte) error {
	m := &d.metric
	m.shared.reset()
	m.labels.reset()
	err := eachMessage(src, 1, func(data []byte) (err error) {
		var (
			fc easyproto.FieldContext
			l  label
		)
		for len(data) > 0 {
			if data, err = fc.NextField(data); err != nil {
				return fmt.Errorf("labels: %w", err)
			}
			switch fc.FieldNum {
			case 1:
				setBytes(&fc, &l.key)
			case 2:
				setBytes(&fc, &l.value)
			}
		}
		if len(m.labels.labels) <= d.opts.maxAttributes { // more than that is refused
			m.labels.labels = append(m.labels.labels, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.unit = nil
	return d.timeSeries(src, fields1, 0, 0)
}

// writeRequest2 reads an io.prometheus.write.v2.Request. Its symbols may come after its series.
func (d *decoder) writeRequest2(src []byte) (err error) {
	m := &d.metric
	m.symbols = m.symbols[:0]
	defer func() { // they alias the body
		clear(m.symbols)
		if cap(m.symbols) > maxKeptValues {
			m.symbols = nil
		}
	}()
	var fc easyproto.FieldContext
	for rest := src; len(rest) > 0; {
		if rest, err = fc.NextField(rest); err != nil {
			return fmt.Errorf("symbols[%d]: %w", len(m.symbols), err)
		}
		switch data, ok := fc.Bytes(); {
		case !ok:
		case fc.FieldNum == 4:
			if len(m.symbols) == maxSymbols {
				return fmt.Errorf("it has more than %d symbols", maxSymbols)
			}
			m.symbols = append(m.symbols, data)
		case fc.FieldNum >= 1 && fc.FieldNum <= 3:
			return errors.New("it is a message of version 1.0, whose Content-Type is application/x-protobuf")
		}
	}
	if len(m.symbols) > 0 && len(m.symbols[0]) > 0 {
		return fmt.Errorf("symbols[0] is %q: it must be empty", shorten(m.symbols[0]))
	}
	n := 0
	return eachMessage(src, 5, func(data []byte) error {
		if err := d.timeSeries2(data); err != nil {
			return fmt.Errorf("timeseries[%d]: %w", n, err)
		}
		n++
		return nil
	})
}

func (d *decoder) symbol(ref uint64, of string) ([]byte, error) {
	if ref == 0 {
		return nil, nil
	}
	if ref >= uint64(len(d.metric.symbols)) {
		return nil, fmt.Errorf("%s refers to symbol %d of %d", of, ref, len(d.metric.symbols))
	}
	return d.metric.symbols[ref], nil
}

func (d *decoder) timeSeries2(src []byte) (err error) {
	m := &d.metric
	m.shared.reset()
	m.labels.reset()
	m.refs, m.unit = m.refs[:0], nil
	var (
		fc      easyproto.FieldContext
		typed   int32
		created int64
	)
	for rest := src; len(rest) > 0; {
		if rest, err = fc.NextField(rest); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			if m.refs, err = unpack(m.refs, &fc, 2*d.opts.maxAttributes, fc.UnpackUint32s); err != nil {
				return fmt.Errorf("labels_refs: %w", err)
			}
		case 5:
			if data, ok := fc.MessageData(); ok {
				if err := d.metadata(data, &typed); err != nil {
					return fmt.Errorf("metadata: %w", err)
				}
			}
		case 6:
			if v, ok := fc.Int64(); ok {
				created = v
			}
		}
	}
	if len(m.refs)%2 != 0 && len(m.refs) <= 2*d.opts.maxAttributes {
		return fmt.Errorf("labels_refs has %d entries: it must have a name and a value each", len(m.refs))
	}
	for i := 0; i+1 < len(m.refs); i += 2 {
		var l label
		if l.key, err = d.symbol(uint64(m.refs[i]), "the name of a label"); err != nil {
			return err
		}
		if l.value, err = d.symbol(uint64(m.refs[i+1]), "the value of a label"); err != nil {
			return err
		}
		m.labels.labels = append(m.labels.labels, l)
	}
	return d.timeSeries(src, fields2, typed, created)
}

func (d *decoder) metadata(src []byte, typed *int32) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			setEnum(&fc, typed)
		case 4:
			if ref, ok := fc.Uint64(); ok {
				if d.metric.unit, err = d.symbol(ref&math.MaxUint32, "the unit"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// timeSeries reads the points of a series whose labels are in d.metric.labels, as they came. created, and the starts that
// points have of their own, are milliseconds, 0 for unknown.
func (d *decoder) timeSeries(src []byte, at seriesFields, typed int32, created int64) (err error) {
	m := &d.metric
	m.owner, m.sharedHash, m.scope, m.identified = owner{}, 0, nil, false
	why, wrong := d.checkLabels()
	d.seriesOwner()
	m.kind = kindOf(m.name, typed)
	number := m.kind
	d.lookUp("", "_count", "_sum")
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		data, ok := fc.MessageData()
		if !ok || fc.FieldNum != at.samples && fc.FieldNum != at.histograms {
			continue
		}
		mark := d.cols.metric.mark()
		m.kind = number
		if fc.FieldNum == at.samples {
			ok, err = d.sample(data, created, wrong == nil)
		} else {
			ok, err = d.nativeHistogram(data, created, wrong == nil)
		}
		switch {
		case err != nil:
			return err
		case wrong != nil:
			d.out.reject(why, wrong)
		case !ok || !d.admitPoint(mark):
			d.cols.metric.cut(mark)
		default:
			d.out.accepted++
			if fc.FieldNum == at.samples {
				d.out.samples++
			} else {
				d.out.histograms++
			}
		}
	}
	return nil
}

// checkLabels checks the labels of a series and takes the metric's name from them. wrong says what is wrong, if
// anything is; then no point of the series can be stored.
func (d *decoder) checkLabels() (why reason, wrong func() error) {
	m := &d.metric
	m.name = nil
	refuse := func(why reason, field, got, message string) (reason, func() error) {
		return why, func() error { return d.pointError(field, got, message) }
	}
	if len(m.labels.labels) > d.opts.maxAttributes {
		return refuse(badLabels, "labels", "", "must not be more than "+itoa(d.opts.maxAttributes))
	}
	if size := m.labels.size(); size > d.opts.maxLabels { // one symbol may be the value of many
		return refuse(badLabels, "labels", "", "must not have more than "+itoa(d.opts.maxLabels)+" bytes together, they have "+itoa(size))
	}
	named := -1
	for i, l := range m.labels.labels {
		switch {
		case len(l.key) == 0:
			return refuse(badLabels, "labels", "", "must have names")
		case len(l.value) == 0:
			return refuse(badLabels, string(shorten(l.key)), "", "must not be empty: leave the label out")
		case i > 0 && bytes.Equal(m.labels.labels[i-1].key, l.key):
			return refuse(badLabels, string(shorten(l.key)), string(shorten(l.value)), "must not be there twice")
		case i > 0 && bytes.Compare(m.labels.labels[i-1].key, l.key) > 0:
			return refuse(badLabels, string(shorten(l.key)), string(shorten(l.value)), "must come before "+string(shorten(m.labels.labels[i-1].key))+": labels are sorted")
		}
		if string(l.key) == "__name__" {
			m.name, named = valid(d.name(l.value)), i
			continue
		}
		m.labels.labels[i] = label{valid(d.name(l.key)), d.text(l.value)}
	}
	if named < 0 {
		return refuse(badName, "__name__", "", "must be there")
	}
	m.labels.labels = append(m.labels.labels[:named], m.labels.labels[named+1:]...)
	return 0, nil
}

// kindOf returns the kind of a series, by its type when the sender tells it, else by its name.
func kindOf(name []byte, typed int32) seriesKind {
	n := viewString(name)
	part := strings.HasSuffix(n, "_count") || strings.HasSuffix(n, "_sum") || strings.HasSuffix(n, "_bucket")
	switch typed {
	case typeCounter:
		return counterSeries
	case typeGauge, typeGaugeHistogram:
		return gaugeSeries
	case typeHistogram, typeSummary:
		if part {
			return counterSeries
		}
		return gaugeSeries
	}
	if part || strings.HasSuffix(n, "_total") {
		return counterSeries
	}
	return gaugeSeries
}

// sample reads a Sample. Without store it is only read.
func (d *decoder) sample(src []byte, created int64, store bool) (ok bool, err error) {
	var (
		fc     easyproto.FieldContext
		number float64
		at     int64
	)
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return false, fmt.Errorf("samples: %w", err)
		}
		switch fc.FieldNum {
		case 1:
			setDouble(&fc, &number)
		case 2:
			setInt64(&fc, &at)
		case 3:
			setInt64(&fc, &created)
		}
	}
	if !store || !d.settleAt(at, created) {
		return false, nil
	}
	return d.addPart(part{kind: d.metric.kind, number: number}), nil
}

// settleAt settles the point, whose times are in milliseconds.
func (d *decoder) settleAt(at, created int64) bool {
	d.metric.ts, d.metric.started = nanos(at), nanos(max(0, created))
	return d.settle()
}

// nanos turns milliseconds into nanoseconds. What is before 1970 is as old as can be, what cannot be said as late.
func nanos(ms int64) uint64 {
	switch {
	case ms == 0:
		return 0
	case ms < 0:
		return 1
	case ms > math.MaxInt64/int64(time.Millisecond):
		return math.MaxUint64
	}
	return uint64(ms) * uint64(time.Millisecond)
}

func setInt64(fc *easyproto.FieldContext, dst *int64) {
	if v, ok := fc.Int64(); ok {
		*dst = v
	}
}
