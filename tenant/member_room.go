package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
)

// room reports why the tenant cannot have one more member. Those who add some at once come one by one, for the tenant's
// row is locked. The error is Forbidden when it has as many as it may.
func (m *Members) room(ctx context.Context, tx pgx.Tx, id ID) error {
	if m.gates == nil {
		return nil
	}
	most, err := m.gates.Limit(ctx, id, MaxMembers)
	if err != nil || most == NoLimit {
		return err
	}
	if err := lockTenant(ctx, tx, id); err != nil {
		return err
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
