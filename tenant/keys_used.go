package tenant

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	// useInterval is how often the uses of keys are written, those of all keys in one statement.
	useInterval = 10 * time.Second
	// usePrecision is how far what is stored may be behind, so that a key in use costs one write of a row in so long.
	usePrecision = time.Minute
)

// keyUse is when a key was used last, as Unix seconds; 0 is never. It is shared by all versions of a knownKey.
type keyUse struct {
	last  atomic.Int64
	saved atomic.Int64 // what was written last
}

func (u *keyUse) note(now time.Time) {
	if s := now.Unix(); u.last.Load() != s { // a write takes the line from the other processors
		u.last.Store(s)
	}
}

// recordUses writes when keys were used, now and then until ctx ends, and then once more.
func (k *Keys) recordUses(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(useInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := k.saveUses(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Debug("cannot record when API keys were used, trying again", "error", err, "delay", useInterval)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (k *Keys) saveUses(ctx context.Context) error {
	var (
		ids  []int64
		at   []time.Time
		uses []*keyUse
	)
	for _, n := range k.table.Load().keys {
		if last, saved := n.use.last.Load(), n.use.saved.Load(); last != saved && last-saved >= int64(usePrecision/time.Second) {
			ids, at, uses = append(ids, n.KeyID), append(at, time.Unix(last, 0)), append(uses, n.use)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	// Instances write the same rows: what another one is writing now need not be written twice, nor waited for.
	err := postgres.AcrossTenants(ctx, k.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			WITH used AS (
				SELECT k.id, u.at
				FROM unnest($1::bigint[], $2::timestamptz[]) AS u (id, at) JOIN control.api_keys k USING (id)
				WHERE k.last_used_at IS NULL OR k.last_used_at <= u.at - $3::interval
				FOR NO KEY UPDATE OF k SKIP LOCKED
			)
			UPDATE control.api_keys k SET last_used_at = used.at FROM used WHERE k.id = used.id`, ids, at, usePrecision)
		return err
	})
	if err != nil {
		return err
	}
	for i, u := range uses {
		u.saved.Store(at[i].Unix())
	}
	return nil
}
