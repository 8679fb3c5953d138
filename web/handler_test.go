package web_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/web"
)

func TestErrorsBecomeProblems(t *testing.T) {
	t.Parallel()
	f := func(err error, wantStatus int, wantDetail string) *httptest.ResponseRecorder {
		t.Helper()
		var log strings.Builder
		h := web.Handler(slog.New(slog.NewTextHandler(&log, nil)), nil, func(http.ResponseWriter, *http.Request) error { return err })
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x", nil))
		var p web.Problem
		if e := json.Unmarshal(rec.Body.Bytes(), &p); e != nil {
			t.Fatalf("body %q: %v", rec.Body, e)
		}
		if rec.Code != wantStatus || p.Status != wantStatus || !strings.Contains(p.Detail, wantDetail) {
			t.Errorf("%v: got status %d and detail %q, want %d and %q", err, rec.Code, p.Detail, wantStatus, wantDetail)
		}
		if ct := rec.Header().Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("content type: got %q", ct)
		}
		if logged := log.Len() > 0; logged != (wantStatus >= 500) {
			t.Errorf("%v: logged %v", err, logged)
		}
		return rec
	}
	f(fault.InvalidField("from", "yesterday", "is not a time"), 400, `from: is not a time (got "yesterday")`)
	f(fault.New(fault.NotFound, "no SLO %q", "x"), 404, `no SLO "x"`)
	f(fault.New(fault.Conflict, "c"), 409, "c")
	f(fault.New(fault.Forbidden, "f"), 403, "f")
	f(fault.New(fault.TooLarge, "t"), 413, "t")
	f(fault.New(fault.Unsupported, "u"), 415, "u")
	if h := f(fault.New(fault.Unauthenticated, "who"), 401, "who").Header().Get("WWW-Authenticate"); !strings.HasPrefix(h, "Bearer") {
		t.Errorf("WWW-Authenticate: got %q", h)
	}
	if h := f(&fault.Error{Kind: fault.Unavailable, Message: "later", RetryAfter: 3 * time.Second}, 503, "later").Header().Get("Retry-After"); h != "3" {
		t.Errorf("Retry-After: got %q", h)
	}
	rec := f(errors.New("password=hunter2"), 500, "something went wrong")
	if strings.Contains(rec.Body.String(), "hunter2") {
		t.Error("an internal error's text left the process")
	}
	rec = f(fault.Wrap(errors.New("dial 10.0.0.1"), fault.Unavailable, "the database is away"), 503, "the database is away")
	if strings.Contains(rec.Body.String(), "10.0.0.1") {
		t.Error("the cause of an error left the process")
	}
	rec = f(fault.List{fault.InvalidField("a", "1", "bad"), fault.InvalidField("b", "2", "worse")}, 400, "2 mistakes")
	var p web.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || len(p.Errors) != 2 || p.Errors[1].Location != "b" {
		t.Errorf("mistakes: got %+v, %v", p.Errors, err)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	h := web.Handler(slog.New(slog.DiscardHandler), nil, func(http.ResponseWriter, *http.Request) error { panic("secret") })
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("got %d %q", rec.Code, rec.Body)
	}
}

func TestBrowsersGetAPage(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, _ *http.Request, status int, message string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<h1>"+message+"</h1>")
	}
	h := web.Handler(slog.Default(), page, func(http.ResponseWriter, *http.Request) error { return fault.New(fault.NotFound, "no such tenant") })
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != 404 || rec.Body.String() != "<h1>no such tenant</h1>" {
		t.Errorf("got %d %q", rec.Code, rec.Body)
	}
}

func TestSecureHeadersAllowNothingInline(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	web.SecureHeaders(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	csp := rec.Header().Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: got %q", csp)
	}
	if rec.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Error("no nosniff")
	}
}
