package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// SignIn starts a session for the key and sets its cookie. The error is Unauthenticated for a key that is not valid,
// Forbidden for one that may not read, and Unavailable with RetryAfter after too many tries.
func (a *Auth) SignIn(w http.ResponseWriter, r *http.Request, key string) error {
	try, err := a.Attempts.Begin(r.Context(), "")
	if err != nil {
		return err
	}
	id, err := a.Keys.Authenticate(r.Context(), strings.TrimSpace(key))
	if err != nil {
		refusedKeys.Inc()
		return err
	}
	try.GiveBack(r.Context())
	if err := id.Check(tenant.MayRead(tenant.ResourceTelemetry)); err != nil { // a bound key too: the console shows all tenants
		return err
	}
	return a.start(w, r, newSession{keyID: id.KeyID, method: "key", identity: id})
}

// SignInWithPassword starts a session for the person. The errors are those of SignIn.
func (a *Auth) SignInWithPassword(w http.ResponseWriter, r *http.Request, email, password string) error {
	email = strings.TrimSpace(email)
	try, err := a.Attempts.Begin(r.Context(), email)
	if err != nil {
		return err
	}
	user, err := a.Users.ByPassword(r.Context(), email, password)
	if err != nil {
		return err
	}
	try.GiveBack(r.Context())
	return a.startFor(w, r, user, "password")
}

// startFor begins a session in the first of the person's organizations.
func (a *Auth) startFor(w http.ResponseWriter, r *http.Request, user tenant.User, method string) error {
	all, err := a.Users.Organizations(r.Context(), user.ID)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fault.New(fault.Forbidden, "%s has no role here: ask who runs headroom for one", user.Email)
	}
	return a.startIn(w, r, user, all[0], method, user.CheckStill)
}

func (a *Auth) startIn(w http.ResponseWriter, r *http.Request, user tenant.User, o tenant.Organization, method string,
	check func(context.Context, pgx.Tx) error,
) error {
	who := tenant.Identity{UserID: user.ID, Role: o.Role, Tenant: o.Tenant}
	if o.Tenant == tenant.Untagged && user.Branch != 0 {
		b, err := a.branch(postgres.OwnWork(r.Context()), user.Branch) // who comes from a tenant's session is still confined to it
		if err != nil {
			return err
		}
		who.Branch = b
	}
	return a.start(w, r, newSession{userID: user.ID, check: check, tenant: o.Tenant, method: method, identity: who})
}

// Organizations returns those that whose session this is may act in; none for a key.
func (a *Auth) Organizations(ctx context.Context, s *Session) ([]tenant.Organization, error) {
	if s.Identity.UserID == 0 {
		return nil, nil
	}
	return a.Users.Organizations(postgres.OwnWork(ctx), s.Identity.UserID)
}

// Switch goes on in another of the person's organizations, in a session of its own. The error is NotFound for one that
// is not theirs.
func (a *Auth) Switch(w http.ResponseWriter, r *http.Request, s *Session, to tenant.ID) error {
	all, err := a.Organizations(r.Context(), s)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Tenant == to {
			user, err := a.Users.Get(r.Context(), s.Identity.UserID)
			if err != nil {
				return err
			}
			return a.startIn(w, r, user, o, s.Method, func(ctx context.Context, tx pgx.Tx) error {
				if err := user.CheckStill(ctx, tx); err != nil {
					return err
				}
				var found int64 // a session that has ended meanwhile, as with another password, goes on in none
				err := tx.QueryRow(ctx, `SELECT id FROM control.sessions WHERE id = $1`, s.ID).Scan(&found)
				if errors.Is(err, pgx.ErrNoRows) {
					return fault.New(fault.Unauthenticated, "the session has ended: sign in again")
				}
				return err
			})
		}
	}
	return fault.New(fault.NotFound, "there is no such organization")
}

// HasPeople reports whether anybody can sign in other than by a key. When that is not known, it says so.
func (a *Auth) HasPeople(ctx context.Context) bool {
	any, err := a.Users.Any(ctx)
	return any || err != nil
}
