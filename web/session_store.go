package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

const (
	// rotateAfter is how long a session has one token, of those that its cookie may be.
	rotateAfter = 15 * time.Minute
	// rotateOverlap is how long the token before goes on, for requests that were on their way. It goes on for longer when
	// nobody has used the new one: the answer with it was lost.
	rotateOverlap = time.Minute
	// seenEvery is how exact the last use of a session is.
	seenEvery = time.Minute
)

// foundSession is a session with what keeps it up.
type foundSession struct {
	Session
	hash      []byte // of its present token
	current   bool   // the request came with that token, not with the one before
	confirmed bool   // some request did
	privilege string // what it could do when its token was made
	sinceSeen time.Duration
	sinceTurn time.Duration // since the token was made
}

// findSession finds a session by its token. Who is behind it must still be let in: a key that has ended, a user who was
// disabled or has lost their role, each ends its sessions at once. It is one query.
func (a *Auth) findSession(ctx context.Context, token string) (*foundSession, error) {
	s := &foundSession{}
	var (
		presented                   = hashOf(token)
		scopes                      []tenant.Scope
		keyID, userID, branch       int64
		keyName, email, name        string
		keyTenant, product, inOrgan string
		role                        tenant.Role
	)
	err := postgres.AcrossTenants(ctx, a.Pool, func(tx pgx.Tx) error { // whose it is, is what the session tells
		return tx.QueryRow(ctx, `
			SELECT s.id, s.hash, s.confirmed, s.privilege, s.csrf_token, s.method, now() - s.seen_at, now() - s.rotated_at,
				coalesce(k.id, 0), coalesce(k.name, ''), coalesce(k.scopes, '{}'), coalesce(k.tenant, ''), coalesce(k.product, ''),
				coalesce(u.id, 0), coalesce(u.email, ''), coalesce(u.name, ''), coalesce(s.tenant, ''), coalesce(g.role, m.role, ''), coalesce(g.branch, 0)
			FROM control.sessions s
			LEFT JOIN control.api_keys k ON k.id = s.key_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
			LEFT JOIN control.users u ON u.id = s.user_id AND u.disabled_at IS NULL
			LEFT JOIN control.grants g ON g.user_id = u.id AND s.tenant IS NULL
			LEFT JOIN control.memberships m ON m.email = u.email AND m.tenant = s.tenant
			WHERE (s.hash = $1 OR s.previous_hash = $1 AND (NOT s.confirmed OR s.rotated_at > now() - $2::interval))
				AND s.expires_at > now() AND s.seen_at > now() - $3::interval AND coalesce(k.name, g.role, m.role) IS NOT NULL`,
			presented, rotateOverlap, a.SessionIdle).Scan(&s.ID, &s.hash, &s.confirmed, &s.privilege, &s.CSRFToken, &s.Method, &s.sinceSeen, &s.sinceTurn,
			&keyID, &keyName, &scopes, &keyTenant, &product, &userID, &email, &name, &inOrgan, &role, &branch)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.Unauthenticated, "the session has ended: sign in again")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "sessions cannot be checked now")
	}
	s.current = bytes.Equal(s.hash, presented)
	s.Identity = tenant.Identity{KeyID: keyID, Name: keyName, Scopes: scopes, Tenant: tenant.ID(keyTenant), Product: product, Address: addressOf(ctx)}
	s.Name = keyName
	if userID != 0 {
		s.Identity = tenant.Identity{UserID: userID, Name: email, Role: role, Tenant: tenant.ID(inOrgan), Address: addressOf(ctx)}
		if s.Name = name; name == "" {
			s.Name = email
		}
		if branch != 0 {
			if s.Identity.Branch, err = a.branch(ctx, branch); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// branch returns the branch that somebody is confined to: without it they see nothing, rather than everything.
func (a *Auth) branch(ctx context.Context, id int64) (*tenant.Branch, error) {
	if a.Branch == nil {
		return nil, fault.New(fault.Unavailable, "branches cannot be read now")
	}
	b, err := a.Branch(ctx, id)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "branches cannot be read now")
	}
	return b, nil
}

// privilegeOf says what an identity may do: a session whose privilege is another than before gets another token.
func privilegeOf(i tenant.Identity) string {
	if !i.Person() {
		scopes := make([]string, len(i.Scopes))
		for n, s := range i.Scopes {
			scopes[n] = string(s)
		}
		return "key " + strings.Join(scopes, " ")
	}
	p := string(i.Role)
	if i.Tenant != tenant.Untagged {
		p += " of " + string(i.Tenant)
	}
	if i.Branch != nil {
		p += fmt.Sprintf(" in %d", i.Branch.ID)
	}
	return p
}

// keepUp notes that a session was used, and gives it another token when it is time, or when it may do something else than
// before. Tokens change with pages only: what else is asked for may be cached, or asked for by what keeps no cookies.
func (a *Auth) keepUp(w http.ResponseWriter, r *http.Request, s *foundSession) error {
	privilege := privilegeOf(s.Identity)
	changed := privilege != s.privilege
	lost := !s.current && !s.confirmed && s.sinceTurn > rotateOverlap // nobody got the token that was made
	page := wantsHTML(r) || r.Header.Get("HX-Request") == "true"
	if page && (changed || lost || s.current && s.sinceTurn > rotateAfter) {
		return a.rotate(w, r, s, privilege, !changed)
	}
	if s.current && !s.confirmed || s.sinceSeen > seenEvery {
		err := postgres.AcrossTenants(r.Context(), a.Pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(r.Context(), `UPDATE control.sessions SET seen_at = now(), confirmed = confirmed OR hash = $2,
				address = coalesce($3, address) WHERE id = $1`, s.ID, tokenIfCurrent(s), originAddress(r.Context()))
			return err
		})
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "sessions cannot be checked now")
		}
	}
	return nil
}

// tokenIfCurrent is the hash of the token that the request came with, if that is the present one.
func tokenIfCurrent(s *foundSession) []byte {
	if s.current {
		return s.hash
	}
	return nil
}

// rotate gives the session another token. Of requests side by side one does; the others go on with the token before.
func (a *Auth) rotate(w http.ResponseWriter, r *http.Request, s *foundSession, privilege string, overlap bool) error {
	token := randomToken()
	var expires time.Time
	err := postgres.AcrossTenants(r.Context(), a.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(r.Context(), `
			UPDATE control.sessions SET hash = $3, rotated_at = now(), seen_at = now(), confirmed = false, privilege = $4,
				previous_hash = CASE WHEN NOT $5 THEN NULL WHEN $6 THEN hash ELSE previous_hash END
			WHERE id = $1 AND hash = $2 RETURNING expires_at`, s.ID, s.hash, hashOf(token), privilege, overlap, s.current).Scan(&expires)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows): // another request did
		return nil
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "sessions cannot be checked now")
	}
	a.setCookie(w, r, sessionCookie, token, expires)
	return nil
}

// newSession is what a session begins with.
type newSession struct {
	keyID, userID int64
	tenant        tenant.ID
	method        string
	identity      tenant.Identity
	check         func(ctx context.Context, tx pgx.Tx) error // that it may begin still; nil for a key
}

// start begins a session under a token of its own, ends the one that the browser had, and sets the cookie.
func (a *Auth) start(w http.ResponseWriter, r *http.Request, n newSession) error {
	ctx, token, expires := postgres.OwnWork(r.Context()), randomToken(), time.Now().Add(a.SessionLifetime)
	from := tenant.OriginFrom(ctx)
	err := postgres.AcrossTenants(ctx, a.Pool, func(tx pgx.Tx) error {
		if n.check != nil {
			if err := n.check(ctx, tx); err != nil {
				return err
			}
		}
		// Whoever signs in sweeps up what has expired: there is no other work to hang this on.
		if _, err := tx.Exec(ctx, `DELETE FROM control.sessions WHERE expires_at < now() OR seen_at < now() - $1::interval`, a.SessionIdle); err != nil {
			return fmt.Errorf("cannot delete expired sessions: %w", err)
		}
		if err := a.endPresented(ctx, tx, r); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO control.sessions (hash, key_id, user_id, tenant, method, privilege, csrf_token, address, user_agent, expires_at)
			VALUES ($1, nullif($2, 0::bigint), nullif($3, 0::bigint), nullif($4, ''), $5, $6, $7, $8, $9, $10)`,
			hashOf(token), n.keyID, n.userID, n.tenant, n.method, privilegeOf(n.identity), randomToken(), originAddress(ctx), shorten(from.UserAgent, 512), expires)
		if err != nil {
			return fmt.Errorf("cannot begin a session: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	_ = a.Attempts.Sweep(ctx) // the next one does
	a.setCookie(w, r, sessionCookie, token, expires)
	return nil
}

// endPresented ends the session whose cookie the request has.
func (a *Auth) endPresented(ctx context.Context, tx pgx.Tx, r *http.Request) error {
	c, err := r.Cookie(a.cookieName(r, sessionCookie))
	if err != nil {
		return nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM control.sessions WHERE hash = $1 OR previous_hash = $1`, hashOf(c.Value)); err != nil {
		return fmt.Errorf("cannot end a session: %w", err)
	}
	return nil
}

// SignOut ends the request's session, if it has one.
func (a *Auth) SignOut(w http.ResponseWriter, r *http.Request) error {
	err := postgres.AcrossTenants(postgres.OwnWork(r.Context()), a.Pool, func(tx pgx.Tx) error { return a.endPresented(r.Context(), tx, r) })
	if err != nil {
		return err
	}
	a.clearCookie(w, r, sessionCookie)
	return nil
}

// SessionInfo is one of somebody's sessions, as they see it.
type SessionInfo struct {
	ID        int64
	Method    string
	Address   netip.Addr // of the last use; not valid when nobody knows it
	UserAgent string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
	Current   bool // the one that asks
}

// Sessions lists the sessions of whose session this is, the last used first.
func (a *Auth) Sessions(ctx context.Context, s *Session) (list []SessionInfo, err error) {
	err = postgres.AcrossTenants(postgres.OwnWork(ctx), a.Pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id, method, address, user_agent, created_at, seen_at, expires_at, id = $1
			FROM control.sessions WHERE (key_id = nullif($2, 0::bigint) OR user_id = nullif($3, 0::bigint))
				AND expires_at > now() AND seen_at > now() - $4::interval
			ORDER BY id = $1 DESC, seen_at DESC, id DESC`, s.ID, s.Identity.KeyID, s.Identity.UserID, a.SessionIdle)
		if err != nil {
			return fmt.Errorf("cannot read sessions: %w", err)
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i SessionInfo, err error) {
			var address *netip.Addr
			err = row.Scan(&i.ID, &i.Method, &address, &i.UserAgent, &i.CreatedAt, &i.SeenAt, &i.ExpiresAt, &i.Current)
			if address != nil {
				i.Address = *address
			}
			return i, err
		})
		return err
	})
	return list, err
}

// EndSession ends one of the sessions of whose session s is. The error is NotFound for one that is not theirs.
func (a *Auth) EndSession(ctx context.Context, s *Session, id int64) error {
	return a.end(ctx, s, `id = $3`, id, true)
}

// EndOtherSessions ends all sessions of whose session s is, but s.
func (a *Auth) EndOtherSessions(ctx context.Context, s *Session) error {
	return a.end(ctx, s, `id <> $3`, s.ID, false)
}

func (a *Auth) end(ctx context.Context, s *Session, which string, id int64, must bool) error {
	return postgres.AcrossTenants(postgres.OwnWork(ctx), a.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM control.sessions WHERE (key_id = nullif($1, 0::bigint) OR user_id = nullif($2, 0::bigint)) AND `+which,
			s.Identity.KeyID, s.Identity.UserID, id)
		if err != nil {
			return fmt.Errorf("cannot end a session: %w", err)
		}
		if must && tag.RowsAffected() == 0 {
			return fault.New(fault.NotFound, "there is no such session")
		}
		return nil
	})
}

func originAddress(ctx context.Context) *netip.Addr {
	if from := tenant.OriginFrom(ctx).Address; from.IsValid() {
		return &from
	}
	return nil
}

func shorten(s string, limit int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
