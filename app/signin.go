package app

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func (o *SignInOptions) check() error {
	if o.SessionIdle < 0 || o.SessionLifetime < 0 {
		return fmt.Errorf("--session-idle and --session-lifetime: must not be negative (got %s, %s)", o.SessionIdle, o.SessionLifetime)
	}
	if o.Issuer == "" {
		if o.ClientID != "" || o.ClientSecret != "" || len(o.Groups) > 0 {
			return fmt.Errorf("--oidc-client-id, --oidc-client-secret and --oidc-group: go with --oidc-issuer")
		}
		return nil
	}
	if u, err := url.Parse(o.Issuer); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--oidc-issuer %q: want an address such as https://login.example.com", o.Issuer)
	}
	if o.ClientID == "" {
		return fmt.Errorf("--oidc-client-id: is needed with --oidc-issuer")
	}
	_, err := o.groups()
	return err
}

func (o *SignInOptions) groups() ([]web.GroupRole, error) {
	var list []web.GroupRole
	for _, s := range o.Groups {
		if s == "" { // an environment variable that is set to nothing
			continue
		}
		g, err := web.ParseGroupRole(s)
		if err != nil {
			return nil, fmt.Errorf("--oidc-group: %w", err)
		}
		list = append(list, g)
	}
	return list, nil
}

// buildAuth makes what tells who calls. It asks no provider yet.
func (a *app) buildAuth() (*web.Auth, error) {
	branches := tenant.NewBranches(a.pool)
	o := web.AuthOptions{
		Keys: a.keys, Users: a.users, Pool: a.pool, Branch: branches.Get, ConsoleURL: a.ConsoleURL,
		SessionIdle: a.SignIn.SessionIdle, SessionLifetime: a.SignIn.SessionLifetime,
	}
	if a.SignIn.Issuer == "" {
		return web.NewAuth(o), nil
	}
	groups, err := a.SignIn.groups()
	if err != nil {
		return nil, err
	}
	if o.Provider, err = web.NewProvider(web.ProviderOptions{
		BranchID: branches.IDOf, Issuer: a.SignIn.Issuer, ClientID: a.SignIn.ClientID, ClientSecret: a.SignIn.ClientSecret, Groups: groups,
		RedirectURL: strings.TrimSuffix(a.ConsoleURL, "/") + web.ProviderCallback, GroupsClaim: cmp.Or(a.SignIn.GroupsClaim, "groups"), Logger: a.Logger,
	}); err != nil {
		return nil, err
	}
	return web.NewAuth(o), nil
}
