package postgres

import (
	"context"
	"encoding/hex"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
)

// The second wall (docs/adr/0007): every table with rows of tenants shows a transaction only what its settings allow.
// headroom.tenant names one tenant, headroom.crossing set to "on" stands for all of them; with neither, nothing is
// visible and nothing can be written. Both end with the transaction, so that no connection of a pool, ours or
// PgBouncer's, carries them to the next. Both travel with BEGIN and cost no round trip.

// InTenant runs f in a transaction that sees the rows of one tenant, and commits it when f returns nil. The empty tenant
// is refused: nobody acts as the requests that named none. PostgreSQL's errors come back as kinds of fault.
func InTenant[ID ~string](ctx context.Context, pool *pgxpool.Pool, id ID, f func(tx pgx.Tx) error) error {
	return InTenantSchema(ctx, pool, id, "", f)
}

// InTenantSchema is InTenant for the tables of the tenant's own schema: names without a schema are found there and
// nowhere else. An empty schema changes nothing.
func InTenantSchema[ID ~string](ctx context.Context, pool *pgxpool.Pool, id ID, schema string, f func(tx pgx.Tx) error) error {
	if id == "" {
		return fault.InvalidField("tenant", "", "must not be empty")
	}
	if !Sees(ctx, id) {
		return fault.New(fault.NotFound, "not found")
	}
	begin := "BEGIN; SELECT set_config('headroom.tenant', " + literal(string(id)) + ", true)"
	if schema != "" {
		begin += "; SET LOCAL search_path = " + pgx.Identifier{schema}.Sanitize()
	}
	return Translate(pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, f))
}

// AcrossTenants runs f in a transaction that sees the rows of all tenants: for what the operator asks, and for
// headroom's own work. In a context that is confined to a tenant it sees that one.
func AcrossTenants(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	if only := confinedTo(ctx); len(only) == 1 {
		return InTenant(ctx, pool, only[0], f)
	}
	return Translate(pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: "BEGIN; SET LOCAL headroom.crossing = 'on'"}, f))
}

// literal writes a text as SQL whatever is in it: BEGIN takes no parameters, and hexadecimal digits cannot end a string.
func literal(s string) string {
	return "convert_from(decode('" + hex.EncodeToString([]byte(s)) + "', 'hex'), 'UTF8')"
}
