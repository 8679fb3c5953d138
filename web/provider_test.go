package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

var root = tenant.Identity{Name: "root", Scopes: []tenant.Scope{tenant.ScopeAdmin}}

// peopleSite is a site where people sign in.
type peopleSite struct {
	users *tenant.Users
	auth  *web.Auth
	srv   *httptest.Server
}

func newPeopleSite(t *testing.T, pg *testenv.Postgres, configure func(o *web.AuthOptions, address string)) *peopleSite {
	t.Helper()
	s := &peopleSite{users: tenant.NewUsers(pg.Pool)}
	log := slog.New(slog.DiscardHandler)
	r := chi.NewRouter()
	s.srv = httptest.NewServer(r)
	t.Cleanup(s.srv.Close)
	o := web.AuthOptions{Keys: tenant.NewKeys(pg.Pool), Pool: pg.Pool}
	if configure != nil {
		configure(&o, s.srv.URL)
	}
	s.auth = web.NewAuth(o)
	r.Use(web.TellOrigin(nil), s.auth.Middleware)
	get := func(path string, h web.HandlerFunc) { r.Method(http.MethodGet, path, web.Handler(log, nil, h)) }
	post := func(path string, h web.HandlerFunc) { r.Method(http.MethodPost, path, web.Handler(log, nil, h)) }
	get("/sign-in/provider", func(w http.ResponseWriter, r *http.Request) error {
		to, err := s.auth.BeginProvider(w, r, "/next")
		if err == nil {
			http.Redirect(w, r, to, http.StatusSeeOther)
		}
		return err
	})
	get(web.ProviderCallback, func(w http.ResponseWriter, r *http.Request) error {
		next, err := s.auth.EndProvider(w, r)
		if err == nil {
			_, _ = io.WriteString(w, "to "+next)
		}
		return err
	})
	post("/sign-in", func(w http.ResponseWriter, r *http.Request) error {
		return s.auth.SignInWithPassword(w, r, r.PostFormValue("email"), r.PostFormValue("password"))
	})
	get("/who", func(w http.ResponseWriter, r *http.Request) error {
		who, _ := tenant.IdentityFrom(r.Context())
		_, err := io.WriteString(w, strings.TrimSpace(who.Name+" "+string(who.Role)+" "+string(who.Tenant)))
		return err
	})
	return s
}

// person is at once the people of the provider and its one account.
type person struct {
	mu     sync.Mutex
	user   storage.User
	groups []string
}

func (p *person) set(f func(u *storage.User, groups *[]string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.user, &p.groups)
}

func (p *person) GetUserByID(id string) *storage.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.user
	if u.ID != id {
		return nil
	}
	return &u
}

func (p *person) GetUserByUsername(string) *storage.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.user
	return &u
}

func (*person) ExampleClientID() string { return "service" }

// groupStorage adds the claim groups to userinfo.
type groupStorage struct {
	*storage.Storage
	of *person
}

func (s groupStorage) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	if err := s.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin); err != nil {
		return err
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	info.AppendClaims("groups", s.of.groups)
	return nil
}

// TestProvider signs in at zitadel's OpenID provider, over HTTP, as a browser does.
func TestProvider(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	p := &person{user: storage.User{ID: "id1", Username: "ada", Password: "verysecure", FirstName: "Ada", LastName: "L", Email: "Ada@example.com", EmailVerified: true}}
	op := httptest.NewUnstartedServer(nil)
	issuer := "http://" + op.Listener.Addr().String() + "/"
	op.Config.Handler = exampleop.SetupServer(issuer, groupStorage{storage.NewStorage(p), p}, nil, false)
	op.Start()
	defer op.Close()
	log := slog.New(slog.DiscardHandler)
	// What does not succeed, 9 times here, is all that counts, and it counts for nothing but the provider.
	limits := tenant.DefaultAttemptLimits
	limits.Address.Burst, limits.Provider = 1, tenant.AttemptLimit{Burst: 10, Every: time.Hour}
	s := newPeopleSite(t, pg, func(o *web.AuthOptions, address string) {
		storage.RegisterClients(storage.WebClient("headroom", "secret", address+web.ProviderCallback))
		var err error
		if o.Provider, err = web.NewProvider(web.ProviderOptions{Issuer: issuer, ClientID: "headroom", ClientSecret: "secret", Logger: log,
			RedirectURL: address + web.ProviderCallback, Groups: []web.GroupRole{{Group: "sre", Role: tenant.RoleAdmin}, {Group: "all", Role: tenant.RoleViewer}}}); err != nil {
			t.Fatal(err)
		}
		o.Attempts = tenant.NewAttempts(pg.Pool, limits)
	})
	newClient := func() *http.Client {
		jar, _ := cookiejar.New(nil)
		return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	// leave goes to the provider, with the address changed, and returns the callback that the provider sends the browser to.
	leave := func(c *http.Client, change func(q url.Values)) string {
		t.Helper()
		code, body, res := do(t, c, http.MethodGet, s.srv.URL+"/sign-in/provider", "", "")
		if code != 303 {
			t.Fatalf("to the provider: %d %s", code, body)
		}
		at, err := res.Location()
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		if q.Get("code_challenge_method") != "S256" || q.Get("state") == "" || q.Get("nonce") == "" {
			t.Fatalf("the provider is asked for %v", q)
		}
		if change != nil {
			change(q)
			at.RawQuery = q.Encode()
		}
		_, body, res = do(t, c, http.MethodGet, at.String(), "", "")
		login, err := res.Location()
		if err != nil {
			t.Fatalf("no login page: %v %s", err, body)
		}
		form := url.Values{"username": {"ada"}, "password": {"verysecure"}, "id": {login.Query().Get("authRequestID")}}
		_, body, res = do(t, c, http.MethodPost, issuer+"login/username", "application/x-www-form-urlencoded", form.Encode())
		back, err := res.Location()
		if err != nil {
			t.Fatalf("the provider did not let in: %v %s", err, body)
		}
		_, body, res = do(t, c, http.MethodGet, back.String(), "", "")
		if back, err = res.Location(); err != nil || back.Path != web.ProviderCallback {
			t.Fatalf("back: %v %v %s", back, err, body)
		}
		return back.String()
	}
	who := func(c *http.Client, want string) {
		t.Helper()
		if _, body, _ := do(t, c, http.MethodGet, s.srv.URL+"/who", "", ""); body != want {
			t.Errorf("who: got %q, want %q", body, want)
		}
	}
	arrive := func(c *http.Client, callback string, status int, says string) {
		t.Helper()
		if code, body, _ := do(t, c, http.MethodGet, callback, "", ""); code != status || !strings.Contains(body, says) {
			t.Errorf("back from the provider: got %d %s, want %d with %q", code, body, status, says)
		}
	}

	c := newClient()
	arrive(c, leave(c, nil), 403, "no role here")
	p.set(func(_ *storage.User, g *[]string) { *g = []string{"all", "sre", "other"} })
	callback := leave(c, nil)
	arrive(newClient(), callback, 401, "begin again") // another browser
	arrive(c, callback, 200, "to /next")
	who(c, "ada@example.com admin")
	arrive(c, callback, 401, "begin again") // used

	// A code that was used, with a state that was not.
	used, _ := url.Parse(callback)
	next, _ := url.Parse(leave(c, nil))
	q := next.Query()
	q.Set("code", used.Query().Get("code"))
	next.RawQuery = q.Encode()
	arrive(c, next.String(), 401, "begin again")

	fresh := newClient()
	arrive(fresh, leave(fresh, func(q url.Values) { q.Set("nonce", "another") }), 401, "begin again")
	arrive(fresh, leave(fresh, func(q url.Values) { q.Set("state", "another") }), 401, "begin again")
	arrive(fresh, leave(fresh, func(q url.Values) { q.Set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") }), 401, "begin again")
	arrive(fresh, s.srv.URL+web.ProviderCallback+"?code=x&state=y", 401, "begin again")
	who(fresh, "")

	p.set(func(u *storage.User, _ *[]string) { u.EmailVerified = false })
	arrive(fresh, leave(fresh, nil), 403, "no verified address")
	p.set(func(u *storage.User, g *[]string) { u.EmailVerified, *g = true, []string{"all"} })
	arrive(fresh, leave(fresh, nil), 200, "")
	who(fresh, "ada@example.com viewer")
	who(c, "ada@example.com viewer") // the session from before, at its next request
	p.set(func(_ *storage.User, g *[]string) { *g = nil })
	arrive(fresh, leave(fresh, nil), 403, "no role here")
	who(c, "")

	// A role that a person gave stays, whatever the groups are.
	list, err := s.users.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Role != "" || list[0].Name != "Ada L" {
		t.Fatalf("users: %+v, %v", list, err)
	}
	member, yes := tenant.RoleMember, true
	if _, err := s.users.Change(t.Context(), root, list[0].ID, tenant.UserChange{Role: &member}); err != nil {
		t.Fatal(err)
	}
	arrive(fresh, leave(fresh, nil), 200, "")
	who(fresh, "ada@example.com member")
	// The subject counts, not the address.
	p.set(func(u *storage.User, _ *[]string) { u.Email = "countess@example.com" })
	arrive(fresh, leave(fresh, nil), 200, "")
	who(fresh, "countess@example.com member")
	p.set(func(u *storage.User, _ *[]string) { u.ID = "id2" })
	arrive(fresh, leave(fresh, nil), 403, "another account")
	p.set(func(u *storage.User, _ *[]string) { u.ID = "id1" })
	if _, err := s.users.Change(t.Context(), root, list[0].ID, tenant.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	who(fresh, "")
	arrive(fresh, leave(fresh, nil), 403, "disabled")

	away := newPeopleSite(t, pg, func(o *web.AuthOptions, address string) {
		o.Provider, _ = web.NewProvider(web.ProviderOptions{Issuer: "http://127.0.0.1:1", ClientID: "x", RedirectURL: address + web.ProviderCallback, Logger: log})
		o.Attempts = tenant.NewAttempts(pg.Pool, limits)
	})
	for range 3 {
		if code, body, _ := do(t, fresh, http.MethodGet, away.srv.URL+"/sign-in/provider", "", ""); code != 503 || !strings.Contains(body, "does not answer") {
			t.Errorf("a provider that is away: %d %s", code, body)
		}
	}
}
