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
	// usageGrace is how long after its end a day is closed: what its last batches brought is stored by then, unless a
	// spool waits for ClickHouse.
	usageGrace = time.Hour
	// usageLate is how many closed days are counted again, for what comes late.
	usageLate = 7
	// usageEvery is how often somebody looks whether there is a day to close.
	usageEvery = 10 * time.Minute
	// usageTimeout bounds one look.
	usageTimeout = 5 * time.Minute
	// usageLock is the key of the advisory lock of who closes days.
	usageLock = 0x75736167 // "usag"
)

var usageClosesFailed = metrics.NewCounter("headroom_usage_closes_failed_total")

// UsageDay is what one tenant used on one day.
type UsageDay struct {
	Day           time.Time // its beginning, in UTC
	Tenant        ID        // empty: what named none
	Requests      int64     // that ended on it
	Spans         int64     // counted, whether stored or not, by when the collector took them; all that follow too
	Sampled       int64     // of these, not stored
	Refused       int64     // neither counted nor stored
	Points        int64     // numbers that points of metrics are stored as
	RefusedPoints int64     // points
	Bytes         int64     // of counted spans, as protobuf
	StoredBytes   int64     // of those that are stored
	Users         int64     // people of the tenant, when the day was closed
	APICalls      int64     // of the tenant's people and keys
	Revision      int       // 1, and more for each time that what came late changed something
	ClosedAt      time.Time
	RevisedAt     time.Time
}

// Usage counts what tenants used, by days. It is safe for concurrent use by several processes.
type Usage struct {
	pool   *pgxpool.Pool
	ch     driver.Conn
	log    *slog.Logger
	outbox *outbox
}

// NewUsage returns the usage in both databases.
func NewUsage(pool *pgxpool.Pool, ch driver.Conn, log *slog.Logger) *Usage {
	return &Usage{pool, ch, log.With("component", "usage"), newOutbox()}
}

// Run closes days until ctx ends. It may run in any number of processes.
func (u *Usage) Run(ctx context.Context) error {
	tick := time.NewTicker(usageEvery)
	defer tick.Stop()
	for {
		closing, cancel := context.WithTimeout(ctx, usageTimeout)
		changed, err := u.Close(closing, time.Now())
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			usageClosesFailed.Inc()
			u.log.Warn("cannot close the days of usage, trying again", "error", err, "delay", usageEvery)
		case changed > 0:
			u.log.Info("closed or revised days of usage", "rows", changed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close counts the days that are over and not older than what may still come late, and stores what has changed: a second
// time that is nothing. It returns how many rows were written. Where another process is at it, it does nothing.
func (u *Usage) Close(ctx context.Context, now time.Time) (changed int64, err error) {
	last := now.UTC().Add(-usageGrace).Truncate(24*time.Hour).AddDate(0, 0, -1)
	first := last.AddDate(0, 0, -usageLate)
	err = postgres.AcrossTenants(ctx, u.pool, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(usageLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		days, err := u.count(ctx, first, last)
		if err != nil {
			return err
		}
		others, err := addCalls(ctx, tx, days, first, last)
		if err != nil {
			return err
		}
		written, err := storeUsage(ctx, tx, days, others)
		if err != nil {
			return err
		}
		changed = int64(len(written))
		return u.outbox.put(ctx, tx, now, usageRecorded(written)...)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot close the days from %s to %s: %w", first.Format(time.DateOnly), last.Format(time.DateOnly), err)
	}
	return changed, nil
}

// count asks ClickHouse, where every request and every batch is counted once.
func (u *Usage) count(ctx context.Context, first, last time.Time) (days []UsageDay, err error) {
	rows, err := u.ch.Query(clickhouse.AcrossTenants(ctx), `
		SELECT day, tenant, sum(requests), sum(spans), sum(sampled), sum(refused), sum(points), sum(refused_points), sum(bytes), sum(stored_bytes)
		FROM (
			SELECT toDate(hour, 'UTC') AS day, tenant, requests, 0 AS spans, 0 AS sampled, 0 AS refused, 0 AS points, 0 AS refused_points,
				0 AS bytes, 0 AS stored_bytes
			FROM latency_1h WHERE hour >= toDateTime(?, 'UTC') AND hour < toDateTime(?, 'UTC')
			UNION ALL
			SELECT toDate(minute, 'UTC'), tenant, 0, spans, sampled_spans, refused_spans, points, refused_points, bytes, stored_bytes
			FROM ingest_1m WHERE minute >= toDateTime(?, 'UTC') AND minute < toDateTime(?, 'UTC'))
		GROUP BY day, tenant ORDER BY day, tenant`, first.Unix(), last.AddDate(0, 0, 1).Unix(), first.Unix(), last.AddDate(0, 0, 1).Unix())
	if err != nil {
		return nil, fmt.Errorf("cannot count what was used: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var d UsageDay
		var id string
		var n [8]uint64
		if err := rows.Scan(&d.Day, &id, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]); err != nil {
			return nil, fmt.Errorf("cannot scan what was used: %w", err)
		}
		d.Tenant = ID(id)
		for i, to := range []*int64{&d.Requests, &d.Spans, &d.Sampled, &d.Refused, &d.Points, &d.RefusedPoints, &d.Bytes, &d.StoredBytes} {
			*to = int64(n[i])
		}
		days = append(days, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot count what was used: %w", err)
	}
	return days, nil
}

// storeUsage writes what has changed and returns that, as it is stored. How many users there were is known when the day is closed, and
// stays. What ClickHouse does not have any more stays too: of others it says nothing, so only their API calls are compared and changed.
func storeUsage(ctx context.Context, tx pgx.Tx, days, others []UsageDay) (written []UsageDay, err error) {
	const insert = `
		INSERT INTO control.usage_days AS u (day, tenant, requests, spans, sampled_spans, refused_spans, points, refused_points, bytes, stored_bytes,
			api_calls, users)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (SELECT count(*) FROM control.memberships m WHERE m.tenant = $2))
		ON CONFLICT (day, tenant) DO UPDATE SET `
	const counted = insert + `requests = excluded.requests, spans = excluded.spans, sampled_spans = excluded.sampled_spans,
			refused_spans = excluded.refused_spans, points = excluded.points, refused_points = excluded.refused_points, bytes = excluded.bytes,
			stored_bytes = excluded.stored_bytes, api_calls = excluded.api_calls, revision = u.revision + 1, revised_at = now()
		WHERE (u.requests, u.spans, u.sampled_spans, u.refused_spans, u.points, u.refused_points, u.bytes, u.stored_bytes, u.api_calls)
			<> (excluded.requests, excluded.spans, excluded.sampled_spans, excluded.refused_spans, excluded.points, excluded.refused_points,
				excluded.bytes, excluded.stored_bytes, excluded.api_calls)
		RETURNING ` + usageColumns
	const called = insert + `api_calls = excluded.api_calls, revision = u.revision + 1, revised_at = now()
		WHERE u.api_calls <> excluded.api_calls
		RETURNING ` + usageColumns
	var batch pgx.Batch
	queue := func(statement string, d *UsageDay) {
		batch.Queue(statement, d.Day, d.Tenant, d.Requests, d.Spans, d.Sampled, d.Refused, d.Points, d.RefusedPoints, d.Bytes, d.StoredBytes,
			d.APICalls).Query(func(rows pgx.Rows) error {
			some, err := pgx.CollectRows(rows, pgx.RowToStructByPos[UsageDay])
			written = append(written, some...)
			return err
		})
	}
	for i := range days {
		queue(counted, &days[i])
	}
	for i := range others {
		queue(called, &others[i])
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, fmt.Errorf("cannot store what was used: %w", err)
	}
	return written, nil
}

// usageColumns are those of control.usage_days as UsageDay has them.
const usageColumns = `day, tenant, requests, spans, sampled_spans, refused_spans, points, refused_points, bytes, stored_bytes, users, api_calls,
	revision, closed_at, revised_at`

// Days returns the closed days from first to last, both with them, of one tenant, or of all that one may see for the empty id: by
// day and tenant, at most limit.
func (u *Usage) Days(ctx context.Context, id ID, first, last time.Time, limit int) (days []UsageDay, err error) {
	read := func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT `+usageColumns+`
			FROM control.usage_days WHERE day BETWEEN $1 AND $2 AND ($3 = '' OR tenant = $3) ORDER BY day, tenant LIMIT $4`, first, last, id, limit)
		if err == nil {
			days, err = pgx.CollectRows(rows, pgx.RowToStructByPos[UsageDay])
		}
		if err != nil {
			return fmt.Errorf("cannot read what was used: %w", err)
		}
		return nil
	}
	if id == Untagged {
		err = postgres.AcrossTenants(ctx, u.pool, read)
	} else {
		err = postgres.InTenant(ctx, u.pool, id, read)
	}
	return days, err
}
