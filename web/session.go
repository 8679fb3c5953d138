package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

const (
	sessionCookie   = "headroom_session"
	sessionLifetime = 12 * time.Hour
)

// A session's CSRF token comes with every request that changes something, in the form field or in the header.
const (
	CSRFField  = "csrf_token"
	CSRFHeader = "X-CSRF-Token"
)

// refusedKeys counts keys that did not let anybody in, by header or at the sign-in.
var refusedKeys = metrics.NewCounter("headroom_refused_keys_total")

// Auth tells who makes a request: by an API key in the Authorization header, or by a session's cookie.
type Auth struct {
	keys *tenant.Keys
	pool *pgxpool.Pool
}

// NewAuth returns an Auth over the keys and the sessions in the pool's database.
func NewAuth(keys *tenant.Keys, pool *pgxpool.Pool) *Auth { return &Auth{keys: keys, pool: pool} }

// Session is a signed-in reader of the console.
type Session struct {
	Identity  tenant.Identity
	CSRFToken string
}

type sessionKey struct{}

// SessionFrom returns the session of a request that came with a valid cookie.
func SessionFrom(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(sessionKey{}).(*Session)
	return s, ok
}

// Middleware puts the caller's identity into the request's context. A request without credentials passes without one:
// what needs an identity says so. Credentials that are not valid are refused here, unless they are an old cookie, which
// only means that its reader has to sign in again. A request that changes something by a session must carry its CSRF
// token.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization"); h != "" {
			scheme, token, ok := strings.Cut(h, " ")
			if !ok || !strings.EqualFold(scheme, "Bearer") {
				err := fault.New(fault.Unauthenticated, "the Authorization header must be \"Bearer KEY\"")
				setErrorHeaders(w.Header(), err)
				WriteProblem(w, err)
				return
			}
			id, err := a.keys.Authenticate(r.Context(), strings.TrimSpace(token))
			if err != nil {
				refusedKeys.Inc()
				setErrorHeaders(w.Header(), err)
				WriteProblem(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(tenant.WithIdentity(r.Context(), id)))
			return
		}
		c, err := r.Cookie(sessionCookie)
		if err != nil {
			next.ServeHTTP(w, r)
			return
		}
		s, err := a.session(r.Context(), c.Value)
		if err != nil {
			if !fault.Is(err, fault.Unauthenticated) {
				setErrorHeaders(w.Header(), err)
				WriteProblem(w, err)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !validCSRF(r, s) {
			WriteProblem(w, fault.New(fault.Forbidden, "this form is too old: load the page again"))
			return
		}
		ctx := tenant.WithIdentity(r.Context(), s.Identity)
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, sessionKey{}, s)))
	})
}

func validCSRF(r *http.Request, s *Session) bool {
	token := r.Header.Get(CSRFHeader)
	if token == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		r.Body = http.MaxBytesReader(nil, r.Body, maxAPIBody)
		token = r.PostFormValue(CSRFField)
	}
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.CSRFToken)) == 1
}

// SignIn starts a session for the key and sets its cookie. The error is Unauthenticated for a key that is not valid and
// Forbidden for one that may not read.
func (a *Auth) SignIn(w http.ResponseWriter, r *http.Request, key string) error {
	id, err := a.keys.Authenticate(r.Context(), strings.TrimSpace(key))
	if err != nil {
		refusedKeys.Inc()
		return err
	}
	if err := id.Check(tenant.MayRead(tenant.ResourceTelemetry)); err != nil { // a bound key too: the console shows all tenants
		return err
	}
	token, csrf := randomToken(), randomToken()
	hash := sha256.Sum256([]byte(token))
	expires := time.Now().Add(sessionLifetime)
	err = postgres.InTx(r.Context(), a.pool, func(tx pgx.Tx) error {
		// Whoever signs in sweeps up what has expired: there is no other work to hang this on.
		if _, err := tx.Exec(r.Context(), `DELETE FROM control.sessions WHERE expires_at < now()`); err != nil {
			return fmt.Errorf("cannot delete expired sessions: %w", err)
		}
		_, err := tx.Exec(r.Context(), `INSERT INTO control.sessions (hash, key_id, csrf_token, expires_at) VALUES ($1, $2, $3, $4)`,
			hash[:], id.KeyID, csrf, expires)
		return err
	})
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie(r, token, expires))
	return nil
}

// SignOut ends the request's session, if it has one.
func (a *Auth) SignOut(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(sessionCookie); err == nil {
		hash := sha256.Sum256([]byte(c.Value))
		if _, err := a.pool.Exec(r.Context(), `DELETE FROM control.sessions WHERE hash = $1`, hash[:]); err != nil {
			return postgres.Translate(err)
		}
	}
	http.SetCookie(w, cookie(r, "", time.Unix(1, 0)))
	return nil
}

func cookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", Expires: expires, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// session finds a session by its token. The key behind it must still be good: a revoked key ends its sessions.
func (a *Auth) session(ctx context.Context, token string) (*Session, error) {
	hash := sha256.Sum256([]byte(token))
	s := &Session{}
	err := postgres.AcrossTenants(ctx, a.pool, func(tx pgx.Tx) error { // whose it is, is what the session tells
		return tx.QueryRow(ctx, `
			SELECT k.id, k.name, k.scopes, coalesce(k.tenant, ''), coalesce(k.product, ''), s.csrf_token
			FROM control.sessions s JOIN control.api_keys k ON k.id = s.key_id
			WHERE s.hash = $1 AND s.expires_at > now() AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())`,
			hash[:]).Scan(&s.Identity.KeyID, &s.Identity.Name, &s.Identity.Scopes, &s.Identity.Tenant, &s.Identity.Product, &s.CSRFToken)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.Unauthenticated, "the session has ended: sign in again")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "sessions cannot be checked now")
	}
	return s, nil
}

func randomToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
