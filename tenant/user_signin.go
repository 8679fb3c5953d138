package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// errWrongPassword is all that a stranger learns, whether there is such a user or not.
var errWrongPassword = fault.New(fault.Unauthenticated, "the address or the password is wrong")

// ByPassword returns whose address and password these are. The error is Unauthenticated and the same, after the same work,
// for a wrong password, an unknown address, and one without a password; Forbidden for a user who is disabled, which only
// who knows the password learns. Who calls it has asked Attempts before.
func (u *Users) ByPassword(ctx context.Context, email, password string) (User, error) {
	email, malformed := parseEmail(email)
	var (
		id           int64
		hash, source string
	)
	if malformed == nil {
		err := u.pool.QueryRow(ctx, `SELECT id, coalesce(password, ''), coalesce(issuer, '') FROM control.users WHERE email = $1`, email).Scan(&id, &hash, &source)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return User{}, postgres.Translate(fmt.Errorf("cannot read a user: %w", err))
		}
	}
	ok, stale, err := verifyPassword(ctx, password, hash)
	if err != nil {
		return User{}, err
	}
	if !ok {
		return User{}, errWrongPassword
	}
	verified := hash
	if stale {
		if hash, err = hashPassword(ctx, password); err != nil {
			return User{}, err
		}
	}
	var user User
	err = postgres.InTx(ctx, u.pool, func(tx pgx.Tx) error {
		if user, err = lockUser(ctx, tx, id); err != nil {
			return err
		}
		// The password may be another since it was read: verifying it waits for its turn.
		if err := user.checkStill(ctx, tx, verified); err != nil {
			return err
		}
		if user.DisabledAt != nil {
			return errDisabled
		}
		if stale {
			if _, err := tx.Exec(ctx, `UPDATE control.users SET password = $2 WHERE id = $1`, id, hash); err != nil {
				return fmt.Errorf("cannot store the password of user %d anew: %w", id, err)
			}
		}
		user.password = hash
		return noteSignIn(ctx, tx, user, "password")
	})
	return user, err
}

// CheckStill returns why a session of the user must not begin any more: they are disabled or deleted, or have another password
// since ByPassword let them in. Until the transaction ends nobody can change that, and who does then finds the session to end.
func (u *User) CheckStill(ctx context.Context, tx pgx.Tx) error {
	now, err := lockUser(ctx, tx, u.ID)
	switch {
	case fault.Is(err, fault.NotFound):
		return errWrongPassword
	case err != nil:
		return err
	case now.DisabledAt != nil:
		return errDisabled
	case u.password == "":
		return nil
	}
	return now.checkStill(ctx, tx, u.password)
}

// checkStill checks that the locked user still has the stored password.
func (u *User) checkStill(ctx context.Context, tx pgx.Tx, stored string) error {
	var same bool
	if err := tx.QueryRow(ctx, `SELECT coalesce(password, '') = $2 FROM control.users WHERE id = $1`, u.ID, stored).Scan(&same); err != nil {
		return fmt.Errorf("cannot read the password of user %d: %w", u.ID, err)
	}
	if !same {
		return errWrongPassword
	}
	return nil
}

var errDisabled = fault.New(fault.Forbidden, "your account is disabled: ask who runs headroom")

// ProviderUser is whom an OpenID provider vouches for.
type ProviderUser struct {
	Issuer, Subject string
	Email           string // that the provider has verified
	Name            string

	// What the person's groups give in the operator's organization, when groups give roles at all.
	Mapped bool
	Role   Role
	Branch int64
}

// ByProvider returns who signed in at the provider, and lets in who is new and has a role by their groups or is a member of
// a tenant. Known people are found by the provider's subject, those who were invited by their address. What groups gave
// goes with them; what a person gave stays. The error is Forbidden for somebody who has nothing here.
func (u *Users) ByProvider(ctx context.Context, p ProviderUser) (user User, err error) {
	email, err := parseEmail(p.Email)
	if err != nil {
		return User{}, fault.New(fault.Forbidden, "the provider gave an address that is none")
	}
	err = postgres.AcrossTenants(ctx, u.pool, func(tx pgx.Tx) error {
		id, err := findOrLetIn(ctx, tx, p, email)
		if err != nil {
			return err
		}
		before, err := lockUser(ctx, tx, id)
		if err != nil {
			return err
		}
		if before.DisabledAt != nil {
			return errDisabled
		}
		if _, err := tx.Exec(ctx, `UPDATE control.users SET email = $2, name = CASE $3 WHEN '' THEN name ELSE $3 END, issuer = $4, subject = $5
			WHERE id = $1`, id, email, clip(p.Name, 200), p.Issuer, p.Subject); err != nil {
			return fmt.Errorf("cannot store user %d: %w", id, err)
		}
		if before.RoleSource == roleFromGroups || p.Mapped && before.Role == nobody {
			role, branch := p.Role, p.Branch
			if !p.Mapped {
				role = nobody // no group gives roles any more
			}
			if err := setGrant(ctx, tx, id, role, branch, roleFromGroups, p.Issuer); err != nil {
				return err
			}
		}
		if user, err = lockUser(ctx, tx, id); err != nil {
			return err
		}
		if viewOfUser(&before) != viewOfUser(&user) {
			if err := auditUser(WithIdentity(ctx, user.identity()), tx, "user.update", &before, &user); err != nil {
				return err
			}
		}
		return noteSignIn(ctx, tx, user, "provider")
	})
	return user, err
}

// findOrLetIn returns the user's id.
func findOrLetIn(ctx context.Context, tx pgx.Tx, p ProviderUser, email string) (id int64, err error) {
	var taken bool // the address belongs to another subject
	err = tx.QueryRow(ctx, `
		SELECT id, issuer IS NOT NULL AND (issuer, subject) <> ($1, $2) FROM control.users
		WHERE (issuer, subject) = ($1, $2) OR email = $3 ORDER BY coalesce((issuer, subject) = ($1, $2), false) DESC LIMIT 1`,
		p.Issuer, p.Subject, email).Scan(&id, &taken)
	switch {
	case err == nil && taken:
		return 0, fault.New(fault.Forbidden, "%s belongs to another account of the provider: ask who runs headroom", email)
	case err == nil:
		var others int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM control.users WHERE email = $1 AND id <> $2`, email, id).Scan(&others); err != nil {
			return 0, fmt.Errorf("cannot read users: %w", err)
		}
		if others > 0 {
			return 0, fault.New(fault.Forbidden, "%s belongs to another user here: ask who runs headroom", email)
		}
		return id, nil
	case !errors.Is(err, pgx.ErrNoRows):
		return 0, fmt.Errorf("cannot find a user: %w", err)
	}
	if p.Role == nobody {
		var member bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM control.memberships WHERE email = $1)`, email).Scan(&member); err != nil {
			return 0, fmt.Errorf("cannot read memberships: %w", err)
		}
		if !member {
			return 0, fault.New(fault.Forbidden, "%s has no role here: ask who runs headroom for one", email)
		}
	}
	err = tx.QueryRow(ctx, `INSERT INTO control.users (email, created_by) VALUES ($1, $2) RETURNING id`, email, p.Issuer).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("cannot store a user: %w", err)
	}
	return id, nil
}

// knownNetworks is how many networks are remembered that a person signed in from.
const knownNetworks = 8

// noteSignIn writes down that a user signed in, from where, and in which way.
func noteSignIn(ctx context.Context, tx pgx.Tx, user User, method string) error {
	from := network(OriginFrom(ctx).Address)
	_, err := tx.Exec(ctx, `
		UPDATE control.users SET last_sign_in_at = now(),
			known_from = CASE $2 WHEN '' THEN known_from ELSE (array_prepend($2, array_remove(known_from, $2)))[1:$3] END
		WHERE id = $1`, user.ID, from, knownNetworks)
	if err != nil {
		return fmt.Errorf("cannot note that user %d signed in: %w", user.ID, err)
	}
	return Audit(WithIdentity(ctx, user.identity()), tx, AuditEntry{Action: "user.sign_in", Resource: fmt.Sprint(user.ID),
		After: map[string]string{"method": method}})
}

// identity is who a user is before they have chosen an organization, for the audit log.
func (u *User) identity() Identity { return Identity{UserID: u.ID, Name: u.Email, Role: u.Role} }

// network returns what an address is counted by: IPv6 gives everybody 2^64 of them.
func network(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p.String()
}

// Organization is one in which a person acts: the operator's, or a tenant's.
type Organization struct {
	Tenant ID     // empty: the operator's
	Name   string // of the tenant, for people
	Role   Role
}

// Organizations returns those of a user: the operator's first, then tenants by name.
func (u *Users) Organizations(ctx context.Context, userID int64) (list []Organization, err error) {
	err = postgres.AcrossTenants(ctx, u.pool, func(tx pgx.Tx) error { // which tenants are theirs, is what they ask
		rows, err := tx.Query(ctx, `
			SELECT '' AS tenant, '' AS name, role FROM control.grants WHERE user_id = $1
			UNION ALL
			SELECT t.id, coalesce(nullif(t.name, ''), t.id), m.role
			FROM control.users u JOIN control.memberships m ON m.email = u.email JOIN control.tenants t ON t.id = m.tenant
			WHERE u.id = $1
			ORDER BY 2, 1`, userID)
		if err != nil {
			return fmt.Errorf("cannot read the organizations of user %d: %w", userID, err)
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Organization])
		return err
	})
	return list, err
}
