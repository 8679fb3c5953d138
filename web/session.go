package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// A session's CSRF token comes with every request that changes something, in the form field or in the header.
const (
	CSRFField  = "csrf_token"
	CSRFHeader = "X-CSRF-Token"
)

// Defaults of AuthOptions.
const (
	DefaultSessionIdle     = 2 * time.Hour
	DefaultSessionLifetime = 12 * time.Hour
)

// refusedKeys counts keys that did not let anybody in, by header or at the sign-in.
var refusedKeys = metrics.NewCounter("headroom_refused_keys_total")

// AuthOptions configures an Auth.
type AuthOptions struct {
	Keys *tenant.Keys  // required
	Pool *pgxpool.Pool // of the sessions, required

	Users    *tenant.Users    // by default those in the pool's database
	Attempts *tenant.Attempts // the same, with tenant.DefaultAttemptLimits
	// Branch returns a branch that people are confined to. Without it they cannot come in.
	Branch func(ctx context.Context, id int64) (*tenant.Branch, error)

	Provider   *Provider // of OpenID Connect; nil for none
	ConsoleURL string    // where people reach the console; with https its cookies are for https only

	SessionIdle     time.Duration // a session ends when nothing used it for so long; DefaultSessionIdle
	SessionLifetime time.Duration // a session ends after so long, however it is used; DefaultSessionLifetime
}

// Auth tells who makes a request: by an API key in the Authorization header, or by a session's cookie.
type Auth struct {
	AuthOptions
	secureHost string // of the console's URL, if that is https
}

// NewAuth returns an Auth over the keys and the sessions in the pool's database.
func NewAuth(o AuthOptions) *Auth {
	if o.Users == nil {
		o.Users = tenant.NewUsers(o.Pool)
	}
	if o.Attempts == nil {
		o.Attempts = tenant.NewAttempts(o.Pool, tenant.DefaultAttemptLimits)
	}
	if o.SessionIdle == 0 {
		o.SessionIdle = DefaultSessionIdle
	}
	if o.SessionLifetime == 0 {
		o.SessionLifetime = DefaultSessionLifetime
	}
	a := &Auth{AuthOptions: o}
	if u, err := url.Parse(o.ConsoleURL); err == nil && u.Scheme == "https" {
		a.secureHost = u.Host
	}
	return a
}

// Session is a signed-in reader of the console.
type Session struct {
	ID        int64
	Identity  tenant.Identity
	CSRFToken string
	Name      string // of the key or the person, for people
	Method    string // how it was signed in: key, password or provider
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
			id, err := a.byHeader(r, h)
			if err != nil {
				refuse(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(tenant.WithIdentity(r.Context(), id)))
			return
		}
		c, err := r.Cookie(a.cookieName(r, sessionCookie))
		if err != nil {
			next.ServeHTTP(w, r)
			return
		}
		found, err := a.findSession(r.Context(), c.Value)
		if err != nil {
			if !fault.Is(err, fault.Unauthenticated) {
				refuse(w, err)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !validCSRF(r, &found.Session) {
			refuse(w, fault.New(fault.Forbidden, "this form is too old: load the page again"))
			return
		}
		if err := a.keepUp(w, r, found); err != nil {
			refuse(w, err)
			return
		}
		ctx := tenant.WithIdentity(r.Context(), found.Identity)
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, sessionKey{}, &found.Session)))
	})
}

func (a *Auth) byHeader(r *http.Request, header string) (tenant.Identity, error) {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return tenant.Identity{}, fault.New(fault.Unauthenticated, "the Authorization header must be \"Bearer KEY\"")
	}
	id, err := a.Keys.Authenticate(r.Context(), strings.TrimSpace(token))
	if err != nil {
		refusedKeys.Inc()
		return tenant.Identity{}, err
	}
	id.Address = addressOf(r.Context())
	return id, nil
}

func refuse(w http.ResponseWriter, err error) {
	setErrorHeaders(w.Header(), err)
	WriteProblem(w, err)
}

func addressOf(ctx context.Context) string {
	if from := tenant.OriginFrom(ctx).Address; from.IsValid() {
		return from.String()
	}
	return ""
}

func validCSRF(r *http.Request, s *Session) bool {
	token := r.Header.Get(CSRFHeader)
	if token == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		r.Body = http.MaxBytesReader(nil, r.Body, maxAPIBody)
		token = r.PostFormValue(CSRFField)
	}
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.CSRFToken)) == 1
}

const (
	sessionCookie  = "headroom_session"
	providerCookie = "headroom_sign_in" // holds the browser's half of a sign-in at the provider
)

// secure reports whether the browser reaches us over TLS. X-Forwarded-Proto is believed whoever says it: who lies only
// gets a cookie that their own browser keeps for https.
func (a *Auth) secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" || a.secureHost != "" && r.Host == a.secureHost
}

// cookieName returns the name of a cookie. Over TLS its prefix lets browsers take it from this very host only, so that no
// other host of the domain can plant one.
func (a *Auth) cookieName(r *http.Request, name string) string {
	if a.secure(r) {
		return "__Host-" + name
	}
	return name
}

func (a *Auth) setCookie(w http.ResponseWriter, r *http.Request, name, value string, expires time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: a.cookieName(r, name), Value: value, Path: "/", Expires: expires, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: a.secure(r),
	})
}

func (a *Auth) clearCookie(w http.ResponseWriter, r *http.Request, name string) {
	a.setCookie(w, r, name, "", time.Unix(1, 0))
}

func hashOf(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

func randomToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
