package slo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/postgres"
)

// ClickHouse's slo_objectives is a copy of what PostgreSQL has. Every change in PostgreSQL raises a generation in the
// same transaction, and every copy carries it. So a crash between the two is found by comparing two numbers, and writing
// the same generation twice changes nothing.

func lockGeneration(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT FROM control.slo_generation FOR UPDATE`); err != nil {
		return fmt.Errorf("cannot lock the SLOs: %w", err)
	}
	return nil
}

func raiseGeneration(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `UPDATE control.slo_generation SET generation = generation + 1`); err != nil {
		return fmt.Errorf("cannot raise the generation of the SLOs: %w", err)
	}
	return nil
}

// trySync is Sync for callers whose own work is done: a failure is logged and left to the engine's next cycle.
func (s *Store) trySync(ctx context.Context) bool {
	if _, err := s.Sync(ctx); err != nil {
		s.log.WarnContext(ctx, "SLOs are stored, but ClickHouse does not count by them yet", "error", err)
		return false
	}
	return true
}

// syncTimeout bounds how long a ClickHouse that does not answer can keep changes out.
const syncTimeout = 15 * time.Second

// Sync brings ClickHouse's copy of the objectives to PostgreSQL's state and reports whether it was behind.
func (s *Store) Sync(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(clickhouse.OwnWork(ctx), syncTimeout)
	defer cancel()
	var want uint64
	if err := s.pool.QueryRow(ctx, `SELECT generation FROM control.slo_generation`).Scan(&want); err != nil {
		return false, fmt.Errorf("cannot read the generation of the SLOs: %w", postgres.Translate(err))
	}
	have, _, err := s.copied(ctx)
	if err != nil || have == want {
		return false, err
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// The lock keeps changes out until ClickHouse has been told, so that no older state is written after a newer one.
		if err := tx.QueryRow(ctx, `SELECT generation FROM control.slo_generation FOR UPDATE`).Scan(&want); err != nil {
			return fmt.Errorf("cannot lock the SLOs: %w", err)
		}
		have, known, err := s.copied(ctx)
		if err != nil || have == want {
			return err
		}
		if have > want { // PostgreSQL was restored from a backup: it is the truth all the same
			want = have + 1
			if _, err := tx.Exec(ctx, `UPDATE control.slo_generation SET generation = $1`, int64(want)); err != nil {
				return fmt.Errorf("cannot raise the generation of the SLOs: %w", err)
			}
		}
		rows, err := tx.Query(ctx, `
			SELECT r.definition, r.revision, r.sli_revision, r.at
			FROM control.slos s JOIN control.slo_revisions r ON r.slo = s.name AND r.revision = s.revision WHERE s.deleted_at IS NULL`)
		if err != nil {
			return fmt.Errorf("cannot read the SLOs: %w", err)
		}
		defs, err := pgx.CollectRows(rows, scanDefinition)
		if err != nil {
			return fmt.Errorf("cannot read the SLOs: %w", err)
		}
		return s.writeObjectives(ctx, want, defs, known)
	})
	return err == nil, err
}

// copied returns the generation of ClickHouse's copy, 0 for none, and the names that it has.
func (s *Store) copied(ctx context.Context) (generation uint64, names []string, err error) {
	err = s.ch.QueryRow(ctx, `SELECT max(generation), groupArrayDistinct(slo) FROM slo_objectives`).Scan(&generation, &names)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot read the objectives in ClickHouse: %w", err)
	}
	return generation, names, nil
}

// writeObjectives writes the objectives of defs, and of what is only known to ClickHouse as no longer active, in one
// block: ClickHouse sees all of them or none.
func (s *Store) writeObjectives(ctx context.Context, generation uint64, defs []Definition, known []string) error {
	objectives := map[string]objective{"": {}} // a row that counts nothing carries the generation when there is no SLO
	for _, name := range known {
		objectives[name] = objective{SLO: name}
	}
	for i := range defs {
		objectives[defs[i].Name] = newObjective(&defs[i])
	}
	batch, err := s.ch.PrepareBatch(ctx, `INSERT INTO slo_objectives`)
	if err != nil {
		return fmt.Errorf("cannot write the objectives to ClickHouse: %w", err)
	}
	defer func() { _ = batch.Close() }()
	for _, o := range objectives {
		o.Generation = generation
		if o.Methods == nil {
			o.Methods = []string{}
		}
		if o.ExcludeStatuses == nil {
			o.ExcludeStatuses = []uint16{}
		}
		if err := batch.AppendStruct(&o); err != nil {
			return fmt.Errorf("cannot write the objective of SLO %q to ClickHouse: %w", o.SLO, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("cannot write the objectives to ClickHouse: %w", err)
	}
	return nil
}
