package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// User is a person who may sign in. The operator's people have a role; tenants' people may have none here: what they may
// do is said by their tenants' members.
type User struct {
	ID           int64
	Email        string // in lower case; people are known by it
	Name         string
	Role         Role   // in the operator's organization; empty for none
	Branch       int64  // the one that they are confined to; 0 for none
	RoleSource   string // "person" or "groups": who gave the role; empty without one
	HasPassword  bool
	Issuer       string // the OpenID provider that they signed in at; empty: at none yet
	CreatedAt    time.Time
	CreatedBy    string
	DisabledAt   *time.Time
	LastSignInAt *time.Time

	password string `db:"-"` // as stored, of one whom ByPassword has let in
}

// Where a role comes from.
const (
	roleFromPerson = "person"
	roleFromGroups = "groups" // of the OpenID provider: it changes with them at each sign-in
)

// NewUser says who is to be let in.
type NewUser struct {
	Email, Name string
	Role        Role   // empty: none in the operator's organization
	Branch      int64  // 0: all of it
	Password    string // empty: they sign in at the provider, or not yet
}

// UserChange says what to change of a user; nil for what stays.
type UserChange struct {
	Name     *string
	Role     *Role  // empty takes it away
	Branch   *int64 // 0: all of the organization
	Password *string
	Disabled *bool
}

// Users keeps the people in schema control. It is safe for concurrent use by several processes.
type Users struct{ pool *pgxpool.Pool }

// NewUsers returns the users in the pool's database.
func NewUsers(pool *pgxpool.Pool) *Users { return &Users{pool} }

const selectUsers = `
	SELECT u.id, u.email, u.name, coalesce(g.role, ''), coalesce(g.branch, 0), coalesce(g.source, ''), u.password IS NOT NULL,
		coalesce(u.issuer, ''), u.created_at, u.created_by, u.disabled_at, u.last_sign_in_at
	FROM control.users u LEFT JOIN control.grants g ON g.user_id = u.id`

// List returns all users by address.
func (u *Users) List(ctx context.Context) (list []User, err error) {
	err = postgres.InTx(ctx, u.pool, func(tx pgx.Tx) error {
		list, err = queryUsers(ctx, tx, selectUsers+` ORDER BY u.email`)
		return err
	})
	return list, err
}

// Get returns one user. The error is NotFound when there is none.
func (u *Users) Get(ctx context.Context, id int64) (user User, err error) {
	err = postgres.InTx(ctx, u.pool, func(tx pgx.Tx) error {
		user, err = lockUser(ctx, tx, id)
		return err
	})
	return user, err
}

// Any reports whether there is a user.
func (u *Users) Any(ctx context.Context) (any bool, err error) {
	err = u.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM control.users)`).Scan(&any)
	return any, postgres.Translate(err)
}

func queryUsers(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]User, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read users: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[User])
	if err != nil {
		return nil, fmt.Errorf("cannot read users: %w", err)
	}
	return list, nil
}

// lockUser returns the user for a change. The error is NotFound when there is none. The user is locked by a statement of its
// own: one that waited would read the role from before the change that it waited for.
func lockUser(ctx context.Context, tx pgx.Tx, id int64) (User, error) {
	if _, err := tx.Exec(ctx, `SELECT FROM control.users WHERE id = $1 FOR UPDATE`, id); err != nil {
		return User{}, fmt.Errorf("cannot lock user %d: %w", id, err)
	}
	list, err := queryUsers(ctx, tx, selectUsers+` WHERE u.id = $1`, id)
	switch {
	case err != nil:
		return User{}, err
	case len(list) == 0:
		return User{}, fault.New(fault.NotFound, "there is no user %d", id)
	}
	return list[0], nil
}

// Create lets a person in. The error is Conflict for an address that is there, and Forbidden for a role above the caller's.
func (u *Users) Create(ctx context.Context, by Identity, n NewUser) (user User, err error) {
	email, err := parseEmail(n.Email)
	if err != nil {
		return User{}, err
	}
	if err := checkUserName(n.Name); err != nil {
		return User{}, err
	}
	if err := mayGive(by, n.Role); err != nil {
		return User{}, err
	}
	if n.Branch != 0 && n.Role == nobody {
		return User{}, fault.InvalidField("branch", "", "goes with a role")
	}
	hash, err := newPassword(ctx, n.Password, email)
	if err != nil {
		return User{}, err
	}
	err = postgres.InTx(ctx, u.pool, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `
			INSERT INTO control.users (email, name, password, created_by) VALUES ($1, $2, nullif($3, ''), $4)
			ON CONFLICT (email) DO NOTHING RETURNING id`, email, n.Name, hash, by.Actor()).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return &fault.Error{Kind: fault.Conflict, Field: "email", Value: email, Message: "there is a user with this address already"}
		}
		if err != nil {
			return fmt.Errorf("cannot store user %q: %w", email, err)
		}
		if err := setGrant(ctx, tx, id, n.Role, n.Branch, roleFromPerson, by.Actor()); err != nil {
			return err
		}
		if user, err = lockUser(ctx, tx, id); err != nil {
			return err
		}
		return auditUser(ctx, tx, "user.create", nil, &user)
	})
	return user, err
}

// Change changes a user. Their next request sees it: one who is disabled, or has a new password, is signed out. The error is
// Forbidden for somebody whose role is above the caller's, or is to be, and Conflict when no owner would be left.
func (u *Users) Change(ctx context.Context, by Identity, id int64, c UserChange) (user User, err error) {
	if c.Name != nil {
		if err := checkUserName(*c.Name); err != nil {
			return User{}, err
		}
	}
	if c.Role != nil {
		if err := mayGive(by, *c.Role); err != nil {
			return User{}, err
		}
	}
	err = postgres.AcrossTenants(ctx, u.pool, func(tx pgx.Tx) error { // sessions end whatever tenant they are in
		if err := lockOwners(ctx, tx); err != nil {
			return err
		}
		before, err := lockUser(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := mayGive(by, before.Role); err != nil {
			return err
		}
		if err := applyChange(ctx, tx, by, before, c); err != nil {
			return err
		}
		if user, err = lockUser(ctx, tx, id); err != nil {
			return err
		}
		if err := keepAnOwner(ctx, tx, before); err != nil {
			return err
		}
		if c.Password == nil && viewOfUser(&before) == viewOfUser(&user) {
			return nil
		}
		return auditUser(ctx, tx, "user.update", &before, &user)
	})
	return user, err
}

func applyChange(ctx context.Context, tx pgx.Tx, by Identity, before User, c UserChange) error {
	if c.Role != nil || c.Branch != nil {
		role, branch := before.Role, before.Branch
		if c.Role != nil {
			role = *c.Role
		}
		if c.Branch != nil {
			branch = *c.Branch
		}
		switch {
		case role == nobody && c.Branch != nil && *c.Branch != 0:
			return fault.InvalidField("branch", "", "goes with a role")
		case role == nobody:
			branch = 0
		}
		if err := setGrant(ctx, tx, before.ID, role, branch, roleFromPerson, by.Actor()); err != nil {
			return err
		}
	}
	if c.Password != nil {
		if *c.Password == "" {
			return fault.InvalidField("password", "", "must not be empty")
		}
		hash, err := newPassword(ctx, *c.Password, before.Email)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE control.users SET password = $2 WHERE id = $1`, before.ID, hash); err != nil {
			return fmt.Errorf("cannot store the password of user %d: %w", before.ID, err)
		}
	}
	if c.Name != nil || c.Disabled != nil {
		_, err := tx.Exec(ctx, `
			UPDATE control.users SET name = coalesce($2, name),
				disabled_at = CASE $3::boolean WHEN true THEN coalesce(disabled_at, now()) WHEN false THEN NULL ELSE disabled_at END
			WHERE id = $1`, before.ID, c.Name, c.Disabled)
		if err != nil {
			return fmt.Errorf("cannot change user %d: %w", before.ID, err)
		}
	}
	if c.Password != nil || c.Disabled != nil && *c.Disabled {
		if _, err := tx.Exec(ctx, `DELETE FROM control.sessions WHERE user_id = $1`, before.ID); err != nil {
			return fmt.Errorf("cannot end the sessions of user %d: %w", before.ID, err)
		}
	}
	return nil
}

// Delete removes a user with their sessions. The errors are those of Change.
func (u *Users) Delete(ctx context.Context, by Identity, id int64) error {
	return postgres.AcrossTenants(ctx, u.pool, func(tx pgx.Tx) error {
		if err := lockOwners(ctx, tx); err != nil {
			return err
		}
		before, err := lockUser(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := mayGive(by, before.Role); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM control.users WHERE id = $1`, id); err != nil {
			return fmt.Errorf("cannot delete user %d: %w", id, err)
		}
		if err := keepAnOwner(ctx, tx, before); err != nil {
			return err
		}
		return auditUser(ctx, tx, "user.delete", &before, nil)
	})
}

// mayGive checks a role that a person has or is to have; none may be given by all who may change users.
func mayGive(by Identity, r Role) error {
	if r == nobody {
		return nil
	}
	if _, err := ParseRole(string(r)); err != nil {
		return err
	}
	return by.MayGrant(r)
}

// setGrant sets a user's role in the operator's organization.
func setGrant(ctx context.Context, tx pgx.Tx, id int64, r Role, branch int64, source, by string) error {
	if r == nobody {
		if _, err := tx.Exec(ctx, `DELETE FROM control.grants WHERE user_id = $1`, id); err != nil {
			return fmt.Errorf("cannot take the role of user %d: %w", id, err)
		}
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO control.grants (user_id, role, branch, source, granted_by) VALUES ($1, $2, nullif($3, 0::bigint), $4, $5)
		ON CONFLICT (user_id) DO UPDATE SET role = excluded.role, branch = excluded.branch, source = excluded.source,
			granted_by = excluded.granted_by, granted_at = now()
		WHERE (grants.role, coalesce(grants.branch, 0), grants.source) <> (excluded.role, coalesce(excluded.branch, 0), excluded.source)`,
		id, r, branch, source, by)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23503" { // foreign_key_violation
		return fault.InvalidField("branch", fmt.Sprint(branch), "there is no such branch")
	}
	if err != nil {
		return fmt.Errorf("cannot give user %d a role: %w", id, err)
	}
	return nil
}

// lockOwners lets one change at a time in of those that may leave no owner. It locks no row: whoever holds a user's row may
// go on to their role, and never waits for this.
func lockOwners(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('headroom.owners', 0))`); err != nil {
		return fmt.Errorf("cannot lock the owners: %w", err)
	}
	return nil
}

// keepAnOwner refuses a change that took the last owner who can sign in.
func keepAnOwner(ctx context.Context, tx pgx.Tx, before User) error {
	if before.Role != RoleOwner || before.DisabledAt != nil {
		return nil
	}
	var left int
	err := tx.QueryRow(ctx, `
		SELECT count(*) FROM control.grants g JOIN control.users u ON u.id = g.user_id
		WHERE g.role = 'owner' AND g.branch IS NULL AND u.disabled_at IS NULL`).Scan(&left)
	if err != nil {
		return fmt.Errorf("cannot count the owners: %w", err)
	}
	if left == 0 && before.Branch == 0 {
		return fault.New(fault.Conflict, "%s is the last owner: make somebody else one first", before.Email)
	}
	return nil
}

func checkUserName(name string) error {
	if len(name) > 200 || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.InvalidField("name", name, "must have at most 200 bytes without control characters")
	}
	return nil
}

// newPassword returns what to store for a new password; nothing for none.
func newPassword(ctx context.Context, password, email string) (string, error) {
	if password == "" {
		return "", nil
	}
	if err := checkPassword(password, email); err != nil {
		return "", err
	}
	return hashPassword(ctx, password)
}

// userView is a user in the audit log.
type userView struct {
	Email       string `json:"email"`
	Name        string `json:"name,omitempty"`
	Role        Role   `json:"role,omitempty"`
	Branch      int64  `json:"branch,omitempty"`
	Source      string `json:"role_source,omitempty"`
	HasPassword bool   `json:"has_password"`
	Issuer      string `json:"issuer,omitempty"`
	Disabled    bool   `json:"disabled"`
}

func viewOfUser(u *User) any {
	if u == nil {
		return nil
	}
	return userView{u.Email, u.Name, u.Role, u.Branch, u.RoleSource, u.HasPassword, u.Issuer, u.DisabledAt != nil}
}

func auditUser(ctx context.Context, tx pgx.Tx, action string, before, after *User) error {
	who := after
	if who == nil {
		who = before
	}
	return Audit(ctx, tx, AuditEntry{Action: action, Resource: fmt.Sprint(who.ID), Before: viewOfUser(before), After: viewOfUser(after)})
}
