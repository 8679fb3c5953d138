package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// body is an ExportTraceServiceRequest that is made once and sent many times. refresh gives it new ids and times, in
// place, so that no two requests are alike and the load generator has little to do.
type body struct {
	data  []byte
	spans []places
	rng   *rand.Rand
	made  uint64 // the time, in Unix nanoseconds, that its spans end before
}

// places are where in the body the fields of a span lie. All have a fixed width.
type places struct{ trace, id, parent, start, end int32 } // parent is 0 for a root

// refresh makes all ids new, with the same spans in the same traces, and moves all spans to end just before now.
func (b *body) refresh(now time.Time) {
	high, low, span := b.rng.Uint64(), b.rng.Uint64(), b.rng.Uint64()
	shift := uint64(now.UnixNano()) - b.made
	b.made += shift
	for _, p := range b.spans {
		xor(b.data[p.trace:], high)
		xor(b.data[p.trace+8:], low)
		xor(b.data[p.id:], span)
		if p.parent > 0 {
			xor(b.data[p.parent:], span)
		}
		// A little noise, lest times repeat from one sending to the next as they never would.
		noise := b.rng.Uint64()
		add(b.data[p.start:], shift-noise&0xffff)
		add(b.data[p.end:], shift+noise>>48)
	}
}

func xor(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^v) }
func add(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)+v) }

// makeBodies returns n bodies of about the given number of spans each, the same for the same seed.
func makeBodies(n, spans int, seed uint64) []*body {
	bodies := make([]*body, n)
	for i := range bodies {
		w := writer{rng: rand.New(rand.NewPCG(seed, uint64(i))), body: &body{made: uint64(time.Now().UnixNano())}}
		bodies[i] = w.write(spans)
	}
	return bodies
}

// A fleet: products with services, whose routes are called by tenants. The numbers are those of a middling company.
const (
	tenants  = 40
	products = 4
	routes   = 20 // of a product's API
	pods     = 3  // of a service
)

var productNames = [products]string{"commerce", "identity", "messaging", "reporting"}

// service is a program of a product.
type service struct{ name, language, version string }

var (
	api    = service{"api", "go", "2.14.3"}
	worker = service{"pricing", "java", "1.9.0"}
)

// writer makes one body. Its spans are in traces of seven: a request to the API, a query of a cache, an internal step,
// a call to a second service, the request there, with a query of a database and a message to a queue.
type writer struct {
	body *body
	rng  *rand.Rand

	groups map[string]*group
	order  []*group
}

// group is the spans of one resource, encoded.
type group struct {
	resource []byte
	spans    []byte
	places   []places
}

func (w *writer) write(spans int) *body {
	w.groups = map[string]*group{}
	for n := 0; n < spans; n += 7 {
		w.trace()
	}
	b := w.body
	b.rng = w.rng
	for _, g := range w.order {
		scope := protowire.AppendTag(nil, 1, protowire.BytesType)
		scope = protowire.AppendBytes(scope, str(nil, 1, "io.opentelemetry.instrumentation"))
		b.data = protowire.AppendTag(b.data, 1, protowire.BytesType)
		b.data = protowire.AppendVarint(b.data, uint64(len(g.resource)+1+protowire.SizeBytes(len(scope)+len(g.spans))))
		b.data = append(b.data, g.resource...)
		b.data = protowire.AppendTag(b.data, 2, protowire.BytesType)
		b.data = protowire.AppendVarint(b.data, uint64(len(scope)+len(g.spans)))
		b.data = append(b.data, scope...)
		at := int32(len(b.data))
		for _, p := range g.places {
			p.trace, p.id, p.start, p.end = p.trace+at, p.id+at, p.start+at, p.end+at
			if p.parent > 0 {
				p.parent += at
			}
			b.spans = append(b.spans, p)
		}
		b.data = append(b.data, g.spans...)
	}
	return b
}

func (w *writer) trace() {
	var (
		product = productNames[w.rng.IntN(products)]
		tenant  = fmt.Sprintf("tenant-%03d", int(float64(tenants)*w.rng.Float64()*w.rng.Float64())) // few are large
		route   = w.rng.IntN(routes)
		path    = fmt.Sprintf("/v1/resource%d/{id}/items", route)
		url     = fmt.Sprintf("/v1/resource%d/%d/items", route, 100_000+w.rng.IntN(900_000))
		method  = [...]string{"GET", "GET", "GET", "POST"}[w.rng.IntN(4)]
		status  = 200
		id      = w.rng.Uint64
		a, b    = w.group(product, api), w.group(product, worker)
		traceID [16]byte
		root    = id()
		call    = id()
		step    = id()
		inner   = id()
		end     = w.body.made - uint64(w.rng.IntN(int(time.Second)))
		took    = uint64(2e6 * (1 + w.rng.ExpFloat64()*10))
		start   = end - took
	)
	binary.LittleEndian.PutUint64(traceID[:], id())
	binary.LittleEndian.PutUint64(traceID[8:], id())
	if w.rng.IntN(100) == 0 {
		status = 503
	}
	part := func(from, to uint64) (uint64, uint64) { return start + took*from/100, start + took*to/100 }
	s := span{trace: traceID, tenant: tenant}

	s.id, s.name, s.kind, s.start, s.end, s.failed = root, method+" "+path, 2, start, end, status >= 500
	a.append(&s, text("http.request.method", method), text("http.route", path), text("url.path", url),
		number("http.response.status_code", status), text("user_agent.original", "acme-app/5.2 (Linux)"),
		text("network.protocol.version", "1.1"), text("server.address", "api."+product+".example.com"),
		text("client.address", fmt.Sprintf("10.%d.%d.%d", w.rng.IntN(4), w.rng.IntN(256), w.rng.IntN(256))))
	s.failed = false

	s.id, s.parent, s.name, s.kind = id(), root, "GET", 3
	s.start, s.end = part(2, 5)
	a.append(&s, text("db.system.name", "redis"), text("db.operation.name", "GET"), text("db.query.text", "GET session:?"), text("server.address", "redis-"+product+".internal"), number("server.port", 6379))

	s.id, s.name, s.kind = step, "authorize", 1
	s.start, s.end = part(6, 9)
	a.append(&s, text("code.function.name", "auth.Authorize"), text("code.file.path", "internal/auth/authorize.go"), number("code.line.number", 118),
		text("enduser.role", "member"))

	s.id, s.name, s.kind = call, "POST", 3
	s.start, s.end = part(10, 95)
	a.append(&s, text("http.request.method", "POST"), text("server.address", worker.name+"."+product+".svc"), number("server.port", 8080),
		text("url.full", "http://"+worker.name+"."+product+".svc:8080/price/"+url[len(url)-12:]), number("http.response.status_code", status))

	s.id, s.parent, s.name, s.kind, s.failed = inner, call, "POST /price/{id}", 2, status >= 500
	s.start, s.end = part(12, 93)
	b.append(&s, text("http.request.method", "POST"), text("http.route", "/price/{id}"), text("url.path", "/price/"+url[len(url)-12:]),
		number("http.response.status_code", status), text("network.protocol.version", "1.1"))
	s.failed = false

	s.id, s.parent, s.name, s.kind = id(), inner, "SELECT prices", 3
	s.start, s.end = part(20, 60)
	b.append(&s, text("db.system.name", "postgresql"), text("db.namespace", product), text("db.operation.name", "SELECT"),
		text("db.query.text", "SELECT * FROM prices WHERE item_id = $1 AND region = $2"),
		text("server.address", "pg-"+product+".internal"), number("server.port", 5432))

	s.id, s.name, s.kind = id(), "publish prices", 4
	s.start, s.end = part(70, 80)
	b.append(&s, text("messaging.system", "rabbitmq"), text("messaging.destination.name", product+".prices"), text("messaging.operation.type", "send"),
		text("messaging.message.id", fmt.Sprintf("%016x", id())))
}

func (w *writer) group(product string, s service) *group {
	pod := fmt.Sprintf("%s-%s-6d5f7c9b8-%05d", product, s.name, w.rng.IntN(pods))
	g := w.groups[pod]
	if g == nil {
		var r []byte
		for _, a := range [][]byte{
			text("service.name", s.name), text("service.namespace", product), text("service.version", s.version),
			text("service.instance.id", pod), text("deployment.environment.name", "production"), text("cloud.region", "eu-central-1"),
			text("k8s.pod.name", pod), text("telemetry.sdk.language", s.language), text("telemetry.sdk.name", "opentelemetry"),
			text("telemetry.sdk.version", "1.42.0"),
		} {
			r = protowire.AppendTag(r, 1, protowire.BytesType)
			r = protowire.AppendBytes(r, a)
		}
		g = &group{resource: protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), r)}
		w.groups[pod] = g
		w.order = append(w.order, g)
	}
	return g
}

// span is what all spans have.
type span struct {
	trace      [16]byte
	id, parent uint64
	name       string
	kind       uint64
	start, end uint64
	tenant     string
	failed     bool
}

// append encodes a span with the attributes and remembers where its ids and times lie.
func (g *group) append(s *span, attributes ...[]byte) {
	var p places
	var m []byte
	m = protowire.AppendBytes(protowire.AppendTag(m, 1, protowire.BytesType), s.trace[:])
	p.trace = int32(len(m) - 16)
	m = eight(m, 2, s.id)
	p.id = int32(len(m) - 8)
	if s.parent != 0 {
		m = eight(m, 4, s.parent)
		p.parent = int32(len(m) - 8)
	}
	m = str(m, 5, s.name)
	m = protowire.AppendVarint(protowire.AppendTag(m, 6, protowire.VarintType), s.kind)
	m = protowire.AppendFixed64(protowire.AppendTag(m, 7, protowire.Fixed64Type), s.start)
	p.start = int32(len(m) - 8)
	m = protowire.AppendFixed64(protowire.AppendTag(m, 8, protowire.Fixed64Type), s.end)
	p.end = int32(len(m) - 8)
	for _, a := range append(attributes, text("tenant.id", s.tenant)) {
		m = protowire.AppendBytes(protowire.AppendTag(m, 9, protowire.BytesType), a)
	}
	if s.failed {
		status := str(nil, 2, "upstream connect error")
		status = protowire.AppendVarint(protowire.AppendTag(status, 3, protowire.VarintType), 2)
		m = protowire.AppendBytes(protowire.AppendTag(m, 15, protowire.BytesType), status)
	}
	g.spans = protowire.AppendVarint(protowire.AppendTag(g.spans, 2, protowire.BytesType), uint64(len(m)))
	at := int32(len(g.spans))
	g.spans = append(g.spans, m...)
	p.trace, p.id, p.start, p.end = p.trace+at, p.id+at, p.start+at, p.end+at
	if s.parent != 0 {
		p.parent += at
	}
	g.places = append(g.places, p)
}

func eight(dst []byte, field protowire.Number, id uint64) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.BytesType), 8)
	return binary.LittleEndian.AppendUint64(dst, id)
}

func str(dst []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), v)
}

// text returns a KeyValue with a string.
func text(key, v string) []byte {
	return protowire.AppendBytes(protowire.AppendTag(str(nil, 1, key), 2, protowire.BytesType), str(nil, 1, v))
}

// number returns a KeyValue with an integer.
func number(key string, v int) []byte {
	n := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), uint64(v))
	return protowire.AppendBytes(protowire.AppendTag(str(nil, 1, key), 2, protowire.BytesType), n)
}
