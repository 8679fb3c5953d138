package collector

import (
	"time"
	"unsafe"

	"github.com/nexis-limited/headroom/tenant"
)

const minuteNanos = uint64(time.Minute)

// appendSpan appends the checked span of d to trace_spans, if it is to be kept, and to requests or load_1m when it is one.
func (d *decoder) appendSpan(id tenant.ID, keep bool) {
	s, r := &d.span, &d.res
	var (
		owner    = viewBytes(string(id))
		duration = s.end - s.start
		isError  = boolean(s.facts.isError(s.status))
		product  = d.name(r.product)
		service  = d.name(r.service)
		version  = d.name(r.version)
		name     = d.name(s.name)
		route    = d.name(s.facts.httpRoute)
	)
	if !r.known {
		product, service, r.known = d.admitService(id, product, service)
	}
	if s.kind == kindServer || s.kind == kindConsumer {
		// The tenant may lie in d.scratch, so the route is built behind it.
		start := len(d.scratch)
		d.scratch = s.facts.route(d.scratch, s.name)
		route = d.name(d.scratch[start:])
		q := &d.cols.requests
		q.ts.Append(int64(s.end))
		q.product.append(product)
		q.tenant.append(owner)
		q.service.append(service)
		q.route.append(d.admitRoute(id, product, service, route))
		q.method.append(d.name(s.facts.httpMethod))
		counted := version
		if !r.versionKnown {
			counted, r.versionKnown = d.admitVersion(id, product, service, version)
		}
		q.version.append(counted)
		q.status.Append(uint16(s.facts.httpStatus))
		q.error.Append(isError)
		q.duration.Append(duration)
	}
	if s.kind == kindClient || s.kind == kindProducer {
		if kind, system := s.facts.load(); kind != "" {
			start := len(d.scratch)
			d.scratch = s.facts.instance(d.scratch, kind, system)
			l := &d.cols.load
			l.system.append(viewBytes(kind))
			l.instance.append(d.admitInstance(id, viewBytes(kind), d.name(d.scratch[start:])))
			l.tenant.append(owner)
			l.service.append(service)
			l.product.append(product)
			l.minute.Append(uint32(s.end / minuteNanos * 60))
			l.calls.Append(1)
			l.errors.Append(uint64(isError))
			l.busy.Append(duration)
		}
	}
	d.out.accepted++
	if !keep {
		return
	}
	c := &d.cols.spans
	c.ts.Append(int64(s.start))
	c.traceID.append(s.traceID)
	c.spanID.append(s.spanID)
	c.parentID.append(parentOf(s.parentID))
	c.product.append(product)
	c.tenant.append(owner)
	c.service.append(service)
	c.version.append(version)
	c.name.append(name)
	c.kind.Append(kindNumber(s.kind))
	c.route.append(route)
	c.status.Append(uint16(s.facts.httpStatus))
	c.error.Append(isError)
	c.duration.Append(duration)
	c.message.append(d.text(s.message))
	c.exception.append(d.text(s.exception))
	c.attributeKeys.keys = append(c.attributeKeys.keys, d.keyAttributes(&c.attributeKeys))
	c.attributeValues.append(d.attributes.values)
	if !r.keyed {
		r.key, r.keyed = c.resource.keyOf(d.resourceText()), true
	}
	c.resource.keys = append(c.resource.keys, r.key)
}

var noParent [8]byte

// parentOf returns a parent id of 8 bytes: zeros for a root, and for an id of another length, which can name no span.
func parentOf(id []byte) []byte {
	if len(id) != len(noParent) {
		return noParent[:]
	}
	return id
}

// kindNumber returns OTLP's number of the kind, 0 for numbers that OTLP does not have.
func kindNumber(kind int32) uint8 {
	if kind < 0 || kind > kindConsumer {
		return 0
	}
	return uint8(kind)
}

func boolean(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// viewString returns b as a string without a copy: it holds only while b is not changed.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// viewBytes returns s as bytes without a copy: nobody may write to them.
func viewBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
