package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
)

// InTenantSnapshot runs f in a transaction that only reads the rows of one tenant, all of them as they are when it begins.
// It refuses what InTenant refuses.
func InTenantSnapshot[ID ~string](ctx context.Context, pool *pgxpool.Pool, id ID, f func(tx pgx.Tx) error) error {
	if id == "" {
		return fault.InvalidField("tenant", "", "must not be empty")
	}
	if !Sees(ctx, id) {
		return fault.New(fault.NotFound, "not found")
	}
	begin := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT set_config('headroom.tenant', " + literal(string(id)) + ", true)"
	return Translate(pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, f))
}
