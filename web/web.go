// Package web holds what all HTTP handlers share: the adapter that turns errors into responses, the JSON API's
// conventions, identities and sessions, security headers. It knows tenants' identities, no feature.
package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// status returns the HTTP status of a kind of error.
func status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Status returns the HTTP status that err is answered with.
func Status(err error) int { return status(fault.KindOf(err)) }

// publicMessage returns what a caller may read of err: nothing of an internal one.
func publicMessage(err error) string {
	var list fault.List
	if errors.As(err, &list) && len(list) > 1 {
		return strconv.Itoa(len(list)) + " mistakes: " + list[0].Public() + " …"
	}
	var e *fault.Error
	if errors.As(err, &e) && e.Kind != fault.Internal {
		return e.Public()
	}
	return "something went wrong on our side; it is in the log"
}

// setErrorHeaders sets the headers that go with an error, whatever the body's format.
func setErrorHeaders(h http.Header, err error) {
	var e *fault.Error
	if !errors.As(err, &e) {
		return
	}
	switch e.Kind {
	case fault.Unavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int(e.RetryAfter.Round(time.Second).Seconds()))))
	case fault.Unauthenticated:
		h.Set("WWW-Authenticate", `Bearer realm="headroom"`)
	}
}

// wantsHTML reports whether the caller is a browser that shows a page.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// SecureHeaders sets the headers that every response of ours carries. Nothing may come from elsewhere and nothing may
// stand inline: pages hold no script and no style of their own.
func SecureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		next.ServeHTTP(w, r)
	})
}
