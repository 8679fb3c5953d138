package tenant

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/postgres"
)

const (
	quotaWatchEvery = time.Minute
	// quotaWatchLate is for how long what a minute brought may come after it.
	quotaWatchLate = 2 * time.Hour
	// quotaWatchFirst is how far back the first look of a process goes, so that none is missed while all were down.
	quotaWatchFirst = 48 * time.Hour
)

var quotaWatchesFailed = metrics.NewCounter("headroom_quota_watches_failed_total")

// quotaShares are those of a quota that are told, in percent.
var quotaShares = []int64{80, 100}

// QuotaWatch tells webhooks which tenants come to a share of their quotas. It may run in any number of processes: what one has told
// of a day, none tells again.
type QuotaWatch struct {
	pool   *pgxpool.Pool
	ch     driver.Conn
	gates  *Gates
	log    *slog.Logger
	outbox *outbox
	looked time.Time // until when everything has been looked at
}

// NewQuotaWatch returns a watch of what both databases have.
func NewQuotaWatch(pool *pgxpool.Pool, ch driver.Conn, gates *Gates, log *slog.Logger) *QuotaWatch {
	return &QuotaWatch{pool: pool, ch: ch, gates: gates, log: log.With("component", "quotas"), outbox: newOutbox()}
}

// Run watches until ctx ends.
func (q *QuotaWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(quotaWatchEvery)
	defer tick.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, quotaWatchEvery)
		err := q.Look(look, time.Now())
		cancel()
		if err != nil && ctx.Err() == nil {
			quotaWatchesFailed.Inc()
			q.log.Warn("cannot look who reaches a quota, trying again", "error", err, "delay", quotaWatchEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// reached is the data of EventQuotaReached.
type reached struct {
	Tenant  ID     `json:"tenant"`
	Plan    *Plan  `json:"plan"` // null: it has none
	Quota   string `json:"quota"`
	Percent int64  `json:"percent"`
	Day     string `json:"day"`
	Limit   int64  `json:"limit"`   // a second
	Highest int64  `json:"highest"` // a second, on average of a minute
}

// Look tells what there is since the last look. It is not safe for concurrent use.
func (q *QuotaWatch) Look(ctx context.Context, now time.Time) error {
	since := now.Add(-quotaWatchFirst)
	if !q.looked.IsZero() {
		since = q.looked.Add(-quotaWatchLate)
	}
	peaks, err := q.peaks(ctx, since)
	if err != nil {
		return err
	}
	terms, err := q.gates.Terms(ctx)
	if err != nil {
		return err
	}
	all, own := terms.quotas(now)
	var events []event
	for _, p := range peaks {
		plan := terms.PlanOf(p.tenant)
		quota, ok := own[p.tenant]
		if !ok {
			quota = all.Of(plan)
		}
		events = append(events, p.events(plan, quota)...)
	}
	if len(events) > 0 {
		if err := postgres.AcrossTenants(ctx, q.pool, func(tx pgx.Tx) error { return q.outbox.put(ctx, tx, now, events...) }); err != nil {
			return err
		}
	}
	q.looked = now
	return nil
}

// peak is the most that a tenant sent in a minute of a day.
type peak struct {
	day                  time.Time
	tenant               ID
	spans, bytes, points uint64 // a minute
	sampled, refused     uint64 // on the day: spans that were not stored, points that were refused
}

func (q *QuotaWatch) peaks(ctx context.Context, since time.Time) (list []peak, err error) {
	rows, err := q.ch.Query(clickhouse.AcrossTenants(ctx), `
		SELECT toDate(minute, 'UTC') AS day, tenant, max(spans), max(bytes), max(points), sum(sampled), sum(refused)
		FROM (
			SELECT tenant, minute, sum(ingest_1m.spans + ingest_1m.refused_spans) AS spans, sum(ingest_1m.bytes) AS bytes, sum(ingest_1m.points) AS points,
				sum(sampled_spans + refused_spans) AS sampled, sum(refused_points) AS refused
			FROM ingest_1m WHERE minute >= toDateTime(?, 'UTC') AND tenant <> ''
			GROUP BY tenant, minute)
		GROUP BY day, tenant ORDER BY day, tenant`, since.Unix())
	if err != nil {
		return nil, fmt.Errorf("cannot read what tenants send: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p peak
		var id string
		if err := rows.Scan(&p.day, &id, &p.spans, &p.bytes, &p.points, &p.sampled, &p.refused); err != nil {
			return nil, fmt.Errorf("cannot scan what tenants send: %w", err)
		}
		p.tenant = ID(id)
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read what tenants send: %w", err)
	}
	return list, nil
}

// events are those of the quotas to whose shares the peak comes. Who had something held back has reached a quota, though the average of a
// whole minute may be below it: of spans and bytes, the one that is closer.
func (p *peak) events(plan Plan, quota Quota) (events []event) {
	rate := func(n uint64) int64 { return int64(n / 60) }
	percent := func(n uint64, limit int64) int64 {
		if limit == 0 { // none
			return 0
		}
		return int64(n) * 100 / (60 * limit)
	}
	spans, bytes, points := percent(p.spans, quota.SpansPerSecond), percent(p.bytes, quota.BytesPerSecond), percent(p.points, quota.PointsPerSecond)
	switch {
	case p.sampled > 0 && spans >= bytes && quota.SpansPerSecond > 0:
		spans = max(spans, 100)
	case p.sampled > 0 && quota.BytesPerSecond > 0:
		bytes = max(bytes, 100)
	}
	if p.refused > 0 && points >= quotaShares[0] { // else it was a quota of another kind, such as active-series
		points = max(points, 100)
	}
	day := p.day.Format(time.DateOnly)
	var has *Plan
	if plan != "" {
		has = &plan
	}
	for _, of := range []struct {
		name           string
		percent        int64
		limit, highest int64
	}{
		{"spans-per-second", spans, quota.SpansPerSecond, rate(p.spans)},
		{"bytes-per-second", bytes, quota.BytesPerSecond, rate(p.bytes)},
		{"points-per-second", points, quota.PointsPerSecond, rate(p.points)},
	} {
		for _, share := range quotaShares {
			if of.percent >= share {
				events = append(events, event{kind: EventQuotaReached, tenant: p.tenant, key: fmt.Sprintf("%s/%s/%s/%03d", day, p.tenant, of.name, share),
					data: reached{p.tenant, has, of.name, share, day, of.limit, of.highest}})
			}
		}
	}
	return events
}
