package slo

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// leaderLock is the key of the advisory lock that the leading engine holds.
const leaderLock = 0x736c6f // "slo"

// leadership is PostgreSQL's advisory lock, held by a connection of its own. It is gone with the connection, and so with
// the process, however that dies; the next one asks within StandBy. Keepalives let PostgreSQL notice in under 15 s that
// a whole machine is gone.
type leadership struct{ conn *pgx.Conn }

const keepalive = `SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET idle_session_timeout = 0`

// tryToLead returns nil when another process leads.
func tryToLead(ctx context.Context, pool *pgxpool.Pool) (*leadership, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to PostgreSQL: %w", err)
	}
	var leads bool
	if err := pooled.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, leaderLock).Scan(&leads); err != nil || !leads {
		pooled.Release()
		if err != nil {
			return nil, fmt.Errorf("cannot ask for the lock: %w", err)
		}
		return nil, nil
	}
	l := &leadership{conn: pooled.Hijack()} // the pool opens another in its place
	if _, err := l.conn.Exec(ctx, keepalive); err != nil {
		l.giveUp(ctx)
		return nil, fmt.Errorf("cannot prepare the leader's connection: %w", err)
	}
	return l, nil
}

// check returns an error when the leadership is lost.
func (l *leadership) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		return fmt.Errorf("cannot reach PostgreSQL on the leader's connection: %w", err)
	}
	return nil
}

// giveUp lets another process lead at once.
func (l *leadership) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = l.conn.Close(ctx) // the lock is gone with the connection, or was before
}
