package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
)

// most returns how many members the tenant may have. It is asked before the transaction, which would otherwise hold a
// connection while it waits for another.
func (m *Members) most(ctx context.Context, id ID) (int64, error) {
	if m.gates == nil {
		return NoLimit, nil
	}
	return m.gates.Limit(ctx, id, MaxMembers)
}

// room reports why the tenant, which is locked, cannot have one more member. The error is Forbidden when it has as many as
// it may.
func room(ctx context.Context, tx pgx.Tx, id ID, most int64) error {
	if most == NoLimit {
		return nil
	}
	var n int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM members`, anew).Scan(&n); err != nil {
		return fmt.Errorf("cannot count the members of tenant %q: %w", id, err)
	}
	if n >= most {
		return fault.New(fault.Forbidden, "tenant %q has %d members, and may have %d: see its plan's setting %q", id, n, most, MaxMembers)
	}
	return nil
}
