package dashboards

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
	"github.com/nexis-limited/headroom/web/theme"
)

var errNoPage = fault.New(fault.NotFound, "there is no page at this address")

// signedIn lets only those through who have the permission. A browser without a session is sent to the sign-in page and comes
// back afterwards.
func (c *Console) signedIn(may tenant.Permission, h web.HandlerFunc) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		who, ok := tenant.IdentityFrom(r.Context())
		switch {
		case ok && who.Can(may):
			return h(w, r)
		case ok && r.URL.Path == "/" && homeOf(who) != "/tenants":
			http.Redirect(w, r, homeOf(who), http.StatusSeeOther)
			return nil
		case ok:
			return who.Check(may)
		case r.Header.Get("HX-Request") == "true": // a page that was open when its session ended
			w.Header().Set("HX-Redirect", "/sign-in?next="+url.QueryEscape(r.URL.RequestURI()))
			return fault.New(fault.Unauthenticated, "the session has ended")
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			to := "/sign-in"
			if r.URL.RequestURI() != "/" {
				to += "?next=" + url.QueryEscape(r.URL.RequestURI())
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return nil
		}
		return fault.New(fault.Unauthenticated, "no session and no API key")
	}
}

// ofTenant is signedIn for the pages of one tenant: its own people see those too. Other tenants' are not there for them.
func (c *Console) ofTenant(may tenant.Permission, h web.HandlerFunc) web.HandlerFunc {
	all := c.signedIn(may, h)
	return func(w http.ResponseWriter, r *http.Request) error {
		who, ok := tenant.IdentityFrom(r.Context())
		if !ok || who.Tenant == tenant.Untagged || who.Product != "" || !who.Has(may) {
			return all(w, r)
		}
		if id, err := tenantOf(r); err != nil || id != who.Tenant {
			return errNoPage
		}
		return h(w, r)
	}
}

// homeOf returns the page that somebody starts from.
func homeOf(who tenant.Identity) string {
	if who.Tenant != tenant.Untagged {
		return tenantPath(who.Tenant)
	}
	return "/tenants"
}

// signInData is the sign-in page.
type signInData struct {
	*layout
	Next, Error, KeyFile string
	Email                string // as it was typed
	ByKey                bool   // the part for keys is open
	Provider             bool   // there is one
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) error {
	if s, ok := web.SessionFrom(r.Context()); ok {
		http.Redirect(w, r, c.landing(s.Identity, r.FormValue("next")), http.StatusSeeOther)
		return nil
	}
	return c.showSignIn(w, r, http.StatusOK, "")
}

// landing returns where somebody goes who has signed in.
func (c *Console) landing(who tenant.Identity, next string) string {
	if to := localPath(next); next != "" && (to != "/tenants" || who.Tenant == tenant.Untagged) {
		return to
	}
	return homeOf(who)
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, status int, message string) error {
	l := &layout{Title: "Sign in", Style: c.assets.Style, Sprite: theme.Sprite, Theme: themeOf(r), Address: "/sign-in"}
	next := r.FormValue("next")
	if next != "" {
		l.Address += "?next=" + url.QueryEscape(next)
	}
	d := signInData{layout: l, Next: next, Error: message, KeyFile: c.opts.KeyFile, Email: r.PostFormValue("email"), Provider: c.opts.Auth.Provider != nil}
	// The key is what a new headroom has. Where people sign in, it is for emergencies.
	d.ByKey = r.PostForm.Has("key") || !r.PostForm.Has("email") && !d.Provider && !c.opts.Auth.HasPeople(r.Context())
	return c.render(w, "signin", status, false, d)
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	key, email, password := strings.TrimSpace(r.PostFormValue("key")), strings.TrimSpace(r.PostFormValue("email")), r.PostFormValue("password")
	var err error
	switch {
	case r.PostForm.Has("email") && (email == "" || password == ""):
		return c.showSignIn(w, r, http.StatusBadRequest, "Give your address and your password.")
	case email != "":
		err = c.opts.Auth.SignInWithPassword(w, r, email, password)
	case key == "":
		return c.showSignIn(w, r, http.StatusBadRequest, "Paste a key first: it begins with hr_.")
	default:
		err = c.opts.Auth.SignIn(w, r, key)
	}
	if err != nil {
		return c.signInFailed(w, r, err)
	}
	http.Redirect(w, r, c.afterSignIn(r.PostFormValue("next")), http.StatusSeeOther)
	return nil
}

// afterSignIn is where the browser goes with its new session; "/" knows who it is.
func (c *Console) afterSignIn(next string) string {
	if next == "" {
		return "/"
	}
	return localPath(next)
}

// signInFailed says in plain words why somebody was not let in.
func (c *Console) signInFailed(w http.ResponseWriter, r *http.Request, err error) error {
	var f *fault.Error
	switch {
	case fault.Is(err, fault.Internal):
		return err
	case errors.Is(err, tenant.ErrTooManyAttempts) && errors.As(err, &f):
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(f.RetryAfter.Seconds()))))
		return c.showSignIn(w, r, http.StatusTooManyRequests, sentence(err))
	case fault.Is(err, fault.Unavailable):
		c.log.ErrorContext(r.Context(), "signing in failed", "error", err)
		why := "This cannot be checked now: PostgreSQL does not answer. Try again in a moment."
		if errors.Is(err, web.ErrProviderAway) {
			why = sentence(err) + " Try again in a moment."
		}
		w.Header().Set("Retry-After", "5")
		return c.showSignIn(w, r, http.StatusServiceUnavailable, why)
	}
	why := sentence(err)
	if strings.Contains(why, "_…") { // the form of a key is for terminals: in a narrow box it breaks within
		why = "That is no API key. A key begins with hr_ and is one long word: copy all of it."
	}
	return c.showSignIn(w, r, web.Status(err), why)
}

// toProvider sends the browser to the OpenID provider.
func (c *Console) toProvider(w http.ResponseWriter, r *http.Request) error {
	to, err := c.opts.Auth.BeginProvider(w, r, r.FormValue("next"))
	if err != nil {
		return c.signInFailed(w, r, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// fromProvider takes the browser back.
func (c *Console) fromProvider(w http.ResponseWriter, r *http.Request) error {
	_ = r.ParseForm() // an address that is malformed has no state either
	next, err := c.opts.Auth.EndProvider(w, r)
	if err != nil {
		r.Form.Set("next", next)
		return c.signInFailed(w, r, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, c.afterSignIn(next), http.StatusSeeOther)
	return nil
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := c.opts.Auth.SignOut(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
	return nil
}

// localPath returns next when it is a path of this site, else the front page: no link may send a reader elsewhere.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.Contains(next, `\`) {
		return "/tenants"
	}
	return next
}

const themeCookie = "headroom_theme"

// themeOf returns the reader's choice: light, dark, or empty for the system's.
func themeOf(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

func (c *Console) chooseTheme(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	cookie := &http.Cookie{Name: themeCookie, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	switch v := r.PostFormValue("theme"); v {
	case "light", "dark":
		cookie.Value = v
	case "auto":
		cookie.MaxAge = -1
	default:
		return fault.InvalidField("theme", v, "must be auto, light or dark")
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, localPath(r.PostFormValue("back")), http.StatusSeeOther)
	return nil
}

// messageData is a page that only says something: an error.
type messageData struct {
	*layout
	Status        int
	Heading, Text string
	Link          crumb
}

// errorPage writes the page for an error.
func (c *Console) errorPage(w http.ResponseWriter, r *http.Request, status int, message string) {
	l := &layout{Title: http.StatusText(status), Style: c.assets.Style, Sprite: theme.Sprite, Theme: themeOf(r), Address: "/tenants",
		Now: c.now().UTC(), StatusURL: c.opts.StatusURL, DocsURL: c.opts.DocsURL}
	if s, ok := web.SessionFrom(r.Context()); ok {
		l.CSRF, l.Who = s.CSRFToken, s.Name
		l.signedInAs(s.Identity)
	}
	d := messageData{layout: l, Status: status, Link: crumb{"All tenants", "/tenants"}}
	if l.Own != tenant.Untagged { // all tenants is not for them
		d.Link = crumb{"Overview", l.Home}
	}
	switch status {
	case http.StatusNotFound:
		d.Heading = "Nothing is here"
	case http.StatusBadRequest:
		d.Heading = "This address does not make sense"
	case http.StatusForbidden:
		d.Heading = "You may not see this"
	case http.StatusUnauthorized:
		d.Heading, d.Link = "You are not signed in", crumb{"Sign in", "/sign-in"}
	case http.StatusServiceUnavailable:
		d.Heading = "headroom cannot answer now"
	default:
		d.Heading = "This did not work"
	}
	if message != "" {
		d.Text = strings.ToUpper(message[:1]) + message[1:] + "."
	}
	l.Crumbs = []crumb{{Label: d.Heading}}
	if err := c.render(w, "message", status, false, d); err != nil {
		c.log.ErrorContext(r.Context(), "the error page failed", "error", err)
		http.Error(w, d.Heading, status)
	}
}
