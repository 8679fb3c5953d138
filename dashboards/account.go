package dashboards

import (
	"net/http"
	"strconv"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// sessionsData is the page of somebody's own sessions.
type sessionsData struct {
	*layout
	Words         string
	Sessions      []web.SessionInfo
	Organizations []tenant.Organization
}

// sessionOf returns the session of a request. A key in a header has none.
func sessionOf(r *http.Request) (*web.Session, error) {
	s, ok := web.SessionFrom(r.Context())
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "nobody is signed in here")
	}
	return s, nil
}

func (c *Console) sessionsPage(w http.ResponseWriter, r *http.Request) error {
	s, err := sessionOf(r)
	if err != nil {
		http.Redirect(w, r, "/sign-in?next=%2Fsessions", http.StatusSeeOther)
		return nil //nolint:nilerr // they are asked to sign in
	}
	l, err := c.newLayout(r, "", "Your sessions", false)
	if err != nil {
		return err
	}
	l.Crumbs, l.Live = []crumb{{Label: "Your sessions"}}, false
	d := sessionsData{layout: l, Words: "Signed in by " + s.Method + "."}
	switch {
	case s.Identity.Tenant != tenant.Untagged:
		d.Words += " Your role in " + string(s.Identity.Tenant) + " is " + string(s.Identity.Role) + "."
	case s.Identity.Branch != nil:
		d.Words += " Your role in the branch " + s.Identity.Branch.Name + " is " + string(s.Identity.Role) + "."
	case s.Identity.Person():
		d.Words += " Your role here is " + string(s.Identity.Role) + "."
	}
	if d.Sessions, err = c.opts.Auth.Sessions(r.Context(), s); err != nil {
		return err
	}
	if d.Organizations, err = c.opts.Auth.Organizations(r.Context(), s); err != nil {
		return err
	}
	return c.render(w, "sessions", http.StatusOK, false, d)
}

// endSessions ends one of somebody's other sessions, or all of them.
func (c *Console) endSessions(w http.ResponseWriter, r *http.Request) error {
	s, err := sessionOf(r)
	if err != nil {
		return err
	}
	if r.PostFormValue("others") != "" {
		err = c.opts.Auth.EndOtherSessions(r.Context(), s)
	} else {
		var id int64
		if id, err = strconv.ParseInt(r.PostFormValue("id"), 10, 64); err != nil {
			return fault.InvalidField("id", r.PostFormValue("id"), "must be a session's number")
		}
		err = c.opts.Auth.EndSession(r.Context(), s, id)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/sessions", http.StatusSeeOther)
	return nil
}

// switchOrganization goes on in another of the person's organizations.
func (c *Console) switchOrganization(w http.ResponseWriter, r *http.Request) error {
	s, err := sessionOf(r)
	if err != nil {
		return err
	}
	if err := c.opts.Auth.Switch(w, r, s, tenant.ID(r.PostFormValue("tenant"))); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
