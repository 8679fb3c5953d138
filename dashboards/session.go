package dashboards

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
	"github.com/nexis-limited/headroom/web/theme"
)

var errNoPage = fault.New(fault.NotFound, "there is no page at this address")

// signedIn lets only those through who may read. A browser without a session is sent to the sign-in page and comes
// back afterwards.
func (c *Console) signedIn(h web.HandlerFunc) web.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		who, ok := tenant.IdentityFrom(r.Context())
		switch {
		case ok && who.Can(tenant.ScopeQuery):
			return h(w, r)
		case ok:
			return who.Check(tenant.ScopeQuery)
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

// signInData is the sign-in page.
type signInData struct {
	*layout
	Next, Error, KeyFile string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) error {
	if who, ok := tenant.IdentityFrom(r.Context()); ok && who.Can(tenant.ScopeQuery) {
		http.Redirect(w, r, localPath(r.FormValue("next")), http.StatusSeeOther)
		return nil
	}
	return c.showSignIn(w, r, http.StatusOK, "")
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, status int, message string) error {
	l := &layout{Title: "Sign in", Style: c.assets.Style, Sprite: theme.Sprite, Theme: themeOf(r), Address: "/sign-in"}
	next := r.FormValue("next")
	if next != "" {
		l.Address += "?next=" + url.QueryEscape(next)
	}
	return c.render(w, "signin", status, false, signInData{layout: l, Next: next, Error: message, KeyFile: c.opts.KeyFile})
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	key := strings.TrimSpace(r.PostFormValue("key"))
	if key == "" {
		return c.showSignIn(w, r, http.StatusBadRequest, "Paste a key first: it begins with hr_.")
	}
	err := c.opts.Auth.SignIn(w, r, key)
	switch {
	case err == nil:
		http.Redirect(w, r, localPath(r.PostFormValue("next")), http.StatusSeeOther)
		return nil
	case fault.Is(err, fault.Internal):
		return err
	case fault.Is(err, fault.Unavailable):
		c.log.ErrorContext(r.Context(), "signing in failed", "error", err)
		return c.showSignIn(w, r, http.StatusServiceUnavailable, "Keys cannot be checked now: PostgreSQL does not answer. Try again in a moment.")
	}
	why := sentence(err)
	if strings.Contains(why, "_…") { // the form of a key is for terminals: in a narrow box it breaks within
		why = "That is no API key. A key begins with hr_ and is one long word: copy all of it."
	}
	return c.showSignIn(w, r, web.Status(err), why)
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
		l.CSRF, l.Who = s.CSRFToken, s.Identity.Name
	}
	d := messageData{layout: l, Status: status, Link: crumb{"All tenants", "/tenants"}}
	switch status {
	case http.StatusNotFound:
		d.Heading = "Nothing is here"
	case http.StatusBadRequest:
		d.Heading = "This address does not make sense"
	case http.StatusForbidden:
		d.Heading = "Your key does not allow this"
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
