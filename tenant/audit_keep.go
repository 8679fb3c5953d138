package tenant

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	// DefaultAuditRetention is how long the operator's entries are kept.
	DefaultAuditRetention = 400 * day
	// MinAuditRetention is the least that can be set.
	MinAuditRetention = day

	day = 24 * time.Hour

	monthsAhead   = 3 // that have their partition before they begin
	keepInterval  = day
	keepAgain     = 10 * time.Minute // after a failure
	auditLock     = 0x6175646974     // "audit": the key of the advisory lock of those who keep the log
	auditLockWait = "5s"             // for the table; who waits for it holds up those who come after
)

// AuditKeeper makes the audit log's partitions ahead of time and removes what has been kept for long enough. Every process
// may run one: they take turns.
type AuditKeeper struct {
	Owner    *pgxpool.Pool // owns the tables
	Operator time.Duration // how long the operator's entries are kept; DefaultAuditRetention by default
	Logger   *slog.Logger
}

// Run keeps the log until ctx ends.
func (k *AuditKeeper) Run(ctx context.Context) error {
	log := k.Logger.With("component", "audit")
	for {
		wait := keepInterval
		if err := k.keep(ctx, time.Now(), log); err != nil && ctx.Err() == nil {
			wait = keepAgain // what is written meanwhile finds a place in the default partition
			log.Error("the audit log could not be kept in order, trying again", "error", err, "delay", wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (k *AuditKeeper) keep(ctx context.Context, now time.Time, log *slog.Logger) error {
	if err := k.makePartitions(ctx, now, log); err != nil {
		return err
	}
	if err := k.dropPartitions(ctx, now, log); err != nil {
		return err
	}
	return k.deleteExpired(ctx, now, log)
}

// inTurn runs f in a transaction that crosses tenants unless another process is at it just now.
func (k *AuditKeeper) inTurn(ctx context.Context, f func(tx pgx.Tx) error) error {
	return postgres.AcrossTenants(ctx, k.Owner, func(tx pgx.Tx) error {
		var mine bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1), set_config('lock_timeout', $2, true)`, int64(auditLock), auditLockWait).
			Scan(&mine, nil)
		if err != nil || !mine {
			return err
		}
		return f(tx)
	})
}

// makePartitions makes those of this month and the next ones, and of all months that the default partition holds entries of.
func (k *AuditKeeper) makePartitions(ctx context.Context, now time.Time, log *slog.Logger) error {
	var months []time.Time
	this := monthOf(now)
	for n := range monthsAhead + 1 {
		months = append(months, this.AddDate(0, n, 0))
	}
	err := k.inTurn(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT date_trunc('month', at, 'UTC'), count(*) FROM control.audit_log_default GROUP BY 1`)
		if err != nil {
			return err
		}
		var month time.Time
		var n int
		_, err = pgx.ForEachRow(rows, []any{&month, &n}, func() error {
			log.Warn("entries of the audit log waited for their month's partition: it is made now", "month", month.UTC().Format("2006-01"), "entries", n)
			months = append(months, month.UTC())
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot read the audit log's default partition: %w", err)
	}
	for _, month := range months { // each by itself, so that nobody waits for long
		err := k.inTurn(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT control.make_audit_partition($1::date)`, month.Format(time.DateOnly))
			return err
		})
		if err != nil {
			return fmt.Errorf("cannot make the audit log's partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	return nil
}

// monthOf returns the first moment of the month of UTC that t is in.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// operatorSince is the time before which the operator's entries go.
func (k *AuditKeeper) operatorSince(now time.Time) time.Time {
	return now.Add(-cmp.Or(k.Operator, DefaultAuditRetention))
}

// builtInAuditDays returns how long plans keep the audit log where nobody has said.
func builtInAuditDays() (plans []string, days []int64) {
	for _, p := range Plans() {
		plans, days = append(plans, string(p)), append(days, builtIn(p)[AuditRetentionDays])
	}
	return plans, days
}

// dropPartitions drops the months that ended before nobody's entries are kept any more, and says so in the log.
func (k *AuditKeeper) dropPartitions(ctx context.Context, now time.Time, log *slog.Logger) error {
	return k.inTurn(ctx, func(tx pgx.Tx) error {
		var days int
		plans, builtIns := builtInAuditDays()
		err := tx.QueryRow(ctx, `
			SELECT max(value) FROM (
				SELECT value FROM control.plan_settings WHERE key = $1
				UNION ALL SELECT value FROM control.plan_overrides WHERE key = $1
				UNION ALL SELECT b.days FROM unnest($2::text[], $3::bigint[]) AS b (plan, days)
				WHERE NOT EXISTS (SELECT FROM control.plan_settings s WHERE s.plan = b.plan AND s.key = $1)
			) v`, AuditRetentionDays, plans, builtIns).Scan(&days)
		if err != nil {
			return fmt.Errorf("cannot read how long plans keep the audit log: %w", err)
		}
		oldest := now.AddDate(0, 0, -days)
		if operator := k.operatorSince(now); operator.Before(oldest) {
			oldest = operator
		}
		rows, err := tx.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'control.audit_log'::regclass`)
		if err != nil {
			return fmt.Errorf("cannot list the audit log's partitions: %w", err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("cannot list the audit log's partitions: %w", err)
		}
		slices.Sort(names)
		for _, name := range names {
			month, err := time.Parse("2006_01", strings.TrimPrefix(name, "audit_log_"))
			if err != nil || month.AddDate(0, 1, 0).After(oldest) { // the default partition has no month
				continue
			}
			table := pgx.Identifier{"control", name}.Sanitize()
			var n int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil {
				return fmt.Errorf("cannot count the audit log's entries of %s: %w", month.Format("2006-01"), err)
			}
			if _, err := tx.Exec(ctx, `DROP TABLE `+table); err != nil {
				return fmt.Errorf("cannot drop the audit log's partition of %s: %w", month.Format("2006-01"), err)
			}
			log.Info("dropped a month of the audit log", "month", month.Format("2006-01"), "entries", n)
			err = Audit(ctx, tx, AuditEntry{Action: "audit.expire", Resource: month.Format("2006-01"), Before: map[string]any{"entries": n}})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteExpired deletes what its tenant's plan keeps no longer, and says so in the log. What is of tenants that nobody gave a
// plan is kept as the operator's.
func (k *AuditKeeper) deleteExpired(ctx context.Context, now time.Time, log *slog.Logger) error {
	return k.inTurn(ctx, func(tx pgx.Tx) error {
		plans, builtIns := builtInAuditDays()
		tag, err := tx.Exec(ctx, `
			WITH kept AS (
				SELECT t.id AS tenant, $1 - make_interval(days => coalesce(o.value, s.value, b.days)::int) AS since
				FROM control.tenants t
				LEFT JOIN unnest($4::text[], $5::bigint[]) AS b (plan, days) ON b.plan = t.plan
				LEFT JOIN control.plan_settings s ON s.plan = t.plan AND s.key = $3
				LEFT JOIN control.plan_overrides o ON o.tenant = t.id AND o.key = $3 AND (o.ends_at IS NULL OR o.ends_at > $1)
			)
			DELETE FROM control.audit_log WHERE at < $1 - interval '1 day' AND (at, id) IN (
				SELECT a.at, a.id FROM control.audit_log a LEFT JOIN kept k ON k.tenant = a.tenant
				WHERE a.at < $1 - interval '1 day' AND a.at < coalesce(k.since, $2))`, now, k.operatorSince(now), AuditRetentionDays, plans, builtIns)
		if err != nil {
			return fmt.Errorf("cannot delete expired entries of the audit log: %w", err)
		}
		n := tag.RowsAffected()
		if n == 0 {
			return nil
		}
		log.Info("deleted what the audit log need not keep", "entries", n)
		return Audit(ctx, tx, AuditEntry{Action: "audit.expire", Resource: "entries", Before: map[string]any{"entries": n}})
	})
}
