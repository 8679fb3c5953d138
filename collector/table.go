package collector

import (
	"fmt"
	"math"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// table numbers the tables that the collector inserts into. The numbers are in the spool's files: never reuse one.
type table uint8

const (
	tableRequests    table = iota
	tableFormerSpans       // before migration 4: only spools that an older headroom left hold it
	tableLoad
	tableSeries
	tablePoints
	tableHistograms
	tableResources
	tableSpans
	tableIngest
	tables // how many there are
)

var tableNames = [tables]string{"requests", "spans", "load_1m", "metric_series", "metric_points", "metric_histograms", "resource_points", "trace_spans", "ingest_1m"}

// columns holds decoded rows for all tables until they are written. It is reused.
type columns struct {
	requests requestColumns
	spans    spanColumns
	load     loadColumns
	metric   metricColumns
	ingest   ingestColumns

	ledger ledger // what the rows have cost their tenants, metric series apart
}

func newColumns() *columns {
	c := &columns{}
	c.spans.traceID.size, c.spans.spanID.size, c.spans.parentID.size = 16, 8, 8
	return c
}

type requestColumns struct {
	ts                                               nanoColumn
	product, tenant, service, route, method, version dictColumn
	status                                           proto.ColUInt16
	error                                            proto.ColUInt8
	duration                                         proto.ColUInt64
}

func (c *requestColumns) input() proto.Input {
	return proto.Input{
		{Name: "ts", Data: &c.ts},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
		{Name: "service", Data: &c.service},
		{Name: "route", Data: &c.route},
		{Name: "method", Data: &c.method},
		{Name: "version", Data: &c.version},
		{Name: "status", Data: &c.status},
		{Name: "error", Data: &c.error},
		{Name: "duration_ns", Data: &c.duration},
	}
}

func (c *requestColumns) cut(rows int) {
	c.ts.ColInt64 = c.ts.ColInt64[:rows]
	for _, d := range []*dictColumn{&c.product, &c.tenant, &c.service, &c.route, &c.method, &c.version} {
		d.cut(rows)
	}
	c.status, c.error, c.duration = c.status[:rows], c.error[:rows], c.duration[:rows]
}

type spanColumns struct {
	ts                                             nanoColumn
	traceID, spanID, parentID                      fixedColumn
	product, tenant, service, version, name, route dictColumn
	kind                                           proto.ColUInt8
	status                                         proto.ColUInt16
	error                                          proto.ColUInt8
	duration                                       proto.ColUInt64
	message, exception                             stringColumn
	// Attributes are joined to two values, those of a resource to one, which most spans share: see joined. A Map costs
	// ClickHouse five times as much to insert and to merge.
	attributeKeys   dictColumn
	attributeValues stringColumn
	resource        dictColumn
}

func (c *spanColumns) input() proto.Input {
	return proto.Input{
		{Name: "ts", Data: &c.ts},
		{Name: "trace_id", Data: &c.traceID},
		{Name: "span_id", Data: &c.spanID},
		{Name: "parent_span_id", Data: &c.parentID},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
		{Name: "service", Data: &c.service},
		{Name: "version", Data: &c.version},
		{Name: "name", Data: &c.name},
		{Name: "kind", Data: &c.kind},
		{Name: "route", Data: &c.route},
		{Name: "status", Data: &c.status},
		{Name: "error", Data: &c.error},
		{Name: "duration_ns", Data: &c.duration},
		{Name: "status_message", Data: &c.message},
		{Name: "exception", Data: &c.exception},
		{Name: "attribute_keys", Data: &c.attributeKeys},
		{Name: "attribute_values", Data: &c.attributeValues},
		{Name: "resource_attributes", Data: &c.resource},
	}
}

type loadColumns struct {
	system, instance, tenant, service, product dictColumn
	minute                                     secondColumn
	calls, errors, busy                        proto.ColUInt64
}

func (c *loadColumns) input() proto.Input {
	return proto.Input{
		{Name: "system", Data: &c.system},
		{Name: "instance", Data: &c.instance},
		{Name: "tenant", Data: &c.tenant},
		{Name: "service", Data: &c.service},
		{Name: "product", Data: &c.product},
		{Name: "minute", Data: &c.minute},
		{Name: "calls", Data: &c.calls},
		{Name: "errors", Data: &c.errors},
		{Name: "busy_ns", Data: &c.busy},
	}
}

func (c *loadColumns) cut(rows int) {
	for _, d := range []*dictColumn{&c.system, &c.instance, &c.tenant, &c.service, &c.product} {
		d.cut(rows)
	}
	c.minute.ColUInt32 = c.minute.ColUInt32[:rows]
	c.calls, c.errors, c.busy = c.calls[:rows], c.errors[:rows], c.busy[:rows]
}

// mark is a place in the columns to cut back to.
type mark struct {
	requests, spans, load          int
	message, exception, attributes int // sizes in bytes
	metric                         metricMark
	ledger                         int
}

func (c *columns) mark() mark {
	return mark{
		requests: c.requests.status.Rows(), spans: c.spans.kind.Rows(), load: c.load.calls.Rows(),
		message: len(c.spans.message.buf), exception: len(c.spans.exception.buf),
		attributes: len(c.spans.attributeValues.buf), metric: c.metric.mark(), ledger: len(c.ledger),
	}
}

// cut forgets the rows since the mark and gives back what they have cost.
func (c *columns) cut(m mark) {
	c.ledger.giveBack(m.ledger)
	c.requests.cut(m.requests)
	c.load.cut(m.load)
	c.metric.cut(m.metric)
	s := &c.spans
	s.ts.ColInt64 = s.ts.ColInt64[:m.spans]
	for _, f := range []*fixedColumn{&s.traceID, &s.spanID, &s.parentID} {
		f.cut(m.spans)
	}
	for _, d := range []*dictColumn{&s.product, &s.tenant, &s.service, &s.version, &s.name, &s.route, &s.attributeKeys, &s.resource} {
		d.cut(m.spans)
	}
	s.kind, s.status, s.error, s.duration = s.kind[:m.spans], s.status[:m.spans], s.error[:m.spans], s.duration[:m.spans]
	s.message.cut(m.message, m.spans)
	s.exception.cut(m.exception, m.spans)
	s.attributeValues.cut(m.attributes, m.spans)
}

// size returns about how many bytes the columns hold: most are in those of spans.
func (c *columns) size() int {
	const fixed = 128 // bytes of a span's row in columns of fixed width, with those of its request
	s, r, l := &c.spans, &c.requests, &c.load
	n := fixed*s.kind.Rows() + chargeSize*len(c.ledger) + len(s.message.buf) + len(s.exception.buf) + len(s.attributeValues.buf) + c.metric.size()
	for _, d := range [...]*dictColumn{
		&s.product, &s.tenant, &s.service, &s.version, &s.name, &s.route, &s.attributeKeys, &s.resource,
		&r.product, &r.tenant, &r.service, &r.route, &r.method, &r.version,
		&l.system, &l.instance, &l.tenant, &l.service, &l.product,
	} {
		n += d.size
	}
	return n
}

// oldest returns the earliest time of a row, in Unix nanoseconds.
func (c *columns) oldest() int64 {
	oldest := int64(math.MaxInt64)
	for _, ts := range []proto.ColInt64{c.spans.ts.ColInt64, c.requests.ts.ColInt64} {
		for _, at := range ts {
			oldest = min(oldest, at)
		}
	}
	for _, minute := range c.load.minute.ColUInt32 {
		oldest = min(oldest, int64(minute)*int64(time.Second))
	}
	return min(oldest, c.metric.oldest())
}

func (c *columns) reset() {
	c.requests.input().Reset()
	c.spans.input().Reset()
	c.load.input().Reset()
	c.metric.reset()
	c.ingest.input().Reset()
	c.ledger.reset()
}

// input returns the columns of a table and how many rows they have.
func (c *columns) input(t table) (proto.Input, int) {
	switch t {
	case tableRequests:
		return c.requests.input(), c.requests.status.Rows()
	case tableFormerSpans:
		return nil, 0
	case tableSpans:
		return c.spans.input(), c.spans.kind.Rows()
	case tableLoad:
		return c.load.input(), c.load.calls.Rows()
	case tableSeries:
		return c.metric.series.input(), c.metric.series.series.Rows()
	case tablePoints:
		return c.metric.points.input(), c.metric.points.value.Rows()
	case tableHistograms:
		return c.metric.histograms.input(), c.metric.histograms.count.Rows()
	case tableResources:
		return c.metric.resources.input(), c.metric.resources.value.Rows()
	case tableIngest:
		return c.ingest.input(), c.ingest.spans.Rows()
	}
	panic(fmt.Sprintf("BUG: no table %d", t))
}

// nativeRevision is the protocol revision of the blocks: one without block info and custom serializations, which is
// what FORMAT Native takes over HTTP.
const nativeRevision = 54451

// frameSize is how much of a block is compressed at a time.
const frameSize = 1 << 20

// encoder turns columns into compressed Native blocks. It is not safe for concurrent use.
type encoder struct {
	raw proto.Buffer
	lz4 *compress.Writer
}

func newEncoder() *encoder {
	return &encoder{lz4: compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

// block appends the table's rows to dst as one block in LZ4 frames, and returns how many bytes it is uncompressed.
func (e *encoder) block(dst []byte, in proto.Input, rows int) ([]byte, int, error) {
	e.raw.Reset()
	b := proto.Block{Columns: len(in), Rows: rows}
	if err := b.EncodeRawBlock(&e.raw, nativeRevision, in); err != nil {
		return dst, 0, fmt.Errorf("cannot encode a block: %w", err)
	}
	for rest := e.raw.Buf; len(rest) > 0; {
		n := min(len(rest), frameSize)
		if err := e.lz4.Compress(rest[:n]); err != nil {
			return dst, 0, fmt.Errorf("cannot compress a block: %w", err)
		}
		dst = append(dst, e.lz4.Data...)
		rest = rest[n:]
	}
	return dst, len(e.raw.Buf), nil
}
