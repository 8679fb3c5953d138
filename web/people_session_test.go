package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// TestPeoplesSessions follows a person's tokens: from the sign-in over rotations to each way in which sessions end.
func TestPeoplesSessions(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	s := newPeopleSite(t, pg, nil)
	const password = "correct horse battery"
	user, err := s.users.Create(t.Context(), root, tenant.NewUser{Email: "ada@example.com", Role: tenant.RoleViewer, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	c := s.srv.Client()
	signIn := func(header ...string) *http.Cookie {
		t.Helper()
		code, body, res := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, url.Values{"email": {"Ada@example.com "}, "password": {password}}.Encode(), header...)
		if code != 200 || len(res.Cookies()) != 1 {
			t.Fatalf("sign-in: %d %s", code, body)
		}
		return res.Cookies()[0]
	}
	// ask returns who the token stands for, and the token that came with the answer.
	ask := func(token *http.Cookie, header ...string) (string, *http.Cookie) {
		t.Helper()
		_, body, res := do(t, c, http.MethodGet, s.srv.URL+"/who", "", "", append(header, "Cookie", token.Name+"="+token.Value)...)
		if len(res.Cookies()) > 0 {
			return body, res.Cookies()[0]
		}
		return body, nil
	}
	is := func(token *http.Cookie, want string, rotates bool) *http.Cookie {
		t.Helper()
		got, next := ask(token, "Accept", "text/html")
		if got != want || (next != nil) != rotates {
			t.Fatalf("got %q with another token %v, want %q with another %v", got, next != nil, want, rotates)
		}
		return next
	}
	sql := func(q string, args ...any) {
		t.Helper()
		if tag, err := pg.Owner.Exec(t.Context(), q, args...); err != nil || tag.RowsAffected() == 0 {
			t.Fatalf("%s: %v %v", q, tag, err)
		}
	}
	const viewer, admin = "ada@example.com viewer", "ada@example.com admin"

	first := signIn()
	is(first, viewer, false)
	// A sign-in begins another session and ends the one that the browser had: nobody's token is kept.
	var csrf string
	if err := pg.Owner.QueryRow(t.Context(), `SELECT csrf_token FROM control.sessions`).Scan(&csrf); err != nil {
		t.Fatal(err)
	}
	second := signIn("Cookie", first.Name+"="+first.Value, web.CSRFHeader, csrf)
	is(first, "", false)
	is(second, viewer, false)

	// After a while a page gets another token. The one before goes on until the new one was used, and a minute at least.
	sql(`UPDATE control.sessions SET rotated_at = now() - interval '16 minutes'`)
	if got, next := ask(second); got != viewer || next != nil {
		t.Errorf("what is no page: %q, another token %v", got, next != nil)
	}
	third := is(second, viewer, true)
	is(second, viewer, false)
	sql(`UPDATE control.sessions SET rotated_at = now() - interval '2 minutes'`)
	fourth := is(second, viewer, true) // the answer with the third was lost
	is(third, "", false)
	is(fourth, viewer, false)
	is(second, viewer, false) // within the minute
	sql(`UPDATE control.sessions SET rotated_at = now() - interval '2 minutes'`)
	is(second, "", false)

	// Another role holds at the next request, and gets another token; the one before is over at once.
	role := tenant.RoleAdmin
	if _, err := s.users.Change(t.Context(), root, user.ID, tenant.UserChange{Role: &role}); err != nil {
		t.Fatal(err)
	}
	fifth := is(fourth, admin, true)
	is(fourth, "", false)
	is(fifth, admin, false)

	// Ends: without use, after its time, by another password, by disabling.
	for _, end := range []string{`UPDATE control.sessions SET seen_at = now() - interval '3 hours'`, `UPDATE control.sessions SET expires_at = now()`} {
		token := signIn()
		is(token, admin, false)
		sql(end)
		is(token, "", false)
	}
	newer := "another long password"
	token := signIn()
	if _, err := s.users.Change(t.Context(), root, user.ID, tenant.UserChange{Password: &newer}); err != nil {
		t.Fatal(err)
	}
	is(token, "", false)
	back := password
	if _, err := s.users.Change(t.Context(), root, user.ID, tenant.UserChange{Password: &back}); err != nil {
		t.Fatal(err)
	}
	token = signIn()
	sql(`UPDATE control.users SET disabled_at = now()`)
	is(token, "", false)
	sql(`UPDATE control.users SET disabled_at = NULL`)
	is(token, admin, false)

	over := signIn("X-Forwarded-Proto", "https")
	if !strings.HasPrefix(over.Name, "__Host-") || !over.Secure || over.Path != "/" || over.Domain != "" || !over.HttpOnly {
		t.Errorf("cookie over TLS: %v", over)
	}
	if got, _ := ask(over, "X-Forwarded-Proto", "https"); got != admin {
		t.Errorf("over TLS: %q", got)
	}
	if got, _ := ask(&http.Cookie{Name: "headroom_session", Value: over.Value}, "X-Forwarded-Proto", "https"); got != "" {
		t.Errorf("a cookie that any host of the domain can plant is taken over TLS: %q", got)
	}

	for range 5 {
		code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, "email=ada%40example.com&password=wrong")
		if code != 401 {
			t.Fatalf("a wrong password: %d", code)
		}
	}
	code, body, res := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, url.Values{"email": {"ada@example.com"}, "password": {password}}.Encode())
	if code != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "too many attempts") {
		t.Errorf("after too many tries: %d %s", code, body)
	}
}
