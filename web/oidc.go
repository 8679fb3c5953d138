package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// providerTimeout bounds one exchange with the provider: a person waits for it.
const providerTimeout = 10 * time.Second

// ProviderOptions configures an OpenID Connect provider.
type ProviderOptions struct {
	Issuer       string // required, as its discovery document has it
	ClientID     string // required
	ClientSecret string // empty for a public client
	RedirectURL  string // required: the console's URL and ProviderCallback
	GroupsClaim  string // "groups" by default
	Groups       []GroupRole
	// BranchID returns the id of the branch with a name; required when a group names one.
	BranchID func(ctx context.Context, name string) (int64, error)
	Logger   *slog.Logger // slog.Default() when nil
}

// GroupRole says which role the members of a group of the provider have, in which branch.
type GroupRole struct {
	Group  string
	Role   tenant.Role
	Branch string // its name; empty: all of the organization
}

// ParseGroupRole reads GROUP=ROLE or GROUP=ROLE:BRANCH. The group may have equals signs, as names of LDAP do.
func ParseGroupRole(s string) (GroupRole, error) {
	at := strings.LastIndex(s, "=")
	if at <= 0 {
		return GroupRole{}, fmt.Errorf("%q: want GROUP=ROLE or GROUP=ROLE:BRANCH", s)
	}
	role, branch, named := strings.Cut(s[at+1:], ":")
	r, err := tenant.ParseRole(role)
	if err != nil {
		return GroupRole{}, fmt.Errorf("%q: %w", s, err)
	}
	if named && branch == "" {
		return GroupRole{}, fmt.Errorf("%q: no branch after the colon", s)
	}
	return GroupRole{Group: s[:at], Role: r, Branch: branch}, nil
}

// ProviderCallback is the path that the provider sends browsers back to.
const ProviderCallback = "/sign-in/callback"

// Provider signs people in by OpenID Connect, with the authorization code flow and PKCE. It asks the provider for its
// addresses and keys when the first person comes, and again until it has them: one that is away stops nobody's start.
type Provider struct {
	o      ProviderOptions
	log    *slog.Logger
	client *http.Client

	found  atomic.Pointer[oidc.Provider] // nil until it has answered
	flight singleflight.Group            // of asking for it: one asks for all who wait
}

// NewProvider returns a provider. It asks it nothing yet.
func NewProvider(o ProviderOptions) (*Provider, error) {
	if o.Issuer == "" || o.ClientID == "" || o.RedirectURL == "" {
		return nil, errors.New("cannot sign in by OpenID Connect: an issuer, a client id and the console's URL are needed")
	}
	for _, g := range o.Groups {
		if g.Branch != "" && o.BranchID == nil {
			return nil, fmt.Errorf("cannot confine group %q to branch %q: there are no branches", g.Group, g.Branch)
		}
	}
	if o.GroupsClaim == "" {
		o.GroupsClaim = "groups"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Provider{o: o, log: o.Logger.With("component", "sign-in"), client: &http.Client{Timeout: providerTimeout}}, nil
}

// ErrProviderAway is, by errors.Is, every error of a sign-in that the provider is to blame for, and not this headroom.
var ErrProviderAway = errors.New("the OpenID provider failed")

// away returns what people read. What is wrong is in the log: it is not theirs to mend.
func (p *Provider) away(ctx context.Context, what string, err error) error {
	p.log.WarnContext(ctx, "the OpenID provider failed", "issuer", p.o.Issuer, "what", what, "error", err)
	return fault.Wrap(errors.Join(ErrProviderAway, err), fault.Unavailable, "the sign-in service of your company does not answer")
}

func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	if found := p.found.Load(); found != nil {
		return found, nil
	}
	asked := p.flight.DoChan("", func() (any, error) {
		if found := p.found.Load(); found != nil { // since we looked
			return found, nil
		}
		// Not the context of who happens to ask first: others wait too, and the provider keeps it for fetching keys later.
		ctx := context.WithoutCancel(ctx)
		found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.o.Issuer)
		if err != nil {
			return nil, p.away(ctx, "discovery", err)
		}
		p.found.Store(found)
		return found, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-asked:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*oidc.Provider), nil
	}
}

func (p *Provider) config(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, RedirectURL: p.o.RedirectURL, Endpoint: found.Endpoint(),
		Scopes: append([]string{oidc.ScopeOpenID, "email", "profile"}, p.groupScopes(found)...),
	}
}

// groupScopes asks for groups where the provider knows a scope of that name.
func (p *Provider) groupScopes(found *oidc.Provider) []string {
	var doc struct {
		Scopes []string `json:"scopes_supported"`
	}
	if len(p.o.Groups) == 0 || found.Claims(&doc) != nil {
		return nil
	}
	for _, s := range doc.Scopes {
		if s == "groups" {
			return []string{s}
		}
	}
	return nil
}

// signInSecrets are what a sign-in at the provider is known by: the browser has one, the provider's answer the other two.
type signInSecrets struct{ state, nonce, verifier, browser string }

func newSignInSecrets() signInSecrets {
	return signInSecrets{randomToken(), randomToken(), oauth2.GenerateVerifier(), randomToken()}
}

// address returns where the browser goes to sign in.
func (p *Provider) address(ctx context.Context, s signInSecrets) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.config(found).AuthCodeURL(s.state, oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier)), nil
}

// claims are what an ID token, or the provider's userinfo, says of a person.
type claims struct {
	Email    string   `json:"email"`
	Verified flexBool `json:"email_verified"`
	Name     string   `json:"name"`
}

// flexBool reads true and "true": some providers send the word.
type flexBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *flexBool) UnmarshalJSON(raw []byte) error {
	*b = string(raw) == "true" || string(raw) == `"true"`
	return nil
}

// redeem exchanges the code of the provider's answer for who the person is.
func (p *Provider) redeem(ctx context.Context, code string, s signInSecrets) (tenant.ProviderUser, error) {
	var none tenant.ProviderUser
	found, err := p.discover(ctx)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), 2*providerTimeout)
	defer cancel()
	token, err := p.config(found).Exchange(ctx, code, oauth2.VerifierOption(s.verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500:
		p.log.WarnContext(ctx, "the OpenID provider refused a code", "issuer", p.o.Issuer, "error", err)
		return none, errSignInAgain
	case err != nil:
		return none, p.away(ctx, "the exchange of a code", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return none, p.away(ctx, "the exchange of a code", errors.New("no id_token in the answer"))
	}
	id, err := found.Verifier(&oidc.Config{ClientID: p.o.ClientID}).Verify(ctx, raw)
	if err != nil {
		p.log.WarnContext(ctx, "an ID token is not valid", "issuer", p.o.Issuer, "error", err)
		return none, errSignInAgain
	}
	if id.Nonce != s.nonce {
		p.log.WarnContext(ctx, "an ID token has the nonce of another sign-in", "issuer", p.o.Issuer, "subject", id.Subject)
		return none, errSignInAgain
	}
	return p.person(ctx, found, token, id)
}

var errSignInAgain = fault.New(fault.Unauthenticated, "this sign-in is not valid any more: begin again")

// person reads who it is from the ID token, and from userinfo what is not in there.
func (p *Provider) person(ctx context.Context, found *oidc.Provider, token *oauth2.Token, id *oidc.IDToken) (tenant.ProviderUser, error) {
	var (
		none tenant.ProviderUser
		c    claims
		all  map[string]json.RawMessage
	)
	if err := errors.Join(id.Claims(&c), id.Claims(&all)); err != nil {
		return none, p.away(ctx, "an ID token", err)
	}
	if _, has := all[p.o.GroupsClaim]; (c.Email == "" || !has && len(p.o.Groups) > 0) && found.UserInfoEndpoint() != "" {
		info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return none, p.away(ctx, "userinfo", err)
		}
		if info.Subject != id.Subject { // OpenID Connect Core 5.3.2: it may be another's
			return none, p.away(ctx, "userinfo", fmt.Errorf("it is about %q, not %q", info.Subject, id.Subject))
		}
		var more claims
		var rest map[string]json.RawMessage
		if err := errors.Join(info.Claims(&more), info.Claims(&rest)); err != nil {
			return none, p.away(ctx, "userinfo", err)
		}
		if c.Email == "" {
			c.Email, c.Verified = more.Email, more.Verified
		}
		if c.Name == "" {
			c.Name = more.Name
		}
		if !has {
			all[p.o.GroupsClaim] = rest[p.o.GroupsClaim]
		}
	}
	if c.Email == "" || !c.Verified {
		return none, fault.New(fault.Forbidden, "your account at the sign-in service has no verified address: ask who runs that service")
	}
	user := tenant.ProviderUser{Issuer: id.Issuer, Subject: id.Subject, Email: c.Email, Name: c.Name, Mapped: len(p.o.Groups) > 0}
	var err error
	user.Role, user.Branch, err = p.roleOf(ctx, groupsOf(all[p.o.GroupsClaim]))
	return user, err
}

// groupsOf reads the groups claim: a list of names, or one name. What is neither names no group.
func groupsOf(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	return nil
}

// roleOf returns the highest role that the groups give; of several that are alike the one without a branch, else the first.
func (p *Provider) roleOf(ctx context.Context, groups []string) (role tenant.Role, branchID int64, err error) {
	var best *GroupRole
	for i, g := range p.o.Groups {
		for _, name := range groups {
			if name != g.Group {
				continue
			}
			if best == nil || g.Role.AtLeast(best.Role) && (g.Role != best.Role || g.Branch == "" && best.Branch != "") {
				best = &p.o.Groups[i]
			}
		}
	}
	if best == nil {
		return "", 0, nil
	}
	if best.Branch != "" {
		if branchID, err = p.o.BranchID(ctx, best.Branch); err != nil {
			p.log.ErrorContext(ctx, "a group names a branch that cannot be read", "group", best.Group, "branch", best.Branch, "error", err)
			return "", 0, fault.Wrap(err, fault.Forbidden, "your group belongs to the branch %q, which is not here: ask who runs headroom", best.Branch)
		}
	}
	return best.Role, branchID, nil
}
