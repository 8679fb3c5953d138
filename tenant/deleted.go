package tenant

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/postgres"
)

// The states of a deletion.
const (
	deletionRefusing = "refusing" // collectors learn that they refuse the tenant, and empty what they have of it
	deletionErasing  = "erasing"  // its rows are removed
	deletionDone     = "done"     // none was left
)

// Departed is a tenant that was deleted, now or before it was created again.
type Departed struct {
	Tenant   ID    `json:"tenant"`
	Deletion int64 `json:"deletion"` // the generation with which it was deleted
	Ended    bool  `json:"ended"`    // it was created again
}

// DepartedTable is everybody who was deleted, as of a generation. It is never changed.
type DepartedTable struct {
	Generation int64 // 0: nothing was read yet
	Tenants    map[ID]Departed
	Newer      <-chan struct{} // closed when there is a later one
	newer      chan struct{}
}

// Deleted knows which tenants were deleted. It learns of changes as Keys does: by a notification, and by asking for one row
// every half a second. While PostgreSQL is away, what was known holds. It is safe for concurrent use.
type Deleted struct {
	pool  *pgxpool.Pool
	table atomic.Pointer[DepartedTable]
}

var deletedReadsFailed = metrics.NewCounter("headroom_deleted_tenants_reads_failed_total")

// DeletedChannel is what PostgreSQL notifies when a tenant was deleted or created again.
const DeletedChannel = "headroom_deleted_tenants"

// NewDeleted returns the deleted tenants of the pool's database. It knows nothing before Run has read.
func NewDeleted(pool *pgxpool.Pool) *Deleted {
	d := &Deleted{pool: pool}
	d.table.Store(newDepartedTable(0, nil))
	return d
}

func newDepartedTable(generation int64, tenants map[ID]Departed) *DepartedTable {
	newer := make(chan struct{})
	return &DepartedTable{Generation: generation, Tenants: tenants, Newer: newer, newer: newer}
}

// Table returns what is known.
func (d *Deleted) Table() *DepartedTable { return d.table.Load() }

// Run follows what changes until ctx ends; see Keys.Run for direct.
func (d *Deleted) Run(ctx context.Context, log *slog.Logger, direct *pgxpool.Pool) error {
	log = log.With("component", "deleted tenants")
	changed := make(chan struct{}, 1)
	var parts sync.WaitGroup
	parts.Go(func() { listen(ctx, log, direct, DeletedChannel, "headroom deleted tenants", changed) })
	defer parts.Wait()
	poll := time.NewTicker(keyPoll)
	defer poll.Stop()
	for failing := false; ; {
		err := d.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			deletedReadsFailed.Inc()
			if !failing {
				log.Warn("which tenants were deleted cannot be read: those that are known to be are refused on", "error", err)
			}
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-changed:
		}
	}
}

// read asks for the generation, and for all deletions if it is another: they are few.
func (d *Deleted) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	known := d.table.Load()
	var generation int64
	if err := d.pool.QueryRow(ctx, `SELECT generation FROM control.tenant_departures`).Scan(&generation); err != nil {
		return postgres.Translate(err)
	}
	if generation == known.Generation {
		return nil
	}
	rows, err := d.pool.Query(ctx, `SELECT id, deletion, ended_at IS NOT NULL FROM control.deleted_tenants`) // maybe newer already
	if err != nil {
		return postgres.Translate(err)
	}
	defer rows.Close()
	tenants := make(map[ID]Departed)
	for rows.Next() {
		var t Departed
		if err := rows.Scan(&t.Tenant, &t.Deletion, &t.Ended); err != nil {
			return fmt.Errorf("cannot read a deleted tenant: %w", err)
		}
		tenants[t.Tenant] = t
	}
	if err := rows.Err(); err != nil {
		return postgres.Translate(err)
	}
	d.table.Store(newDepartedTable(generation, tenants))
	close(known.newer)
	return nil
}

// CollectorState is what a collector says of itself.
type CollectorState struct {
	ID          string // of its spool, for ever
	Refuses     int64  // the generation of the table that it knows
	Drained     int64  // the generation from before which nothing is left in its spool
	Quarantined int    // files that wait for a person
}

// Report tells how far a collector is, and that it lives: a deletion waits for it. Call it more often than CollectorLives.
func (d *Deleted) Report(ctx context.Context, s CollectorState) error {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	_, err := d.pool.Exec(ctx, `
		INSERT INTO control.collectors (id, seen_at, refuses, drained, quarantined) VALUES ($1, now(), $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET seen_at = now(), refuses = excluded.refuses, drained = excluded.drained, quarantined = excluded.quarantined`,
		s.ID, s.Refuses, s.Drained, s.Quarantined)
	return postgres.Translate(err)
}
