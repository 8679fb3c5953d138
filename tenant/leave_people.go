package tenant

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/postgres"
)

// erasePeople removes the users who were members of the tenant and are nothing else here: of no other tenant, and without a
// role with the operator. The audit log names them by number only.
func (d *Departures) erasePeople(ctx context.Context, id ID) error {
	return postgres.AcrossTenants(ctx, d.owner, func(tx pgx.Tx) error { // whether they are members elsewhere is what it asks
		members := pgx.Identifier{SchemaName(id), "members"}.Sanitize()
		var there bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, members).Scan(&there); err != nil || !there {
			return err
		}
		rows, err := tx.Query(ctx, `
			DELETE FROM control.users u USING `+members+` m
			WHERE u.email = m.email AND NOT EXISTS (SELECT FROM control.grants g WHERE g.user_id = u.id)
				AND NOT EXISTS (SELECT FROM control.memberships o WHERE o.email = u.email AND o.tenant <> $1)
			RETURNING u.id`, id)
		if err != nil {
			return fmt.Errorf("cannot delete the people of tenant %q: %w", id, err)
		}
		gone, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return fmt.Errorf("cannot delete the people of tenant %q: %w", id, err)
		}
		for _, user := range gone {
			entry := AuditEntry{Action: "user.delete", Resource: fmt.Sprint(user), Operator: true, Before: map[string]ID{"only_member_of": id}}
			if err := Audit(ctx, tx, entry); err != nil {
				return err
			}
		}
		return nil
	})
}
