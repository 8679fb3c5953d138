package dashboards

import (
	"context"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// ingest is what the collectors took of a tenant over a window, and what they did not.
type ingest struct {
	Tenant        tenant.ID
	Spans         uint64 // counted
	Sampled       uint64 // of these, not stored
	Refused       uint64 // beyond those counted
	Bytes         uint64 // of spans
	Points        uint64 // numbers of metrics
	RefusedPoints uint64
	OverUntil     time.Time // the end of the last minute in which the tenant was over its quota; in 1970 when it never was
}

// Over reports whether the quota held anything back.
func (i *ingest) Over() bool { return i.Sampled+i.Refused+i.RefusedPoints > 0 }

const ingestColumns = `sum(spans), sum(sampled_spans), sum(refused_spans), sum(bytes), sum(points), sum(refused_points),
	maxIf(minute + 60, sampled_spans + refused_spans + refused_points > 0)`

func (i *ingest) scan(rows driver.Rows, first ...any) error {
	return rows.Scan(append(first, &i.Spans, &i.Sampled, &i.Refused, &i.Bytes, &i.Points, &i.RefusedPoints, &i.OverUntil)...)
}

// ingest returns what was taken of one tenant over the window.
func (s *store) ingest(ctx context.Context, t tenant.ID, w window) (ingest, error) {
	in := ingest{Tenant: t}
	err := s.query(clickhouse.InTenant(ctx, t), "what the quota held back",
		`SELECT `+ingestColumns+` FROM ingest_1m WHERE tenant = @tenant AND minute >= toDateTime(@from, 'UTC') AND minute < toDateTime(@to, 'UTC')`,
		func(rows driver.Rows) error { return in.scan(rows) }, append(span(w.From, w.To), ch.Named("tenant", string(t)))...)
	return in, err
}

// ingestAcrossTenants returns what was taken of every tenant that sent something in the window; over leaves only those
// that were over their quota in it.
func (s *store) ingestAcrossTenants(ctx context.Context, w window, over bool) ([]ingest, error) {
	sql := `SELECT tenant, ` + ingestColumns + ` FROM ingest_1m
		WHERE minute >= toDateTime(@from, 'UTC') AND minute < toDateTime(@to, 'UTC') GROUP BY tenant`
	if over {
		sql += ` HAVING sum(sampled_spans) + sum(refused_spans) + sum(refused_points) > 0`
	}
	var list []ingest
	err := s.query(clickhouse.AcrossTenants(ctx), "who is over its quota", sql, func(rows driver.Rows) error {
		var in ingest
		var id string
		if err := in.scan(rows, &id); err != nil {
			return err
		}
		in.Tenant = tenant.ID(id)
		list = append(list, in)
		return nil
	}, span(w.From, w.To)...)
	return list, err
}
