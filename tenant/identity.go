package tenant

import (
	"context"

	"github.com/nexis-limited/headroom/fault"
)

// Identity is who makes a call: an API key, or a person by a session of the console. A key may do what its scopes give, a
// person what their role gives in the organization that they belong to: the operator's, or one tenant's.
type Identity struct {
	KeyID  int64
	UserID int64  // a person's; 0 for a key
	Name   string // the key's name or the person's address; it stands in the audit log as the actor
	Scopes []Scope
	Role   Role // a person's; a key has none

	// What the caller is bound to, empty for nothing. No key and nobody can be bound to Untagged. A person with a Tenant is
	// of that tenant's organization, all others are the operator's.
	Tenant  ID
	Product string
	Branch  *Branch // of the operator's people only; shared, must not be changed

	Address string // where the call came from, an IP address; empty when that is not known
}

// Bound reports whether the identity is confined to a tenant, a product or a branch.
func (i Identity) Bound() bool { return i.Tenant != Untagged || i.Product != "" || i.Branch != nil }

// Person reports whether the identity is a person and no key.
func (i Identity) Person() bool { return i.Role != nobody }

// Actor returns what the audit log calls the caller.
func (i Identity) Actor() string { return i.Name }

// String names the caller for a message: `the key "ci"`, `the user "ada@example.com"`.
func (i Identity) String() string {
	if i.Person() {
		return `the user "` + i.Name + `"`
	}
	return `the key "` + i.Name + `"`
}

// Has reports whether the identity has the permission, within what it is bound to.
func (i Identity) Has(p Permission) bool {
	r, ok := rules[p]
	switch {
	case !ok:
		return false
	case !i.Person():
		return r.scope != "" && Allows(i.Scopes, r.scope) || Allows(i.Scopes, ScopeAdmin)
	case i.Tenant != Untagged:
		return i.Role.AtLeast(r.tenant)
	}
	return i.Role.AtLeast(r.operator)
}

// Can reports whether the identity has the permission for all tenants and products: no bound one does. Whoever keeps a
// bound one within its bounds asks Has instead.
func (i Identity) Can(p Permission) bool { return i.Has(p) && !i.Bound() }

// Check returns why the identity does not have the permission for all tenants and products. The error is Forbidden.
func (i Identity) Check(p Permission) error {
	if err := i.CheckWithin(p); err != nil {
		return err
	}
	switch {
	case i.Tenant != Untagged:
		return fault.New(fault.Forbidden, "%s is bound to the tenant %q, and this is not confined to one tenant", i, i.Tenant)
	case i.Product != "":
		return fault.New(fault.Forbidden, "%s is bound to the product %q, and this is not confined to one product", i, i.Product)
	case i.Branch != nil:
		return fault.New(fault.Forbidden, "%s is confined to the branch %q, and this is about all of them", i, i.Branch.Name)
	}
	return nil
}

// CheckWithin returns why the identity does not have the permission, within what it is bound to. The error is Forbidden.
func (i Identity) CheckWithin(p Permission) error {
	if i.Has(p) {
		return nil
	}
	if !i.Person() {
		return fault.New(fault.Forbidden, "%s does not have the scope %s", i, p.Scope())
	}
	least, ok := p.Operator()
	if i.Tenant != Untagged {
		least, ok = p.Tenant()
	}
	if !ok {
		return fault.New(fault.Forbidden, "%s may not do this: no role gives %s here", i, p)
	}
	return fault.New(fault.Forbidden, "%s has the role %s, and %s takes %s", i, i.Role, p, least)
}

// MayGrant returns why the identity must not give a person the role, or take it away: nobody decides on a role above their
// own. The error is Forbidden.
func (i Identity) MayGrant(r Role) error {
	if i.Person() && !i.Role.AtLeast(r) || !i.Person() && !Allows(i.Scopes, ScopeAdmin) {
		return fault.New(fault.Forbidden, "%s must not decide who is %s", i, r)
	}
	return nil
}

// MayGive returns why the identity must not make a key with the scopes: no key may do what its maker may not, but for what
// only machines do. The error is Forbidden.
func (i Identity) MayGive(scopes []Scope) error {
	for _, s := range scopes {
		for p := range rules {
			_, byPeople := p.Operator()
			if i.Tenant != Untagged { // its keys are bound to it, and do nothing that is not the tenant's
				_, byPeople = p.Tenant()
			}
			if byPeople && s.Gives(p) && !i.Has(p) {
				return fault.New(fault.Forbidden, "%s must not make a key with the scope %s: it may do more than they", i, s)
			}
		}
	}
	return nil
}

type identityKey struct{}

// WithIdentity returns a context that carries the caller's identity.
func WithIdentity(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// IdentityFrom returns the caller's identity; ok is false for a call that nobody authenticated.
func IdentityFrom(ctx context.Context) (i Identity, ok bool) {
	i, ok = ctx.Value(identityKey{}).(Identity)
	return i, ok
}
