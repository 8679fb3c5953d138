package collector

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// metricColumns holds the rows of the tables of metrics.
type metricColumns struct {
	series     seriesColumns
	points     pointColumns
	histograms histogramColumns
	resources  resourceColumns

	// fresh are the series that have a row in series, in the order of their rows: they are named for that day once the
	// batch is stored. named is the same to look them up, charges are what they have cost.
	fresh   []seriesDay
	named   map[seriesDay]struct{}
	charges []seriesCharge
}

type seriesColumns struct {
	day                                          dayColumn
	metric, product, tenant, service, kind, unit dictColumn
	series                                       proto.ColUInt64
	labels                                       mapColumn
}

func (c *seriesColumns) input() proto.Input {
	return proto.Input{
		{Name: "day", Data: &c.day},
		{Name: "metric", Data: &c.metric},
		{Name: "series", Data: &c.series},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
		{Name: "service", Data: &c.service},
		{Name: "kind", Data: &c.kind},
		{Name: "unit", Data: &c.unit},
		{Name: "labels", Data: &c.labels},
	}
}

func (c *seriesColumns) cut(rows int, labels mapMark) {
	c.day.ColUInt16 = c.day.ColUInt16[:rows]
	for _, d := range []*dictColumn{&c.metric, &c.product, &c.tenant, &c.service, &c.kind, &c.unit} {
		d.cut(rows)
	}
	c.series = c.series[:rows]
	c.labels.cut(labels)
}

type pointColumns struct {
	metric, product, tenant dictColumn
	series                  proto.ColUInt64
	ts, started             milliColumn
	value                   proto.ColFloat64
}

func (c *pointColumns) input() proto.Input {
	return proto.Input{
		{Name: "metric", Data: &c.metric},
		{Name: "series", Data: &c.series},
		{Name: "ts", Data: &c.ts},
		{Name: "started", Data: &c.started},
		{Name: "value", Data: &c.value},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
	}
}

func (c *pointColumns) cut(rows int) {
	for _, d := range []*dictColumn{&c.metric, &c.product, &c.tenant} {
		d.cut(rows)
	}
	c.series, c.value = c.series[:rows], c.value[:rows]
	c.ts.ColInt64, c.started.ColInt64 = c.ts.ColInt64[:rows], c.started.ColInt64[:rows]
}

type histogramColumns struct {
	metric, product, tenant  dictColumn
	series                   proto.ColUInt64
	ts, started              milliColumn
	count, sum, min, max     proto.ColFloat64
	scale                    proto.ColInt32
	zeroThreshold, zeroCount proto.ColFloat64
	positive, negative       bucketColumn
}

func (c *histogramColumns) input() proto.Input {
	return proto.Input{
		{Name: "metric", Data: &c.metric},
		{Name: "series", Data: &c.series},
		{Name: "ts", Data: &c.ts},
		{Name: "started", Data: &c.started},
		{Name: "count", Data: &c.count},
		{Name: "sum", Data: &c.sum},
		{Name: "min", Data: &c.min},
		{Name: "max", Data: &c.max},
		{Name: "scale", Data: &c.scale},
		{Name: "zero_threshold", Data: &c.zeroThreshold},
		{Name: "zero_count", Data: &c.zeroCount},
		{Name: "positive", Data: &c.positive},
		{Name: "negative", Data: &c.negative},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
	}
}

func (c *histogramColumns) cut(rows int) {
	for _, d := range []*dictColumn{&c.metric, &c.product, &c.tenant} {
		d.cut(rows)
	}
	c.series, c.scale = c.series[:rows], c.scale[:rows]
	c.ts.ColInt64, c.started.ColInt64 = c.ts.ColInt64[:rows], c.started.ColInt64[:rows]
	for _, f := range []*proto.ColFloat64{&c.count, &c.sum, &c.min, &c.max, &c.zeroThreshold, &c.zeroCount} {
		*f = (*f)[:rows]
	}
	c.positive.cut(rows)
	c.negative.cut(rows)
}

type resourceColumns struct {
	ts, started                                               milliColumn
	product, tenant, service, kind, system, instance, measure dictColumn
	series                                                    proto.ColUInt64
	form                                                      proto.ColUInt8
	value                                                     proto.ColFloat64
}

func (c *resourceColumns) input() proto.Input {
	return proto.Input{
		{Name: "ts", Data: &c.ts},
		{Name: "product", Data: &c.product},
		{Name: "tenant", Data: &c.tenant},
		{Name: "service", Data: &c.service},
		{Name: "kind", Data: &c.kind},
		{Name: "system", Data: &c.system},
		{Name: "instance", Data: &c.instance},
		{Name: "measure", Data: &c.measure},
		{Name: "series", Data: &c.series},
		{Name: "form", Data: &c.form},
		{Name: "started", Data: &c.started},
		{Name: "value", Data: &c.value},
	}
}

func (c *resourceColumns) cut(rows int) {
	for _, d := range []*dictColumn{&c.product, &c.tenant, &c.service, &c.kind, &c.system, &c.instance, &c.measure} {
		d.cut(rows)
	}
	c.series, c.form, c.value = c.series[:rows], c.form[:rows], c.value[:rows]
	c.ts.ColInt64, c.started.ColInt64 = c.ts.ColInt64[:rows], c.started.ColInt64[:rows]
}

// metricMark is a place in the columns of metrics to cut back to.
type metricMark struct {
	series, points, histograms, resources int
	labels                                mapMark
}

func (c *metricColumns) mark() metricMark {
	return metricMark{
		series: len(c.series.series), points: len(c.points.value), histograms: len(c.histograms.count), resources: len(c.resources.value),
		labels: c.series.labels.mark(),
	}
}

func (c *metricColumns) cut(m metricMark) {
	for i, s := range c.fresh[m.series:] {
		delete(c.named, s)
		c.charges[m.series+i].giveBack()
	}
	c.fresh, c.charges = c.fresh[:m.series], c.charges[:m.series]
	c.series.cut(m.series, m.labels)
	c.points.cut(m.points)
	c.histograms.cut(m.histograms)
	c.resources.cut(m.resources)
}

// settle tells that the rows are stored.
func (c *metricColumns) settle(named *namedSeries) {
	named.add(c.fresh)
	for i := range c.charges {
		c.charges[i].settle(c.fresh[i].series)
	}
}

// oldest returns the earliest time of a row, in Unix nanoseconds. Resources and names have the times of the others.
func (c *metricColumns) oldest() int64 {
	oldest := int64(math.MaxInt64)
	for _, ts := range []proto.ColInt64{c.points.ts.ColInt64, c.histograms.ts.ColInt64} {
		for _, at := range ts {
			oldest = min(oldest, at*int64(time.Millisecond))
		}
	}
	return oldest
}

// About how many bytes a row takes.
const (
	pointSize     = 48
	histogramSize = 100
	resourceSize  = 72
	bucketSize    = 12
)

// size returns about how many bytes the columns hold.
func (c *metricColumns) size() int {
	return pointSize*len(c.points.value) + histogramSize*len(c.histograms.count) + resourceSize*len(c.resources.value) +
		bucketSize*(len(c.histograms.positive.keys)+len(c.histograms.negative.keys)) +
		64*len(c.series.series) + len(c.series.labels.values.buf) + 4*len(c.series.labels.keys.keys)
}

// kept returns about how many bytes the columns would keep for reuse.
func (c *metricColumns) kept() int {
	return pointSize*cap(c.points.value) + histogramSize*cap(c.histograms.count) + resourceSize*cap(c.resources.value) +
		bucketSize*(cap(c.histograms.positive.keys)+cap(c.histograms.negative.keys)) + cap(c.series.labels.values.buf)
}

func (c *metricColumns) reset() {
	c.series.input().Reset()
	c.points.input().Reset()
	c.histograms.input().Reset()
	c.resources.input().Reset()
	if len(c.fresh) > maxKeptValues {
		c.fresh, c.named, c.charges = nil, nil, nil
		return
	}
	clear(c.charges) // of accounts that may be forgotten
	c.fresh, c.charges = c.fresh[:0], c.charges[:0]
	clear(c.named)
}

// milliColumn is a DateTime64(3, 'UTC') column: milliseconds since 1970.
type milliColumn struct{ proto.ColInt64 }

// Type implements proto.ColInput.
func (milliColumn) Type() proto.ColumnType { return "DateTime64(3, 'UTC')" }

// dayColumn is a Date column: days since 1970.
type dayColumn struct{ proto.ColUInt16 }

// Type implements proto.ColInput.
func (dayColumn) Type() proto.ColumnType { return "Date" }

// bucketColumn is a Map(Int32, Float64) column: counts by the index of their bucket.
type bucketColumn struct {
	ends   proto.ColUInt64 // by row: how many entries it and all rows before it have
	keys   proto.ColInt32
	counts proto.ColFloat64
}

func (c *bucketColumn) append(index int32, count float64) {
	c.keys = append(c.keys, index)
	c.counts = append(c.counts, count)
}

// endRow ends a row: the entries since the last one are its own.
func (c *bucketColumn) endRow() { c.ends = append(c.ends, uint64(len(c.keys))) }

// entriesSince returns how many entries the rows after the first ones have.
func (c *bucketColumn) entriesSince(rows int) int {
	n := len(c.keys)
	if rows > 0 {
		n -= int(c.ends[rows-1])
	}
	return n
}

// cut forgets the rows after the first ones, and entries of a row that was not ended.
func (c *bucketColumn) cut(rows int) {
	c.ends = c.ends[:rows]
	n := 0
	if rows > 0 {
		n = int(c.ends[rows-1])
	}
	c.keys, c.counts = c.keys[:n], c.counts[:n]
}

// Type implements proto.ColInput.
func (*bucketColumn) Type() proto.ColumnType { return "Map(Int32, Float64)" }

// Rows implements proto.ColInput.
func (c *bucketColumn) Rows() int { return len(c.ends) }

// Reset implements proto.Resettable.
func (c *bucketColumn) Reset() { c.ends, c.keys, c.counts = c.ends[:0], c.keys[:0], c.counts[:0] }

// EncodeColumn implements proto.ColInput.
func (c *bucketColumn) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	for _, k := range c.keys {
		b.Buf = binary.LittleEndian.AppendUint32(b.Buf, uint32(k))
	}
	c.counts.EncodeColumn(b)
}

// WriteColumn implements proto.ColInput.
func (c *bucketColumn) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }
