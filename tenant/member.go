package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
)

// Member is a person of a tenant.
type Member struct {
	Email   string // in lower case
	Name    string
	Role    Role
	AddedBy string
	AddedAt time.Time
}

// Members keeps the people of every tenant in the tenant's own schema. It is safe for concurrent use.
type Members struct {
	schemas *Schemas
	gates   *Gates // nil: as many as one likes
}

// NewMembers returns the members in the schemas.
func NewMembers(s *Schemas) *Members { return &Members{schemas: s} }

// Within returns the members, of whom each tenant can have as many as the gates say.
func (m *Members) Within(g *Gates) *Members { return &Members{m.schemas, g} }

// List returns the tenant's members by address; none for a tenant that has none, or is unknown.
func (m *Members) List(ctx context.Context, id ID) (list []Member, err error) {
	err = m.schemas.read(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT email, name, role, added_by, added_at FROM members ORDER BY email`, anew)
		if err != nil {
			return fmt.Errorf("cannot read the members of tenant %q: %w", id, err)
		}
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Member]); err != nil {
			return fmt.Errorf("cannot read the members of tenant %q: %w", id, err)
		}
		return nil
	})
	return list, err
}

// Put adds a member or changes its name and role, and writes that to the audit log in one transaction, with the address but
// without the name. The error is NotFound for a tenant that nobody has created, Forbidden for a role above the caller's, the
// one before or the new one, and Conflict for the tenant's last owner, whom only the operator's people may change.
func (m *Members) Put(ctx context.Context, by Identity, id ID, p Member) error {
	email, err := parseEmail(p.Email)
	if err != nil {
		return err
	}
	if _, err := ParseRole(string(p.Role)); err != nil {
		return err
	}
	if len(p.Name) > 200 {
		return fault.InvalidField("name", p.Name, "is longer than 200 bytes")
	}
	if err := by.MayGrant(p.Role); err != nil {
		return err
	}
	most, err := m.most(ctx, id)
	if err != nil {
		return err
	}
	return m.schemas.write(ctx, id, func(tx pgx.Tx) error {
		before, err := lockMember(ctx, tx, id, email)
		if err != nil {
			return err
		}
		if before == nobody {
			err = room(ctx, tx, id, most)
		} else {
			err = mayReplace(ctx, tx, by, id, email, before, p.Role)
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO members (email, name, role, added_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (email) DO UPDATE SET name = excluded.name, role = excluded.role
			WHERE (members.name, members.role) <> (excluded.name, excluded.role)`, anew, email, p.Name, p.Role, by.Actor())
		if err != nil {
			return fmt.Errorf("cannot store a member of tenant %q: %w", id, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		if err := indexMember(ctx, tx, id, email, p.Role); err != nil {
			return err
		}
		return auditMember(ctx, tx, by.Actor(), "member.put", id, email, before, p.Role)
	})
}

// Remove ends a membership. The error is NotFound when there is none; else those of Put.
func (m *Members) Remove(ctx context.Context, by Identity, id ID, email string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	removed := false
	err = m.schemas.read(ctx, id, func(tx pgx.Tx) error {
		role, err := lockMember(ctx, tx, id, email)
		if err != nil || role == nobody {
			return err
		}
		if err := mayReplace(ctx, tx, by, id, email, role, nobody); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM members WHERE email = $1`, anew, email); err != nil {
			return fmt.Errorf("cannot remove a member of tenant %q: %w", id, err)
		}
		removed = true
		if err := indexMember(ctx, tx, id, email, nobody); err != nil {
			return err
		}
		return auditMember(ctx, tx, by.Actor(), "member.remove", id, email, role, nobody)
	})
	if err == nil && !removed {
		return fault.New(fault.NotFound, "tenant %q has no member %q", id, email)
	}
	return err
}

// lockMember returns the role of a member, nobody when there is none. One change of a tenant's members comes at a time: what
// is checked here, who is an owner and how many there are, holds until the end of the transaction.
func lockMember(ctx context.Context, tx pgx.Tx, id ID, email string) (role Role, err error) {
	if err := lockTenant(ctx, tx, id); err != nil {
		return nobody, err
	}
	err = tx.QueryRow(ctx, `SELECT role FROM members WHERE email = $1`, anew, email).Scan(&role)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nobody, fmt.Errorf("cannot read a member of tenant %q: %w", id, err)
	}
	return role, nil
}

// mayReplace checks that the caller may take a member's role for another one or none, and that the tenant's own people keep
// an owner: without one, nobody of them could make another.
func mayReplace(ctx context.Context, tx pgx.Tx, by Identity, id ID, email string, before, after Role) error {
	if err := by.MayGrant(before); err != nil {
		return err
	}
	if before != RoleOwner || after == RoleOwner || by.Tenant == Untagged {
		return nil
	}
	var others bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM members WHERE role = 'owner' AND email <> $1)`, anew, email).Scan(&others); err != nil {
		return fmt.Errorf("cannot count the owners of tenant %q: %w", id, err)
	}
	if !others {
		return fault.New(fault.Conflict, "%s is the last owner: make somebody else one first", email)
	}
	return nil
}

// memberAudit is what the audit log has of a member, besides the address.
type memberAudit struct {
	Role Role `json:"role"`
}

// auditMember writes what role a person had and has; empty for none.
func auditMember(ctx context.Context, tx pgx.Tx, actor, action string, id ID, email string, before, after Role) error {
	role := func(r Role) any {
		if r == nobody {
			return nil
		}
		return memberAudit{r}
	}
	return auditWith(ctx, tx, AuditEntry{Action: action, Resource: email, Tenant: id, Before: role(before), After: role(after), Actor: actor}, anew)
}

// indexMember lets a person be found by their address who signs in and knows no tenant yet, as long as they have a role.
func indexMember(ctx context.Context, tx pgx.Tx, id ID, email string, r Role) (err error) {
	if r == nobody {
		_, err = tx.Exec(ctx, `DELETE FROM control.memberships WHERE email = $1 AND tenant = $2`, anew, email, id)
	} else {
		_, err = tx.Exec(ctx, `INSERT INTO control.memberships (email, tenant, role) VALUES ($1, $2, $3)
			ON CONFLICT (email, tenant) DO UPDATE SET role = excluded.role`, anew, email, id, r)
	}
	if err != nil {
		return fmt.Errorf("cannot note a member of tenant %q: %w", id, err)
	}
	return nil
}

// parseEmail returns the address in lower case, by which members are known.
func parseEmail(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 {
		return "", fault.InvalidField("email", s, "must be an address such as ada@example.com")
	}
	return strings.ToLower(s), nil
}
