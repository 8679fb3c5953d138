package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// providerLifetime is how long a person may take at the provider.
const providerLifetime = 10 * time.Minute

// BeginProvider returns the address of the provider that signs the browser in, and notes that it went there; afterwards the
// person goes to next. The error is NotFound without a provider, and Unavailable when it is away.
func (a *Auth) BeginProvider(w http.ResponseWriter, r *http.Request, next string) (string, error) {
	if a.Provider == nil {
		return "", fault.New(fault.NotFound, "no sign-in service is set up here")
	}
	// Each try leaves a row for ten minutes. It is given back when the person comes back and is let in.
	try, err := a.Attempts.BeginProvider(r.Context())
	if err != nil {
		return "", err
	}
	s := newSignInSecrets()
	to, err := a.Provider.address(r.Context(), s)
	if err != nil {
		try.GiveBack(r.Context())
		return "", err
	}
	expires := time.Now().Add(providerLifetime)
	err = postgres.InTx(r.Context(), a.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(r.Context(), `DELETE FROM control.sign_ins WHERE expires_at < now()`); err != nil {
			return fmt.Errorf("cannot delete old sign-ins: %w", err)
		}
		_, err := tx.Exec(r.Context(), `
			INSERT INTO control.sign_ins (hash, browser_hash, nonce, verifier, next, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			hashOf(s.state), hashOf(s.browser), s.nonce, s.verifier, shorten(next, 2000), expires)
		return err
	})
	if err != nil {
		return "", err
	}
	a.setCookie(w, r, providerCookie, s.browser, expires)
	return to, nil
}

// EndProvider takes the provider's answer and starts a session for the person. It returns where they wanted to go. The
// error is Unauthenticated for an answer to a sign-in that this browser did not begin, that was used before, or took too long.
func (a *Auth) EndProvider(w http.ResponseWriter, r *http.Request) (next string, err error) {
	if a.Provider == nil {
		return "", fault.New(fault.NotFound, "no sign-in service is set up here")
	}
	q := r.URL.Query()
	s := signInSecrets{state: q.Get("state")}
	if c, err := r.Cookie(a.cookieName(r, providerCookie)); err == nil {
		s.browser = c.Value
	}
	if s.state == "" || s.browser == "" {
		return "", errSignInAgain
	}
	if next, err = a.takeSignIn(r.Context(), &s); err != nil {
		return "", err
	}
	a.clearCookie(w, r, providerCookie)
	if why := q.Get("error"); why != "" {
		a.Provider.log.InfoContext(r.Context(), "the OpenID provider did not sign somebody in", "error", shorten(why, 100),
			"description", shorten(q.Get("error_description"), 300))
		if why == "access_denied" {
			return next, fault.New(fault.Forbidden, "the sign-in service did not let you in")
		}
		return next, fault.Wrap(ErrProviderAway, fault.Unavailable, "the sign-in service of your company could not sign you in")
	}
	person, err := a.Provider.redeem(r.Context(), q.Get("code"), s)
	if err != nil {
		return next, err
	}
	user, err := a.Users.ByProvider(r.Context(), person)
	if err != nil {
		return next, err
	}
	a.Attempts.ReturnProvider(r.Context())
	return next, a.startFor(w, r, user, "provider")
}

// takeSignIn takes the sign-in that the state names, so that it is used once, and fills in its secrets.
func (a *Auth) takeSignIn(ctx context.Context, s *signInSecrets) (next string, err error) {
	err = postgres.InTx(ctx, a.Pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			DELETE FROM control.sign_ins WHERE hash = $1 AND browser_hash = $2 AND expires_at > now() RETURNING nonce, verifier, next`,
			hashOf(s.state), hashOf(s.browser)).Scan(&s.nonce, &s.verifier, &next)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errSignInAgain
	}
	return next, err
}
