package tenant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Deletion is how the deletion of a tenant stands.
type Deletion struct {
	Tenant      ID            `json:"tenant"`
	State       string        `json:"state" enum:"refusing,erasing,done"`
	Detail      string        `json:"detail,omitempty" doc:"What it waits for."`
	RequestedAt time.Time     `json:"requested_at"`
	RequestedBy string        `json:"requested_by"`
	DoneAt      *time.Time    `json:"done_at,omitempty"`
	EndedAt     *time.Time    `json:"created_again_at,omitempty"`
	Tables      []ErasedTable `json:"tables" doc:"Every table that can hold rows of a tenant, in both databases."`
	Awaited     []string      `json:"awaited,omitempty" doc:"Collectors that were not running when it ended. They drop what they have of the tenant when they come back."`
	Quarantined int           `json:"quarantined" doc:"Files in the collectors' quarantines, which may hold rows of any tenant: see docs/tenants.md."`
	OldParts    int           `json:"old_parts" doc:"Files of ClickHouse's from before it, which it removes within old_parts_lifetime, 8 minutes by default."`
}

// ErasedTable is what a deletion did to a table.
type ErasedTable struct {
	Database string `json:"database" enum:"clickhouse,postgresql"`
	Table    string `json:"table"`
	Erased   int64  `json:"erased" doc:"Rows that were there when it was erased."`
	Left     int64  `json:"left" doc:"Rows that were counted afterwards: 0 when the deletion is done."`
}

// Departures deletes tenants. It is safe for concurrent use by several processes: PostgreSQL holds how far a deletion is,
// and a lock of its sees to it that one works on it at a time, so whoever dies over it is followed by another.
type Departures struct {
	pool, owner *pgxpool.Pool
	ch          *clickhouse.HTTP
	store       *Store
	keys        *Keys
	log         *slog.Logger
	wake        chan struct{}
}

// NewDepartures returns what deletes tenants. The owner's pool drops schemas and locks; ch is ClickHouse's.
func NewDepartures(pool, owner *pgxpool.Pool, ch *clickhouse.HTTP, store *Store, keys *Keys, log *slog.Logger) *Departures {
	return &Departures{pool, owner, ch, store, keys, log.With("component", "departures"), make(chan struct{}, 1)}
}

// Delete begins to delete a tenant: from the commit on its keys are revoked and its people out, and within a second all collectors refuse it.
// Run does the rest. A second call changes nothing. The error is NotFound for a tenant that nobody has heard of.
func (d *Departures) Delete(ctx context.Context, actor string, id ID) (Deletion, error) {
	if id == Untagged {
		return Deletion{}, fault.InvalidField("tenant", "", "must not be empty")
	}
	if _, err := ParseID(string(id)); err != nil {
		return Deletion{}, err
	}
	if is, err := d.Status(ctx, id); err == nil && is.EndedAt == nil || err != nil && !fault.Is(err, fault.NotFound) {
		return is, err
	}
	if known, err := d.isKnown(ctx, id); err != nil || !known {
		if err == nil {
			err = fault.New(fault.NotFound, "there is no tenant %q, and no telemetry of one", id)
		}
		return Deletion{}, err
	}
	err := postgres.InTenant(ctx, d.pool, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO control.deleted_tenants (id, deletion, requested_by) VALUES ($1, 0, $2)
			ON CONFLICT (id) DO UPDATE SET deletion = 0, requested_at = now(), requested_by = excluded.requested_by, state = 'refusing',
				detail = '', erased = '[]', done_at = NULL, swept_at = NULL, awaited = '{}', ended_at = NULL
			WHERE deleted_tenants.ended_at IS NOT NULL`, id, actor)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE control.api_keys SET revoked_at = now() WHERE tenant = $1 AND revoked_at IS NULL`, id); err != nil {
			return err
		}
		// Its people are out from now on. Who they were is read from its schema when that is erased.
		for _, table := range []string{"control.memberships", "control.sessions"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE tenant = $1`, id); err != nil {
				return err
			}
		}
		return auditDeparture(ctx, tx, actor, "tenant.delete", id, nil)
	})
	if err != nil {
		return Deletion{}, fmt.Errorf("cannot begin to delete tenant %q: %w", id, err)
	}
	d.keys.lookAgain(ctx)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return d.Status(ctx, id)
}

// auditDeparture writes of a deletion what may stay: who, when, which id, and how many rows. The entry is the operator's, so
// it is not deleted with the tenant's own.
func auditDeparture(ctx context.Context, tx pgx.Tx, actor, action string, id ID, after any) error {
	return Audit(ctx, tx, AuditEntry{Action: action, Resource: string(id), Actor: actor, After: after})
}

// NoteExport writes to the audit log that the caller exports a tenant.
func (d *Departures) NoteExport(ctx context.Context, id ID) error {
	who, _ := IdentityFrom(ctx)
	return postgres.InTenant(ctx, d.pool, id, func(tx pgx.Tx) error {
		return Audit(ctx, tx, AuditEntry{Action: "tenant.export", Resource: string(id), Tenant: id, Actor: who.Name})
	})
}

// isKnown reports whether somebody created the tenant, or anything is stored of it.
func (d *Departures) isKnown(ctx context.Context, id ID) (known bool, err error) {
	err = postgres.InTenant(ctx, d.pool, id, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM control.tenants WHERE id = $1) OR EXISTS (SELECT FROM control.api_keys WHERE tenant = $1)`, id).Scan(&known)
	})
	if known || err != nil {
		return known, err
	}
	tables, err := d.countClickHouse(ctx, id)
	if err != nil {
		return false, fault.Wrap(err, fault.Unavailable, "ClickHouse does not answer")
	}
	return left(tables) > 0, nil
}

const selectDeletion = `
	SELECT id, state, detail, requested_at, requested_by, done_at, ended_at, erased, awaited,
		(SELECT coalesce(sum(quarantined), 0) FROM control.collectors) FROM control.deleted_tenants WHERE id = $1`

// Status returns how the last deletion of a tenant stands. The error is NotFound when there was none.
func (d *Departures) Status(ctx context.Context, id ID) (Deletion, error) {
	is, err := d.read(ctx, id)
	if err != nil {
		return Deletion{}, err
	}
	if is.DoneAt != nil {
		if is.OldParts, err = d.oldParts(ctx, *is.DoneAt); err != nil {
			is.OldParts = -1 // ClickHouse is away
		}
	}
	return is, nil
}

func (d *Departures) read(ctx context.Context, id ID) (is Deletion, err error) {
	err = d.pool.QueryRow(ctx, selectDeletion, id).Scan(&is.Tenant, &is.State, &is.Detail, &is.RequestedAt, &is.RequestedBy, &is.DoneAt,
		&is.EndedAt, &is.Tables, &is.Awaited, &is.Quarantined)
	if errors.Is(err, pgx.ErrNoRows) {
		return is, fault.New(fault.NotFound, "tenant %q was not deleted", id)
	}
	return is, postgres.Translate(err)
}

func left(tables []ErasedTable) (n int64) {
	for _, t := range tables {
		n += t.Left
	}
	return n
}
