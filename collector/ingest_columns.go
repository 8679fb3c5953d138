package collector

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// ingestColumns are the rows of ingest_1m: what each tenant sent, and what became of it. They are made of the batch's
// ledger when that is written, a row a tenant, so requests pay nothing for them, and they are stored with the rows that
// they are about or not at all.
type ingestColumns struct {
	tenant dictColumn
	minute secondColumn

	spans, sampled, refused, bytes, storedBytes, points, refusedPoints proto.ColUInt64
}

func (c *ingestColumns) input() proto.Input {
	return proto.Input{
		{Name: "tenant", Data: &c.tenant},
		{Name: "minute", Data: &c.minute},
		{Name: "spans", Data: &c.spans},
		{Name: "sampled_spans", Data: &c.sampled},
		{Name: "refused_spans", Data: &c.refused},
		{Name: "bytes", Data: &c.bytes},
		{Name: "stored_bytes", Data: &c.storedBytes},
		{Name: "points", Data: &c.points},
		{Name: "refused_points", Data: &c.refusedPoints},
	}
}

// fill makes the rows of a ledger. There are none before.
func (c *ingestColumns) fill(l ledger, now time.Time) {
	minute := uint32(now.Unix() / 60 * 60)
	for i := range l {
		s := &l[i].spent
		row := int(c.tenant.key(viewBytes(string(l[i].account.id))))
		if row == len(c.spans) { // keys count up from 0, so the tenant's is the number of its row
			c.tenant.keys = append(c.tenant.keys, uint32(row))
			c.minute.Append(minute)
			for _, n := range c.counts() {
				n.Append(0)
			}
		}
		c.spans[row] += uint64(s.offered.spans)
		c.sampled[row] += uint64(s.offered.spans - s.kept.spans - s.stored.spans)
		c.refused[row] += uint64(s.refused)
		c.bytes[row] += uint64(s.offered.bytes)
		c.storedBytes[row] += uint64(s.kept.bytes + s.stored.bytes)
		c.points[row] += uint64(s.points)
		c.refusedPoints[row] += uint64(s.refusedPoints)
	}
}

func (c *ingestColumns) counts() [7]*proto.ColUInt64 {
	return [...]*proto.ColUInt64{&c.spans, &c.sampled, &c.refused, &c.bytes, &c.storedBytes, &c.points, &c.refusedPoints}
}
