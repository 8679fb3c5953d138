package slo

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// StoreOptions are what a Store needs. Pool, ClickHouse and Logger are required.
type StoreOptions struct {
	Pool       *pgxpool.Pool
	ClickHouse driver.Conn
	Logger     *slog.Logger
}

// Store keeps the definitions, with their history, in PostgreSQL and tells ClickHouse what to count. It is safe for
// concurrent use by several processes.
type Store struct {
	pool *pgxpool.Pool
	ch   driver.Conn
	log  *slog.Logger
}

// NewStore returns the definitions of the pool's database.
func NewStore(o StoreOptions) (*Store, error) {
	if o.Pool == nil || o.ClickHouse == nil || o.Logger == nil {
		return nil, fmt.Errorf("cannot make an SLO store without pool, ClickHouse and logger")
	}
	return &Store{pool: o.Pool, ch: o.ClickHouse, log: o.Logger.With("component", "slo")}, nil
}

// Apply creates or changes the named SLOs and leaves all others alone. Whatever changed gets a new revision; what is as
// it was stays as it is. With dryRun it only says what it would do. Counting begins when ClickHouse has been told, right
// after the commit or, when it does not answer, as soon as the engine finds it behind.
func (s *Store) Apply(ctx context.Context, actor string, defs []Definition, dryRun bool) (Changes, error) {
	var changes Changes
	seen := map[string]bool{}
	for i := range defs {
		if err := defs[i].check(); err != nil {
			return changes, fault.Wrap(err, fault.Invalid, "SLO %q is not valid", defs[i].Name)
		}
		if seen[defs[i].Name] {
			return changes, fault.InvalidField("name", defs[i].Name, "stands twice in what is applied")
		}
		seen[defs[i].Name] = true
	}
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		changes.SLOs = changes.SLOs[:0]
		if err := lockGeneration(ctx, tx); err != nil {
			return err
		}
		for _, d := range defs {
			c, err := applyOne(ctx, tx, actor, d, dryRun)
			if err != nil {
				return fmt.Errorf("cannot apply SLO %q: %w", d.Name, err)
			}
			changes.SLOs = append(changes.SLOs, c)
		}
		if dryRun || !changes.Any() {
			return nil
		}
		return raiseGeneration(ctx, tx)
	})
	if err != nil || dryRun || !changes.Any() {
		return changes, err
	}
	changes.Deferred = !s.trySync(ctx)
	return changes, nil
}

// applyOne brings one SLO to the definition. The generation is locked.
func applyOne(ctx context.Context, tx pgx.Tx, actor string, d Definition, dryRun bool) (Change, error) {
	d.normalize()
	d.Revision, d.SLIRevision, d.AppliedAt = 0, 0, time.Time{}
	c := Change{Name: d.Name, Action: Created}
	old, last, err := current(ctx, tx, d.Name)
	if err != nil {
		return c, err
	}
	if old != nil {
		stored := *old
		stored.Revision, stored.SLIRevision, stored.AppliedAt = 0, 0, time.Time{}
		if equalJSON(stored, d) {
			return Change{Name: d.Name, Action: Unchanged, Revision: old.Revision}, nil
		}
		c.Action = Updated
	}
	d.Revision = last + 1
	d.SLIRevision = d.Revision
	if old != nil && old.sameSLI(&d) {
		d.SLIRevision = old.SLIRevision
	}
	c.Revision, c.Restarts, c.Fields = d.Revision, old != nil && d.SLIRevision == d.Revision, diff(old, &d)
	if dryRun {
		return c, nil
	}
	definition, err := json.Marshal(d)
	if err != nil {
		return c, err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO control.slos (name, revision, sli_revision) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, sli_revision = excluded.sli_revision, deleted_at = NULL`,
		d.Name, d.Revision, d.SLIRevision); err != nil {
		return c, err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO control.slo_revisions (slo, revision, sli_revision, definition, actor) VALUES ($1, $2, $3, $4, $5)`,
		d.Name, d.Revision, d.SLIRevision, definition, actor); err != nil {
		return c, err
	}
	var before any
	if old != nil {
		before = old
	}
	return c, tenant.Audit(ctx, tx, tenant.AuditEntry{Action: "slo." + string(c.Action), Resource: d.Name, Before: before, After: d, Actor: actor})
}

// Delete removes an SLO. Its history and its counts stay. The error is NotFound when there is none of this name.
func (s *Store) Delete(ctx context.Context, actor, name string) error {
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockGeneration(ctx, tx); err != nil {
			return err
		}
		old, last, err := current(ctx, tx, name)
		if err != nil {
			return fmt.Errorf("cannot read SLO %q: %w", name, err)
		}
		if old == nil {
			return notFound(name)
		}
		if _, err := tx.Exec(ctx, `UPDATE control.slos SET revision = $2, deleted_at = now() WHERE name = $1`, name, last+1); err != nil {
			return fmt.Errorf("cannot delete SLO %q: %w", name, err)
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO control.slo_revisions (slo, revision, sli_revision, actor) VALUES ($1, $2, $3, $4)`,
			name, last+1, old.SLIRevision, actor); err != nil {
			return fmt.Errorf("cannot delete SLO %q: %w", name, err)
		}
		if err := tenant.Audit(ctx, tx, tenant.AuditEntry{Action: "slo.deleted", Resource: name, Before: old, Actor: actor}); err != nil {
			return err
		}
		return raiseGeneration(ctx, tx)
	})
	if err != nil {
		return err
	}
	s.trySync(ctx)
	return nil
}

func notFound(name string) error {
	return fault.New(fault.NotFound, "there is no SLO named %q", name)
}

// List returns all SLOs as they stand, by name. Of a context that is confined (see clickhouse.Confine), those that it sees.
func (s *Store) List(ctx context.Context) ([]Definition, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT r.definition, r.revision, r.sli_revision, r.at
		FROM control.slos s JOIN control.slo_revisions r ON r.slo = s.name AND r.revision = s.revision
		WHERE s.deleted_at IS NULL ORDER BY s.name COLLATE "C"`)
	if err != nil {
		return nil, postgres.Translate(err)
	}
	defs, err := pgx.CollectRows(rows, scanDefinition)
	return slices.DeleteFunc(defs, func(d Definition) bool { return !d.confine(ctx) }), postgres.Translate(err)
}

// Get returns one SLO as it stands. The error is NotFound when there is none of this name.
func (s *Store) Get(ctx context.Context, name string) (*Definition, error) {
	d, _, err := current(ctx, s.pool, name)
	if err != nil {
		return nil, postgres.Translate(err)
	}
	if d == nil || !d.confine(ctx) {
		return nil, notFound(name)
	}
	return d, nil
}

// Revision is one entry of an SLO's history.
type Revision struct {
	Revision   uint32
	Actor      string
	At         time.Time
	Definition *Definition // nil for a deletion
	Fields     []FieldChange
}

// History returns the revisions of an SLO, the newest first, also of one that was deleted. The error is NotFound when
// there never was one of this name.
func (s *Store) History(ctx context.Context, name string) ([]Revision, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT revision, sli_revision, definition, actor, at FROM control.slo_revisions WHERE slo = $1 ORDER BY revision`, name)
	if err != nil {
		return nil, postgres.Translate(err)
	}
	var last *Definition
	history, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Revision, error) {
		var r Revision
		var sli uint32
		if err := row.Scan(&r.Revision, &sli, &r.Definition, &r.Actor, &r.At); err != nil {
			return r, err
		}
		if r.Definition != nil {
			r.Definition.Revision, r.Definition.SLIRevision, r.Definition.AppliedAt = r.Revision, sli, r.At.UTC()
			if !r.Definition.confine(ctx) {
				return r, notFound(name)
			}
			r.Fields = diff(last, r.Definition)
		}
		last = r.Definition
		return r, nil
	})
	if err != nil {
		return nil, postgres.Translate(err)
	}
	if len(history) == 0 {
		return nil, notFound(name)
	}
	for i, j := 0, len(history)-1; i < j; i, j = i+1, j-1 {
		history[i], history[j] = history[j], history[i]
	}
	return history, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// current returns an SLO as it stands, nil when there is none, and the last revision that its name had, 0 for none.
func current(ctx context.Context, q querier, name string) (*Definition, uint32, error) {
	rows, err := q.Query(ctx, `
		SELECT r.definition, r.revision, r.sli_revision, r.at
		FROM control.slos s JOIN control.slo_revisions r ON r.slo = s.name AND r.revision = s.revision WHERE s.name = $1`, name)
	if err != nil {
		return nil, 0, err
	}
	defs, err := pgx.CollectRows(rows, scanDefinition)
	if err != nil || len(defs) == 0 {
		return nil, 0, err
	}
	if d := &defs[0]; d.Name != "" {
		return d, d.Revision, nil
	}
	return nil, defs[0].Revision, nil // deleted: its newest revision has no definition
}

func scanDefinition(row pgx.CollectableRow) (Definition, error) {
	var d *Definition
	var revision, sli uint32
	var at time.Time
	if err := row.Scan(&d, &revision, &sli, &at); err != nil {
		return Definition{}, err
	}
	if d == nil {
		d = &Definition{}
	}
	d.Revision, d.SLIRevision, d.AppliedAt = revision, sli, at.UTC()
	return *d, nil
}
