package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/postgres"
)

// Tenant is what the operator said of a tenant. Telemetry may name tenants that have no row: they have no plan and
// their name is their id.
type Tenant struct {
	ID   ID
	Name string
	Plan Plan
}

// DisplayName returns the name, else the id, else "untagged".
func (t Tenant) DisplayName() string {
	switch {
	case t.Name != "":
		return t.Name
	case t.ID != Untagged:
		return string(t.ID)
	}
	return "untagged"
}

// storeTTL is how old the list of tenants may be that List and Plans answer from. Names and plans change rarely, and
// every page and every evaluation asks for them.
const storeTTL = 5 * time.Second

// Store keeps tenants in PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	outbox *outbox

	mu     sync.Mutex // guards the fields below; never held across a query
	list   []Tenant
	listed time.Time
}

// NewStore returns the tenants of the pool's database.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool, outbox: newOutbox()} }

// Put creates or changes a tenant and writes it to the audit log, and a changed plan for webhooks, in one transaction.
func (s *Store) Put(ctx context.Context, actor string, t Tenant) error {
	t, err := t.checked()
	if err != nil {
		return err
	}
	err = postgres.InTenant(ctx, s.pool, t.ID, func(tx pgx.Tx) error {
		before, err := readTenant(ctx, tx, t.ID)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO control.tenants (id, name, plan) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, plan = excluded.plan, updated_at = now()
			WHERE (tenants.name, tenants.plan) <> (excluded.name, excluded.plan)`, t.ID, t.Name, t.Plan)
		if err != nil {
			return fmt.Errorf("cannot store tenant %q: %w", t.ID, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		if err := s.outbox.put(ctx, tx, time.Now(), planChanged(before, t)...); err != nil {
			return err
		}
		return Audit(ctx, tx, AuditEntry{Action: "tenant.put", Resource: string(t.ID), Tenant: t.ID, Before: before, After: auditedTenant(t), Actor: actor})
	})
	s.forget()
	return asDeleted(err, t.ID)
}

// tenantAudit is what the audit log has of a tenant.
type tenantAudit struct {
	Name string `json:"name"`
	Plan Plan   `json:"plan"`
}

func auditedTenant(t Tenant) *tenantAudit { return &tenantAudit{t.Name, t.Plan} }

// readTenant locks a tenant's row for a change and returns it for the audit log; nil when there is none yet.
func readTenant(ctx context.Context, tx pgx.Tx, id ID) (*tenantAudit, error) {
	var t tenantAudit
	err := tx.QueryRow(ctx, `SELECT name, plan FROM control.tenants WHERE id = $1 FOR UPDATE`, id).Scan(&t.Name, &t.Plan)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read tenant %q: %w", id, err)
	}
	return &t, nil
}

// forget makes the next List read what is there.
func (s *Store) forget() {
	s.mu.Lock()
	s.listed = time.Time{}
	s.mu.Unlock()
}

// List returns all tenants that have a row, by id. The list is shared and up to five seconds old: it must not be changed.
func (s *Store) List(ctx context.Context) ([]Tenant, error) {
	s.mu.Lock()
	list, fresh := s.list, time.Since(s.listed) < storeTTL
	s.mu.Unlock()
	if fresh {
		return seen(ctx, list), nil
	}
	err := postgres.AcrossTenants(postgres.OwnWork(ctx), s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, name, plan FROM control.tenants ORDER BY id`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Tenant])
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.list, s.listed = list, time.Now()
	s.mu.Unlock()
	return seen(ctx, list), nil
}

// seen returns the tenants of the list that ctx leaves: the list is kept for all readers.
func seen(ctx context.Context, list []Tenant) []Tenant {
	if !slices.ContainsFunc(list, func(t Tenant) bool { return !postgres.Sees(ctx, t.ID) }) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(t Tenant) bool { return !postgres.Sees(ctx, t.ID) })
}

// Plans returns the plan of every tenant that has a row; the others have none.
func (s *Store) Plans(ctx context.Context) (map[ID]Plan, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	plans := make(map[ID]Plan, len(list))
	for _, t := range list {
		plans[t.ID] = t.Plan
	}
	return plans, nil
}

// Names returns the display name of every tenant that has one.
func (s *Store) Names(ctx context.Context) (map[ID]string, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[ID]string, len(list))
	for _, t := range list {
		if t.Name != "" {
			names[t.ID] = t.Name
		}
	}
	return names, nil
}
