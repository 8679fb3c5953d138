package collector

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// OTLP's span kinds that mean something here.
const (
	kindServer   = 2
	kindClient   = 3
	kindProducer = 4
	kindConsumer = 5
)

// decodeOptions are the limits and names that decoding needs.
type decodeOptions struct {
	tenantAttributes []string
	tenantLabels     []string // the same of remote-write
	maxFuture        time.Duration
	retention        time.Duration
	maxValue         int // bytes of an attribute's value, a message
	maxName          int // bytes of a name, a route, an attribute's key
	maxAttributes    int // of a span
	maxExpansion     int // bytes of what points share, repeated for each, that one request may come to
	maxLabels        int // bytes of the labels of a series
	maxBuckets       int // of a histogram
	maxPoints        int // of a request, in numbers that they are stored as
}

// decoder turns requests into rows of columns. It is not safe for concurrent use and is reused; while
// it runs its fields alias the request body, and it keeps nothing of it after.
type decoder struct {
	opts decodeOptions
	cols *columns
	out  outcome
	from tenant.Identity

	limits spanLimits

	departed *departed // nil when nobody can be deleted

	oldest, newest uint64 // bounds of a span's start and end, Unix nanoseconds
	expanded       int    // bytes of what metrics' points share, so far

	res        resource
	span       spanFields
	attributes joined // of span
	shapes     shapes
	scratch    []byte

	metric     metricState
	named      *namedSeries // shared by all decoders
	vocabulary *mapped      // the same
}

// resource is what the spans of one ResourceSpans share.
type resource struct {
	product, service, version []byte
	tenant                    owner
	known                     bool // admitService knows its product and service
	versionKnown              bool // admitVersion knows its version

	attributes joined
	key        uint32 // of its attributes in the column resource_attributes, once it is keyed
	keyed      bool
}

// spanFields are the fields of the span being decoded.
type spanFields struct {
	traceID, spanID, parentID []byte
	name, message, exception  []byte
	kind, status              int32
	start, end                uint64
	tenant                    owner
	facts                     facts
}

// decode appends what the request carries to cols. On an error the body is malformed and cols are as they were before;
// after a panic too, for they hold what others have sent.
func (d *decoder) decode(req request, cols *columns, now time.Time) (outcome, error) {
	d.cols, d.out, d.expanded, d.from = cols, outcome{signal: req.signal}, 0, req.from
	d.newest = uint64(now.Add(d.opts.maxFuture).UnixNano())
	d.oldest = uint64(now.Add(-d.opts.retention).UnixNano())
	m, whole := cols.mark(), false
	defer func() {
		if !whole {
			d.limits.end() // so that what it has cost stands in the ledger
			cols.cut(m)
		}
	}()
	d.limits.key = req.from.KeyID
	d.limits.begin(now, &cols.ledger)
	d.shapes.begin()
	if err := req.signal.decode(d, req.body); err != nil {
		return outcome{}, err
	}
	whole = true
	d.limits.end()
	return d.out, nil
}

// traces reads an ExportTraceServiceRequest.
func (d *decoder) traces(src []byte) (err error) {
	var fc easyproto.FieldContext
	for n := 0; len(src) > 0; {
		if src, err = fc.NextField(src); err != nil {
			return fmt.Errorf("resource_spans[%d]: %w", n, err)
		}
		if data, ok := fc.MessageData(); ok && fc.FieldNum == 1 {
			if err := d.resourceSpans(data); err != nil {
				return fmt.Errorf("resource_spans[%d]: %w", n, err)
			}
			n++
		}
	}
	return nil
}

// resourceSpans goes over the message twice: protobuf lets the resource come after its spans.
func (d *decoder) resourceSpans(data []byte) (err error) {
	d.res = resource{attributes: d.res.attributes.reset()}
	var fc easyproto.FieldContext
	for src := data; len(src) > 0; {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		if m, ok := fc.MessageData(); ok && fc.FieldNum == 1 {
			if err := d.resource(m); err != nil {
				return fmt.Errorf("resource: %w", err)
			}
		}
	}
	d.res.product = d.productOf(d.res.product)
	n := 0
	for src := data; len(src) > 0; {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		if m, ok := fc.MessageData(); ok && fc.FieldNum == 2 {
			if err := d.scopeSpans(m); err != nil {
				return fmt.Errorf("scope_spans[%d]: %w", n, err)
			}
			n++
		}
	}
	return nil
}

func (d *decoder) resource(src []byte) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		m, ok := fc.MessageData()
		if !ok || fc.FieldNum != 1 {
			continue
		}
		key, v, err := parseKeyValue(m)
		if err != nil {
			return err
		}
		switch string(key) {
		case "service.name":
			d.res.service = v.str()
		case "service.namespace":
			d.res.product = v.str()
		case "service.version":
			d.res.version = v.str()
		}
		d.res.tenant.learn(d.opts.tenantAttributes, key, &v)
		if err := d.join(&d.res.attributes, key, &v); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) scopeSpans(src []byte) (err error) {
	var fc easyproto.FieldContext
	for n := 0; len(src) > 0; {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		if m, ok := fc.MessageData(); ok && fc.FieldNum == 2 {
			if err := d.oneSpan(m); err != nil {
				return fmt.Errorf("spans[%d]: %w", n, err)
			}
			n++
		}
	}
	return nil
}

// oneSpan appends the span's row when it has seen and checked all of it.
func (d *decoder) oneSpan(src []byte) (err error) {
	s := &d.span
	*s = spanFields{facts: facts{grpcCode: -1}}
	d.attributes = d.attributes.reset()
	size := len(src)
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 1:
			setBytes(&fc, &s.traceID)
		case 2:
			setBytes(&fc, &s.spanID)
		case 4:
			setBytes(&fc, &s.parentID)
		case 5:
			setBytes(&fc, &s.name)
		case 6:
			setEnum(&fc, &s.kind)
		case 7:
			setFixed64(&fc, &s.start)
		case 8:
			setFixed64(&fc, &s.end)
		case 9:
			if data, ok := fc.MessageData(); ok {
				if err := d.attribute(data); err != nil {
					return err
				}
			}
		case 11:
			if data, ok := fc.MessageData(); ok {
				if err := d.event(data); err != nil {
					return fmt.Errorf("events: %w", err)
				}
			}
		case 15:
			if data, ok := fc.MessageData(); ok {
				if err := d.status(data); err != nil {
					return fmt.Errorf("status: %w", err)
				}
			}
		}
	}
	id, ok := d.check()
	if !ok {
		return nil
	}
	if keep, ok := d.admit(id, size); ok {
		d.appendSpan(id, keep)
	}
	return nil
}

func (d *decoder) attribute(data []byte) error {
	key, v, err := parseKeyValue(data)
	if err != nil {
		return err
	}
	s := &d.span
	s.facts.learn(key, &v)
	s.tenant.learn(d.opts.tenantAttributes, key, &v)
	return d.join(&d.attributes, key, &v)
}

// event takes the message of the first event that is an exception.
func (d *decoder) event(src []byte) (err error) {
	var (
		fc      easyproto.FieldContext
		name    []byte
		message []byte
	)
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 2:
			setBytes(&fc, &name)
		case 3:
			data, ok := fc.MessageData()
			if !ok {
				continue
			}
			key, v, err := parseKeyValue(data)
			if err != nil {
				return err
			}
			if string(key) == "exception.message" {
				message = v.str()
			}
		}
	}
	if string(name) == "exception" && d.span.exception == nil {
		d.span.exception = message
	}
	return nil
}

func (d *decoder) status(src []byte) (err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return err
		}
		switch fc.FieldNum {
		case 2:
			setBytes(&fc, &d.span.message)
		case 3:
			setEnum(&fc, &d.span.status)
		}
	}
	return nil
}

// check says whether the span can be stored, and whose it is; if not it counts why.
func (d *decoder) check() (tenant.ID, bool) {
	s := &d.span
	switch {
	case len(s.traceID) != 16 || allZero(s.traceID):
		d.out.reject(badTraceID, func() error {
			return d.fieldError("trace_id", hex.EncodeToString(shorten(s.traceID)), "must be 16 bytes that are not all zero")
		})
		return "", false
	case len(s.spanID) != 8 || allZero(s.spanID):
		d.out.reject(badSpanID, func() error {
			return d.fieldError("span_id", hex.EncodeToString(shorten(s.spanID)), "must be 8 bytes that are not all zero")
		})
		return "", false
	case s.end < s.start:
		d.out.reject(endBeforeStart, func() error {
			return d.fieldError("end_time_unix_nano", nanoTime(s.end), "must not be before the start, which is "+nanoTime(s.start))
		})
		return "", false
	case s.end > d.newest:
		d.out.reject(inFuture, func() error {
			return d.fieldError("end_time_unix_nano", nanoTime(s.end), fmt.Sprintf("must not be more than %s in the future", d.opts.maxFuture))
		})
		return "", false
	case s.start < d.oldest:
		d.out.reject(tooOld, func() error {
			return d.fieldError("start_time_unix_nano", nanoTime(s.start), fmt.Sprintf("must not be older than the retention of %s", d.opts.retention))
		})
		return "", false
	case d.foreign(d.res.product):
		d.rejectForeign(d.res.product)
		return "", false
	}
	v := &s.tenant.value
	if v.kind == valueNone {
		v = &d.res.tenant.value
	}
	d.scratch = d.scratch[:0]
	text := v.data
	if v.kind != valueString {
		d.scratch, _ = v.appendText(d.scratch) // a broken array names no tenant
		text = d.scratch
	}
	id, err := d.tenantOf(text) // lives until the span's row is appended
	if err != nil {
		d.out.reject(badTenantReason(err), func() error { return publicTenantError(err) })
		return "", false
	}
	return id, true
}

func (d *decoder) fieldError(field, got, message string) error {
	return fault.InvalidField(field, got, "%s (span %q of service %q)", message, shorten(d.span.name), shorten(d.res.service))
}

// name clips what becomes a value of a LowCardinality column.
func (d *decoder) name(v []byte) []byte {
	v, cut := clip(v, d.opts.maxName)
	if cut {
		d.out.clipped++
	}
	return v
}

func (d *decoder) text(v []byte) []byte {
	v, cut := clip(v, d.opts.maxValue)
	if cut {
		d.out.clipped++
	}
	return valid(v)
}

func setBytes(fc *easyproto.FieldContext, dst *[]byte) {
	if b, ok := fc.Bytes(); ok {
		*dst = b
	}
}

func setFixed64(fc *easyproto.FieldContext, dst *uint64) {
	if v, ok := fc.Fixed64(); ok {
		*dst = v
	}
}

// setEnum takes the low 32 bits, as protobuf says.
func setEnum(fc *easyproto.FieldContext, dst *int32) {
	if v, ok := fc.Uint64(); ok {
		*dst = int32(uint32(v))
	}
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
