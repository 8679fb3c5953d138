package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/migrations"
	"github.com/nexis-limited/headroom/postgres"
)

// Schemas leads to the tables that every tenant has for itself, in a schema of its own. A tenant gets one with its first
// data there; it must have been created or given a plan before. It is safe for concurrent use by several processes.
type Schemas struct {
	pool  *pgxpool.Pool
	owner *pgxpool.Pool
	steps []schemaStep
}

// NewSchemas returns the schemas of a database. The owner's pool makes them, the other one uses them.
func NewSchemas(pool, owner *pgxpool.Pool) (*Schemas, error) {
	steps, err := readSchemaSteps(migrations.Tenant())
	if err != nil {
		return nil, err
	}
	return &Schemas{pool: pool, owner: owner, steps: steps}, nil
}

// anew is the first argument of every statement in a tenant's schema: it is planned anew each time. One that is prepared by
// name is planned again too when the schema is another than the last time, which takes longer (docs/adr/0007).
const anew = pgx.QueryExecModeCacheDescribe

// errNoSchema says that a tenant has no schema yet, or an older one that lacks the table.
var errNoSchema = errors.New("the tenant has no such table yet")

// read runs f in a transaction that finds the tenant's tables by names without a schema, and no other tenant's. A tenant
// without a schema has nothing to read: f may see its query fail, and read returns nil.
func (s *Schemas) read(ctx context.Context, id ID, f func(tx pgx.Tx) error) error {
	if err := s.in(ctx, id, f); !errors.Is(err, errNoSchema) {
		return err
	}
	return nil
}

// write is read for changes: it makes the schema when there is none. F may run twice, and does then start anew.
func (s *Schemas) write(ctx context.Context, id ID, f func(tx pgx.Tx) error) error {
	err := s.in(ctx, id, f)
	if !errors.Is(err, errNoSchema) {
		return err
	}
	if err := s.Ensure(ctx, id); err != nil {
		return err
	}
	return s.in(ctx, id, f)
}

func (s *Schemas) in(ctx context.Context, id ID, f func(tx pgx.Tx) error) error {
	err := postgres.InTenantSchema(ctx, s.pool, id, SchemaName(id), f)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P01" { // undefined_table
		return fmt.Errorf("%w: %w", errNoSchema, err)
	}
	return err
}

// Ensure makes the tenant's schema, with all its tables, unless it is there already. The error is NotFound for a tenant
// that has no row.
func (s *Schemas) Ensure(ctx context.Context, id ID) error {
	if _, err := ParseID(string(id)); err != nil {
		return err
	}
	_, err := migrateSchema(ctx, s.owner, id, s.steps, true)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23503" { // foreign_key_violation
		return fault.New(fault.NotFound, "there is no tenant %q: create it first", id)
	}
	if err != nil {
		return fmt.Errorf("cannot make the schema of tenant %q: %w", id, err)
	}
	return nil
}
