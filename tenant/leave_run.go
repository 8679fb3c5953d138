package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	// departureTick is how often deletions are looked for that go on.
	departureTick = time.Second
	// CollectorLives is after how long without a word a collector counts as not running: a deletion no longer waits for it.
	CollectorLives = 15 * time.Second
	// sweptFor is how long after a deletion somebody looks whether anything has come back, ever more rarely: what was computed
	// before may be written after.
	sweptFor = time.Hour
	// firstSweep is when that begins.
	firstSweep = 10 * time.Second
	// departureLock is the first key of the advisory locks of deletions; the second is a hash of the tenant's id.
	departureLock = 0x676f6e65 // "gone"
)

// Run works on deletions until ctx ends.
func (d *Departures) Run(ctx context.Context) error {
	tick := time.NewTicker(departureTick)
	defer tick.Stop()
	failing := false
	for {
		err := d.workAll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			d.log.Warn("a deletion of a tenant cannot go on now; it is tried again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.wake:
		}
	}
}

// workAll takes every deletion that has something to do one step further, also when another cannot go on.
func (d *Departures) workAll(ctx context.Context) error {
	rows, err := d.pool.Query(ctx, `
		SELECT id FROM control.deleted_tenants t
		WHERE state <> 'done' OR ended_at IS NULL AND (
			now() < done_at + $1::interval AND now() > coalesce(swept_at, done_at) + greatest((coalesce(swept_at, done_at) - done_at) / 2, $2::interval)
			OR EXISTS (SELECT FROM control.collectors c WHERE c.id = ANY(t.awaited) AND c.drained >= t.deletion))
		ORDER BY requested_at`, sweptFor, firstSweep)
	if err != nil {
		return postgres.Translate(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[ID])
	if err != nil {
		return postgres.Translate(err)
	}
	var failed []error
	for _, id := range ids {
		if err := d.exclusively(ctx, id, func() error { return d.work(ctx, id) }); err != nil {
			failed = append(failed, fmt.Errorf("cannot delete tenant %q: %w", id, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// exclusively runs f unless another process works on the tenant. The lock is gone with its session, and so with the process.
func (d *Departures) exclusively(ctx context.Context, id ID, f func() error) error {
	return d.owner.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		var locked bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, hashtext($2))`, departureLock, id).Scan(&locked); err != nil || !locked {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1, hashtext($2))`, departureLock, id); err != nil {
				_ = conn.Conn().Close(ctx)
			}
		}()
		return f()
	})
}

func (d *Departures) work(ctx context.Context, id ID) error {
	is, err := d.read(ctx, id)
	switch {
	case err != nil:
		return err
	case is.EndedAt != nil:
		return nil
	case is.State == deletionDone:
		return d.sweep(ctx, id)
	case is.State == deletionRefusing:
		behind, err := d.behind(ctx, id)
		if err != nil {
			return err
		}
		if len(behind) > 0 {
			return d.note(ctx, id, "waits for collectors to empty their spools of what they took before: "+strings.Join(behind, ", "))
		}
		tables, err := d.count(ctx, id) // what there is, for the record; it is erased in the next step, also after a crash
		if err != nil {
			return err
		}
		if err := d.advance(ctx, id, deletionErasing, tables); err != nil {
			return err
		}
		is.Tables = tables
	}
	after, err := d.erase(ctx, id)
	if err != nil {
		return err
	}
	if n := left(after); n > 0 {
		return d.note(ctx, id, fmt.Sprintf("%d rows came while it was erased, and are erased again", n))
	}
	return d.finish(ctx, id, is.Tables, after)
}

// behind returns the running collectors that may still bring something of the tenant.
func (d *Departures) behind(ctx context.Context, id ID) ([]string, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT c.id FROM control.collectors c, control.deleted_tenants t
		WHERE t.id = $1 AND c.drained < t.deletion AND c.seen_at > now() - $2::interval ORDER BY 1`, id, CollectorLives)
	if err != nil {
		return nil, postgres.Translate(err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (d *Departures) note(ctx context.Context, id ID, detail string) error {
	_, err := d.pool.Exec(ctx, `UPDATE control.deleted_tenants SET detail = $2 WHERE id = $1 AND detail <> $2`, id, detail)
	return postgres.Translate(err)
}

func (d *Departures) advance(ctx context.Context, id ID, state string, tables []ErasedTable) error {
	_, err := d.pool.Exec(ctx, `UPDATE control.deleted_tenants SET state = $2, detail = '', erased = $3 WHERE id = $1`, id, state, tables)
	return postgres.Translate(err)
}

// finish records that nothing is left, with the proof, here and in the audit log.
func (d *Departures) finish(ctx context.Context, id ID, before, after []ErasedTable) error {
	for i := range after {
		for _, b := range before {
			if b.Database == after[i].Database && b.Table == after[i].Table {
				after[i].Erased = b.Left
			}
		}
	}
	proof, err := json.Marshal(after)
	if err != nil {
		return err
	}
	err = postgres.InTenant(ctx, d.pool, id, func(tx pgx.Tx) error {
		var by string
		if err := tx.QueryRow(ctx, `
			UPDATE control.deleted_tenants t SET state = 'done', detail = '', erased = $2::text::jsonb, done_at = now(), swept_at = NULL,
				awaited = ARRAY(SELECT c.id FROM control.collectors c WHERE c.drained < t.deletion ORDER BY 1)
			WHERE id = $1 RETURNING requested_by`, id, string(proof)).Scan(&by); err != nil {
			return err
		}
		return auditDeparture(ctx, tx, by, "tenant.erase", id, map[string]json.RawMessage{"tables": proof})
	})
	if err == nil {
		d.store.forget()
		d.log.Info("a tenant was deleted", "tenant", id, "tables", len(after))
	}
	return err
}

// sweep erases what came back after a deletion: what a process that had not heard of it had on its way.
func (d *Departures) sweep(ctx context.Context, id ID) error {
	tables, err := d.count(ctx, id)
	if err != nil {
		return err
	}
	rows := left(tables)
	if rows > 0 {
		after, err := d.erase(ctx, id)
		if err != nil {
			return err
		}
		if n := left(after); n > 0 {
			return fmt.Errorf("%d rows are back", n)
		}
	}
	return postgres.InTenant(ctx, d.pool, id, func(tx pgx.Tx) error {
		var by string
		if err := tx.QueryRow(ctx, `
			UPDATE control.deleted_tenants t SET swept_at = now(), awaited = ARRAY(
				SELECT a FROM unnest(t.awaited) a WHERE NOT EXISTS (SELECT FROM control.collectors c WHERE c.id = a AND c.drained >= t.deletion))
			WHERE id = $1 RETURNING requested_by`, id).Scan(&by); err != nil || rows == 0 {
			return err
		}
		d.log.Info("something of a deleted tenant came late and was erased", "tenant", id, "rows", rows)
		return auditDeparture(ctx, tx, cmp.Or(by, keyFileActor), "tenant.erase", id, map[string]int64{"late_rows": rows})
	})
}
