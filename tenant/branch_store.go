package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Branches keeps the operator's branches. What is changed holds from the next request on. It is safe for concurrent use.
type Branches struct{ pool *pgxpool.Pool }

// NewBranches returns the branches of the pool's database.
func NewBranches(pool *pgxpool.Pool) *Branches { return &Branches{pool} }

const selectBranches = `SELECT id, name, products, services, tenants FROM control.branches`

// List returns all branches by name.
func (s *Branches) List(ctx context.Context) (list []Branch, err error) {
	err = postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectBranches+` ORDER BY name`)
		if err != nil {
			return fmt.Errorf("cannot read branches: %w", err)
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Branch])
		return err
	})
	return list, err
}

// Get returns the branch that a person is confined to. The error is NotFound when there is none: then the person sees
// nothing.
func (s *Branches) Get(ctx context.Context, id int64) (b *Branch, err error) {
	err = postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		b, err = lockBranch(ctx, tx, id, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// IDOf returns the id of the branch with the name. The error is NotFound when there is none.
func (s *Branches) IDOf(ctx context.Context, name string) (id int64, err error) {
	err = postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT id FROM control.branches WHERE name = $1`, name).Scan(&id)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fault.New(fault.NotFound, "there is no branch %q", name)
	}
	return id, err
}

// Create adds a branch and returns it with its id. The error is Conflict for a name that is taken.
func (s *Branches) Create(ctx context.Context, b Branch) (Branch, error) {
	if err := b.normalize(); err != nil {
		return Branch{}, err
	}
	err := postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO control.branches (name, products, services, tenants) VALUES ($1, $2, $3, $4) RETURNING id`,
			b.Name, b.Products, b.Services, b.Tenants).Scan(&b.ID)
		if err != nil {
			return branchTaken(err, b.Name)
		}
		return Audit(ctx, tx, AuditEntry{Action: "branch.create", Resource: branchKey(b.ID), After: b})
	})
	return b, err
}

// Put replaces the name and the lists of a branch, for all who are confined to it.
func (s *Branches) Put(ctx context.Context, b Branch) (Branch, error) {
	if err := b.normalize(); err != nil {
		return Branch{}, err
	}
	err := postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		before, err := lockBranch(ctx, tx, b.ID, " FOR UPDATE")
		if err != nil {
			return err
		}
		if before.same(&b) {
			return nil
		}
		_, err = tx.Exec(ctx, `UPDATE control.branches SET name = $2, products = $3, services = $4, tenants = $5, updated_at = now() WHERE id = $1`,
			b.ID, b.Name, b.Products, b.Services, b.Tenants)
		if err != nil {
			return branchTaken(err, b.Name)
		}
		return Audit(ctx, tx, AuditEntry{Action: "branch.update", Resource: branchKey(b.ID), Before: before, After: b})
	})
	return b, err
}

// same reports whether two branches have one name and the same lists.
func (b *Branch) same(other *Branch) bool {
	return b.Name == other.Name && slices.Equal(b.Products, other.Products) && slices.Equal(b.Services, other.Services) &&
		slices.Equal(b.Tenants, other.Tenants)
}

// Delete removes a branch. The error is Conflict while people are confined to it.
func (s *Branches) Delete(ctx context.Context, id int64) error {
	return postgres.AcrossTenants(ctx, s.pool, func(tx pgx.Tx) error {
		before, err := lockBranch(ctx, tx, id, " FOR UPDATE")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM control.branches WHERE id = $1`, id); err != nil {
			var pg *pgconn.PgError
			if errors.As(err, &pg) && pg.Code == "23503" { // foreign_key_violation
				return fault.Wrap(err, fault.Conflict, "people are confined to the branch %q: change their roles first", before.Name)
			}
			return fmt.Errorf("cannot delete branch %d: %w", id, err)
		}
		return Audit(ctx, tx, AuditEntry{Action: "branch.delete", Resource: branchKey(id), Before: before})
	})
}

func lockBranch(ctx context.Context, tx pgx.Tx, id int64, lock string) (*Branch, error) {
	rows, err := tx.Query(ctx, selectBranches+` WHERE id = $1`+lock, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read branch %d: %w", id, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByPos[Branch])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "there is no branch %d", id)
	}
	return b, err
}

func branchTaken(err error, name string) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" { // unique_violation
		return fault.Wrap(err, fault.Conflict, "there is a branch %q already", name)
	}
	return fmt.Errorf("cannot store branch %q: %w", name, err)
}

func branchKey(id int64) string { return strconv.FormatInt(id, 10) }
