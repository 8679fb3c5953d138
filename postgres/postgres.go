// Package postgres opens PostgreSQL, runs its migrations and translates its errors. It holds no domain SQL: every
// feature owns the SQL of its tables.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
)

// Open returns a pool whose connections have the rights of the DSN's user: for migrations, and for what needs a session of
// its own. It does not wait for the server: the first query does. SQL names its tables with their schema, so that nothing
// depends on the session: it may be a pooler's.
func Open(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg)
}

func parse(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the PostgreSQL DSN: %w", err) // pgx leaves the password out
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "headroom"
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.MaxConns = max(cfg.MaxConns, 16)
	return cfg, nil
}

func open(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot open PostgreSQL at %q: %w", cfg.ConnConfig.Host, err)
	}
	return pool, nil
}

// InTx runs f in a transaction and commits it when f returns nil. It sees no row of a tenant: see InTenant. PostgreSQL's
// errors come back as kinds of fault.
func InTx(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	return Translate(pgx.BeginFunc(ctx, pool, f))
}

// Translate gives the errors of pgx that a caller can act on a kind: no rows, broken constraints, a server that is
// away. All others come back as they are.
func Translate(err error) error {
	var kind *fault.Error
	if err == nil || errors.As(err, &kind) {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.Wrap(err, fault.NotFound, "not found")
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "23505": // unique_violation
			return fault.Wrap(err, fault.Conflict, "already exists (%s)", pg.ConstraintName)
		case "23503": // foreign_key_violation
			return fault.Wrap(err, fault.Conflict, "refers to something that does not exist (%s)", pg.ConstraintName)
		case "23514": // check_violation
			return fault.Wrap(err, fault.Invalid, "not a valid value (%s)", pg.ConstraintName)
		case "22001", "22P02", "22021", "22P05": // too long, bad text representation, no UTF-8 or a zero byte, the same in JSON
			return fault.Wrap(err, fault.Invalid, "not a valid value")
		case "57P01", "57P02", "57P03", "53300": // shutting down, crashed, starting up, too many connections
			return fault.Wrap(err, fault.Unavailable, "the control database is not available")
		}
		return err
	}
	// A connection that cannot be made, one that breaks, no answer in time.
	var network net.Error
	if errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Wrap(err, fault.Unavailable, "the control database is not available")
	}
	return err
}
