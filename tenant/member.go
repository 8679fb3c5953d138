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
// without the name. The error is NotFound for a tenant that nobody has created.
func (m *Members) Put(ctx context.Context, actor string, id ID, p Member) error {
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
	return m.schemas.write(ctx, id, func(tx pgx.Tx) error {
		var before Role
		err := tx.QueryRow(ctx, `SELECT role FROM members WHERE email = $1 FOR UPDATE`, anew, email).Scan(&before)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("cannot read a member of tenant %q: %w", id, err)
		}
		if errors.Is(err, pgx.ErrNoRows) {
			if err := m.room(ctx, tx, id); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO members (email, name, role, added_by) VALUES ($1, $2, $3, $4)
			ON CONFLICT (email) DO UPDATE SET name = excluded.name, role = excluded.role
			WHERE (members.name, members.role) <> (excluded.name, excluded.role)`, anew, email, p.Name, p.Role, actor)
		if err != nil {
			return fmt.Errorf("cannot store a member of tenant %q: %w", id, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		if err := indexMember(ctx, tx, id, email, p.Role); err != nil {
			return err
		}
		return auditMember(ctx, tx, actor, "member.put", id, email, before, p.Role)
	})
}

// Remove ends a membership. The error is NotFound when there is none.
func (m *Members) Remove(ctx context.Context, actor string, id ID, email string) error {
	email, err := parseEmail(email)
	if err != nil {
		return err
	}
	removed := false
	err = m.schemas.read(ctx, id, func(tx pgx.Tx) error {
		var role Role
		rows, err := tx.Query(ctx, `DELETE FROM members WHERE email = $1 RETURNING role`, anew, email)
		if err != nil {
			return fmt.Errorf("cannot remove a member of tenant %q: %w", id, err)
		}
		n := 0
		if _, err = pgx.ForEachRow(rows, []any{&role}, func() error { n++; return nil }); err != nil {
			return fmt.Errorf("cannot remove a member of tenant %q: %w", id, err)
		}
		if removed = n > 0; !removed {
			return nil
		}
		if err := indexMember(ctx, tx, id, email, nobody); err != nil {
			return err
		}
		return auditMember(ctx, tx, actor, "member.remove", id, email, role, nobody)
	})
	if err == nil && !removed {
		return fault.New(fault.NotFound, "tenant %q has no member %q", id, email)
	}
	return err
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
