package slo

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

const correctionColumns = `id, reason, slos, tenants, starts_at, ends_at, repeats, time_zone, created_by, created_at,
	revoked_at, coalesce(revoked_by, ''), coalesce(revoked_why, '')`

func scanCorrection(row pgx.CollectableRow) (Correction, error) {
	var c Correction
	err := row.Scan(&c.ID, &c.Reason, &c.SLOs, &c.Tenants, &c.StartsAt, &c.EndsAt, &c.Repeats, &c.TimeZone, &c.CreatedBy, &c.CreatedAt,
		&c.RevokedAt, &c.RevokedBy, &c.RevokedWhy)
	c.StartsAt, c.EndsAt = c.StartsAt.UTC(), c.EndsAt.UTC()
	return c, err
}

// CorrectionsInForce returns the corrections that can concern a window that ends now, of all tenants.
func (s *Store) CorrectionsInForce(ctx context.Context) ([]Correction, error) {
	return s.corrections(ctx, `WHERE revoked_at IS NULL AND (repeats <> '' OR ends_at > now() - interval '100 days')`)
}

// Corrections returns all corrections, also those that were revoked, the latest first. It crosses tenants.
func (s *Store) Corrections(ctx context.Context, limit int) ([]Correction, error) {
	return s.corrections(ctx, `ORDER BY created_at DESC, id LIMIT $1`, limit)
}

func (s *Store) corrections(ctx context.Context, which string, args ...any) ([]Correction, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+correctionColumns+` FROM control.corrections `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the corrections: %w", postgres.Translate(err))
	}
	all, err := pgx.CollectRows(rows, scanCorrection)
	if err != nil {
		return nil, fmt.Errorf("cannot read the corrections: %w", postgres.Translate(err))
	}
	return all, nil
}

// AddCorrection puts a correction in force and returns it with its id. Who makes it is in the context, and else actor.
func (s *Store) AddCorrection(ctx context.Context, actor string, c Correction) (*Correction, error) {
	if c.TimeZone == "" {
		c.TimeZone = "UTC"
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.SLOs == nil {
		c.SLOs = []string{}
	}
	if c.Tenants == nil {
		c.Tenants = []tenant.ID{}
	}
	c.ID = "c-" + strings.ToLower(rand.Text()[:8])
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		for _, name := range c.SLOs {
			if d, _, err := current(ctx, tx, name); err != nil {
				return fmt.Errorf("cannot read SLO %q: %w", name, err)
			} else if d == nil {
				return fault.InvalidField("slos", name, "is the name of no SLO")
			}
		}
		if err := tx.QueryRow(ctx, `
			INSERT INTO control.corrections (id, reason, slos, tenants, starts_at, ends_at, repeats, time_zone, created_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING created_by, created_at`,
			c.ID, c.Reason, c.SLOs, c.Tenants, c.StartsAt, c.EndsAt, c.Repeats, c.TimeZone, actor).Scan(&c.CreatedBy, &c.CreatedAt); err != nil {
			return fmt.Errorf("cannot add a correction: %w", err)
		}
		return tenant.Audit(ctx, tx, tenant.AuditEntry{Action: "correction.created", Resource: c.ID, Operator: true, After: correctionViewOf(&c), Actor: actor})
	})
	return &c, err
}

// RevokeCorrection ends what a correction does, also to the past. The error is NotFound when there is none with this id, and
// Conflict when it was revoked before.
func (s *Store) RevokeCorrection(ctx context.Context, actor, id, why string) error {
	if strings.TrimSpace(why) == "" || len(why) > maxCorrectionReason {
		return fault.InvalidField("reason", why, "must say why, in at most %d bytes", maxCorrectionReason)
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+correctionColumns+` FROM control.corrections WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return fmt.Errorf("cannot read correction %q: %w", id, err)
		}
		found, err := pgx.CollectRows(rows, scanCorrection)
		switch {
		case err != nil:
			return fmt.Errorf("cannot read correction %q: %w", id, err)
		case len(found) == 0:
			return fault.New(fault.NotFound, "there is no correction %q", id)
		case found[0].RevokedAt != nil:
			return fault.New(fault.Conflict, "correction %q was revoked before", id)
		}
		if _, err := tx.Exec(ctx, `UPDATE control.corrections SET revoked_at = now(), revoked_by = $2, revoked_why = $3 WHERE id = $1`, id, actor, why); err != nil {
			return fmt.Errorf("cannot revoke correction %q: %w", id, err)
		}
		return tenant.Audit(ctx, tx, tenant.AuditEntry{
			Action: "correction.revoked", Resource: id, Operator: true, Before: correctionViewOf(&found[0]), After: map[string]string{"reason": why}, Actor: actor,
		})
	})
}
