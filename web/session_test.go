package web_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// site is a small server behind Auth: a form that changes something, sign-in and sign-out, and the API.
type site struct {
	keys *tenant.Keys
	srv  *httptest.Server
	csrf string // of the session that asked last
}

func newSite(t *testing.T) *site {
	t.Helper()
	pool := testenv.NewPostgres(t).Pool
	s := &site{keys: tenant.NewKeys(pool)}
	auth := web.NewAuth(web.AuthOptions{Keys: s.keys, Pool: pool})
	log := slog.New(slog.DiscardHandler)
	r := chi.NewRouter()
	r.Use(auth.Middleware)
	web.RegisterKeyAPI(web.NewAPI(r, "test", log), s.keys)
	r.Method(http.MethodPost, "/sign-in", web.Handler(log, nil, func(w http.ResponseWriter, r *http.Request) error {
		return auth.SignIn(w, r, r.PostFormValue("key"))
	}))
	r.Method(http.MethodPost, "/sign-out", web.Handler(log, nil, auth.SignOut))
	r.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		if session, ok := web.SessionFrom(r.Context()); ok {
			s.csrf = session.CSRFToken
		}
		who, _ := tenant.IdentityFrom(r.Context())
		_, _ = io.WriteString(w, who.Name)
	})
	s.srv = httptest.NewServer(r)
	t.Cleanup(s.srv.Close)
	return s
}

func (s *site) key(t *testing.T, name string, scopes ...tenant.Scope) string {
	t.Helper()
	_, text, err := s.keys.Create(t.Context(), "test", tenant.NewKey{Name: name, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func do(t *testing.T, c *http.Client, method, url, contentType, body string, header ...string) (int, string, *http.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res
}

const form = "application/x-www-form-urlencoded"

func TestSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	key := s.key(t, "reader", tenant.ScopeQuery)
	c := s.srv.Client()

	if code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, "key=nonsense"); code != 401 {
		t.Errorf("a malformed key: got %d, want 401", code)
	}
	writer := s.key(t, "writer", tenant.ScopeIngest)
	if code, body, _ := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, "key="+writer); code != 403 || !strings.Contains(body, "query:read") {
		t.Errorf("a key that may not read: got %d %s, want 403 that names the scope", code, body)
	}
	code, _, res := do(t, c, http.MethodPost, s.srv.URL+"/sign-in", form, url.Values{"key": {" " + key + "\n"}}.Encode())
	if code != 200 || len(res.Cookies()) != 1 {
		t.Fatalf("sign-in: got %d with cookies %v", code, res.Cookies())
	}
	cookie := res.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || strings.Contains(cookie.Value, key) {
		t.Errorf("cookie: got %v", cookie)
	}
	session := []string{"Cookie", cookie.Name + "=" + cookie.Value}
	if _, body, _ := do(t, c, http.MethodGet, s.srv.URL+"/who", "", "", session...); body != "reader" {
		t.Errorf("who: got %q, want reader", body)
	}

	if code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/who", form, "", session...); code != 403 {
		t.Errorf("a change without the CSRF token: got %d, want 403", code)
	}
	if code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/who", form, url.Values{web.CSRFField: {s.csrf}}.Encode(), session...); code != 200 {
		t.Errorf("a change with the CSRF token in the form: got %d, want 200", code)
	}
	if code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/who", "", "", append(session, web.CSRFHeader, s.csrf)...); code != 200 {
		t.Errorf("a change with the CSRF token in the header: got %d, want 200", code)
	}

	if code, _, _ := do(t, c, http.MethodPost, s.srv.URL+"/sign-out", form, url.Values{web.CSRFField: {s.csrf}}.Encode(), session...); code != 200 {
		t.Errorf("sign-out: got %d", code)
	}
	if _, body, _ := do(t, c, http.MethodGet, s.srv.URL+"/who", "", "", session...); body != "" {
		t.Errorf("after signing out the cookie still is %q", body)
	}
}

func TestRevokedKeyEndsItsSessions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, _, res := do(t, s.srv.Client(), http.MethodPost, s.srv.URL+"/sign-in", form, "key="+s.key(t, "reader", tenant.ScopeQuery))
	keys, err := s.keys.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.keys.Revoke(t.Context(), "test", keys[0].Prefix); err != nil {
		t.Fatal(err)
	}
	c := res.Cookies()[0]
	if _, body, _ := do(t, s.srv.Client(), http.MethodGet, s.srv.URL+"/who", "", "", "Cookie", c.Name+"="+c.Value); body != "" {
		t.Errorf("the session of a revoked key still is %q", body)
	}
}

// TestFeaturesMayNameTheirBodiesAlike registers two operations whose bodies would have the same name.
func TestFeaturesMayNameTheirBodiesAlike(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	api := web.NewAPI(r, "test", slog.Default())
	type aOut struct{ Body struct{ A string } }
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/a", ID: "get-a", Permission: tenant.MayRead(tenant.ResourceTelemetry)},
		func(context.Context, *struct{}) (*aOut, error) { return nil, nil })
	{
		type aOut struct{ Body struct{ B string } }
		web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/b", ID: "get-b", Permission: tenant.MayRead(tenant.ResourceTelemetry)},
			func(context.Context, *struct{}) (*aOut, error) { return nil, nil })
	}
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	for _, name := range []string{`"AOutBody":`, `"GetBAOutBody":`} {
		if !strings.Contains(rec.Body.String(), name) {
			t.Errorf("/openapi.json has no schema %s", name)
		}
	}
}

func TestPanicOfAnOperationIsAnInternalError(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := chi.NewRouter()
	api := web.NewAPI(r, "test", slog.New(slog.NewTextHandler(&log, nil)))
	web.Register(api, web.Operation{Method: http.MethodGet, Path: "/api/v1/a", ID: "get-a", Permission: tenant.MayRead(tenant.ResourceTelemetry)},
		func(context.Context, *struct{}) (*struct{}, error) { panic("secret") })
	rec := httptest.NewRecorder()
	who := tenant.Identity{Scopes: []tenant.Scope{tenant.ScopeQuery}}
	r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/a", nil).WithContext(tenant.WithIdentity(t.Context(), who)))
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("got %d %s, want 500 without the panic's text", rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "get-a") || !strings.Contains(log.String(), "session_test.go") {
		t.Errorf("the log has not the panic, its operation and its stack: %s", &log)
	}
}

func TestAPIAsksForTheScope(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.srv.Client()
	admin, reader := s.key(t, "owner", tenant.ScopeAdmin), s.key(t, "reader", tenant.ScopeQuery)
	f := func(wantStatus int, want string, header ...string) {
		t.Helper()
		code, body, _ := do(t, c, http.MethodGet, s.srv.URL+"/api/v1/keys", "", "", header...)
		if code != wantStatus || !strings.Contains(body, want) {
			t.Errorf("with %v: got %d %s, want %d with %q", header, code, body, wantStatus, want)
		}
	}
	f(401, "no API key")
	f(401, "unknown", "Authorization", "Bearer "+tenant.NewKeyText())
	f(401, "must be", "Authorization", "Basic eDp5")
	f(403, "does not have the scope admin", "Authorization", "Bearer "+reader)
	f(200, `"name":"owner"`, "Authorization", "Bearer "+admin)
	f(200, `"name":"owner"`, "Authorization", "bearer "+admin)

	bad := func(body, want string) {
		t.Helper()
		code, got, _ := do(t, c, http.MethodPost, s.srv.URL+"/api/v1/keys", "application/json", body, "Authorization", "Bearer "+admin)
		if code/100 != 4 || !strings.Contains(got, want) {
			t.Errorf("POST %s: got %d %s, want 4xx with %q", body, code, got, want)
		}
	}
	bad(`{"name":"x","scopes":["ingest"]}`, `"ingest"`)
	bad(`{"name":"","scopes":["admin"]}`, "name")
	bad(`{"name":"x","scopes":["admin"],"colour":"red"}`, "colour")
	bad(`{`, "")
	if code, got, _ := do(t, c, http.MethodGet, s.srv.URL+"/api/v1/keys?page=2", "", "", "Authorization", "Bearer "+admin); code/100 != 4 || !strings.Contains(got, "page") {
		t.Errorf("an unknown parameter: got %d %s", code, got)
	}
}
