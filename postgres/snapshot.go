package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// InTenantSnapshot runs f in a transaction that only reads the rows of one tenant, all of them as they are when it begins.
func InTenantSnapshot[ID ~string](ctx context.Context, pool *pgxpool.Pool, id ID, f func(tx pgx.Tx) error) error {
	begin := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT set_config('headroom.tenant', " + literal(string(id)) + ", true)"
	return Translate(pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, f))
}
