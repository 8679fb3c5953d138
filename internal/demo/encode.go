package demo

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of opentelemetry.proto.trace.v1 and its parts, those that the demo writes.
const (
	requestResourceSpans protowire.Number = 1

	resourceSpansResource protowire.Number = 1
	resourceSpansScope    protowire.Number = 2
	resourceAttributes    protowire.Number = 1

	scopeSpansScope protowire.Number = 1
	scopeSpansSpans protowire.Number = 2
	scopeName       protowire.Number = 1

	spanTrace      protowire.Number = 1
	spanID         protowire.Number = 2
	spanParent     protowire.Number = 4
	spanName       protowire.Number = 5
	spanKind       protowire.Number = 6
	spanStart      protowire.Number = 7
	spanEnd        protowire.Number = 8
	spanAttributes protowire.Number = 9
	spanEvents     protowire.Number = 11
	spanStatus     protowire.Number = 15

	eventTime       protowire.Number = 1
	eventName       protowire.Number = 2
	eventAttributes protowire.Number = 3

	statusMessage protowire.Number = 2
	statusCode    protowire.Number = 3

	keyValueKey   protowire.Number = 1
	keyValueValue protowire.Number = 2
	anyString     protowire.Number = 1
	anyInt        protowire.Number = 3
)

const (
	statusError = 2
	grpcOK      = 0
	grpcUnavail = 14
)

// Encoder turns spans into bodies of OTLP requests. It keeps its buffers: one goroutine at a time.
type Encoder struct {
	groups  map[source]*group
	order   []*group
	scratch []byte
	event   []byte
}

// source is what a resource stands for: one running program.
type source struct {
	service *Service
	version string
	pod     uint8
}

// group holds the spans of one resource, encoded as fields of its ScopeSpans.
type group struct {
	source   source
	resource []byte
	scope    []byte
	spans    []byte
}

// Encode appends an ExportTraceServiceRequest with the spans to dst, with one ResourceSpans for each program in the order
// in which they first appear.
func (e *Encoder) Encode(dst []byte, spans []Span) []byte {
	if e.groups == nil {
		e.groups = map[source]*group{}
	}
	for _, g := range e.order {
		g.spans = g.spans[:0]
	}
	e.order = e.order[:0]
	for i := range spans {
		s := &spans[i]
		g := e.group(source{service: s.Op.Service, version: s.Version, pod: s.Pod})
		if len(g.spans) == 0 {
			e.order = append(e.order, g)
		}
		e.scratch = e.appendSpan(e.scratch[:0], s)
		g.spans = appendBytes(g.spans, scopeSpansSpans, e.scratch)
	}
	for _, g := range e.order {
		scopeSpans := len(g.scope) + len(g.spans)
		size := len(g.resource) + protowire.SizeTag(resourceSpansScope) + protowire.SizeBytes(scopeSpans)
		dst = protowire.AppendTag(dst, requestResourceSpans, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		dst = append(dst, g.resource...)
		dst = protowire.AppendTag(dst, resourceSpansScope, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(scopeSpans))
		dst = append(dst, g.scope...)
		dst = append(dst, g.spans...)
	}
	return dst
}

func (e *Encoder) group(src source) *group {
	g := e.groups[src]
	if g == nil {
		var resource []byte
		for _, a := range src.attributes() {
			resource = appendAttr(resource, resourceAttributes, a)
		}
		scope := appendString(nil, scopeName, "io.opentelemetry.instrumentation."+src.service.Runtime)
		g = &group{source: src,
			resource: appendBytes(nil, resourceSpansResource, resource),
			scope:    appendBytes(nil, scopeSpansScope, scope)}
		e.groups[src] = g
	}
	return g
}

// attributes are the attributes of the program's resource.
func (s source) attributes() []Attr {
	return []Attr{
		{Key: "service.name", Text: s.service.Name},
		{Key: "service.namespace", Text: s.service.Product.Name},
		{Key: "service.version", Text: s.version},
		{Key: "service.instance.id", Text: fmt.Sprintf("%s-%d", s.service.Name, s.pod)},
		{Key: "deployment.environment.name", Text: "production"},
		{Key: "cloud.region", Text: "eu-central-1"},
		{Key: "telemetry.sdk.name", Text: "opentelemetry"},
		{Key: "telemetry.sdk.language", Text: s.service.Runtime},
	}
}

func (e *Encoder) appendSpan(dst []byte, s *Span) []byte {
	dst = appendBytes(dst, spanTrace, s.Trace[:])
	dst = appendBytes(dst, spanID, s.ID[:])
	if s.Parent != [8]byte{} {
		dst = appendBytes(dst, spanParent, s.Parent[:])
	}
	dst = appendString(dst, spanName, s.Op.Name)
	dst = appendVarint(dst, spanKind, uint64(s.Op.Kind))
	dst = appendFixed64(dst, spanStart, uint64(s.Start))
	dst = appendFixed64(dst, spanEnd, uint64(s.End))
	dst = append(dst, s.Op.attrs...)
	dst = append(dst, s.Tenant.attr...)
	for _, a := range s.outcome() {
		if a.Key != "" {
			dst = appendAttr(dst, spanAttributes, a)
		}
	}
	if s.Failure == nil {
		return dst
	}
	if s.Op.entry() {
		e.event = appendFixed64(e.event[:0], eventTime, uint64(s.End))
		e.event = appendString(e.event, eventName, "exception")
		e.event = appendAttr(e.event, eventAttributes, Attr{Key: "exception.type", Text: s.Failure.Type})
		e.event = appendAttr(e.event, eventAttributes, Attr{Key: "exception.message", Text: s.Failure.Message})
		dst = appendBytes(dst, spanEvents, e.event)
	}
	e.event = appendString(e.event[:0], statusMessage, s.Failure.Message)
	e.event = appendVarint(e.event, statusCode, statusError)
	return appendBytes(dst, spanStatus, e.event)
}

// outcome returns the attributes that tell how the span ended; those without a key are not there.
func (s *Span) outcome() (a [2]Attr) {
	switch {
	case s.Op.HTTP:
		a[0] = Attr{Key: "http.response.status_code", Number: int64(s.Status)}
	case s.Op.RPC && s.Failure != nil:
		a[0] = Attr{Key: "rpc.grpc.status_code", Number: grpcUnavail}
	case s.Op.RPC:
		a[0] = Attr{Key: "rpc.grpc.status_code", Number: grpcOK}
	}
	if s.Failure != nil {
		a[1] = Attr{Key: "error.type", Text: s.Failure.Type}
	}
	return a
}

// entry reports whether the spans are requests: the first of their service in a trace.
func (o *Operation) entry() bool { return o.Kind == Server || o.Kind == Consumer }

func appendAttr(dst []byte, field protowire.Number, a Attr) []byte {
	var value int
	if a.Text != "" {
		value = protowire.SizeTag(anyString) + protowire.SizeBytes(len(a.Text))
	} else {
		value = protowire.SizeTag(anyInt) + protowire.SizeVarint(uint64(a.Number))
	}
	size := protowire.SizeTag(keyValueKey) + protowire.SizeBytes(len(a.Key)) + protowire.SizeTag(keyValueValue) + protowire.SizeBytes(value)
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = appendString(dst, keyValueKey, a.Key)
	dst = protowire.AppendTag(dst, keyValueValue, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(value))
	if a.Text != "" {
		return appendString(dst, anyString, a.Text)
	}
	return appendVarint(dst, anyInt, uint64(a.Number))
}

func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b)
}

func appendString(dst []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

func appendVarint(dst []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendFixed64(dst []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), v)
}
