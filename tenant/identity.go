package tenant

import (
	"context"

	"github.com/nexis-limited/headroom/fault"
)

// Identity is who makes a call: an API key, directly or through a session of the console.
type Identity struct {
	KeyID  int64
	Name   string // the key's name; it stands in the audit log as the actor
	Scopes []Scope

	// What the key is bound to, empty for nothing. No key can be bound to Untagged.
	Tenant  ID
	Product string
}

// Bound reports whether the identity is confined to a tenant or a product.
func (i Identity) Bound() bool { return i.Tenant != Untagged || i.Product != "" }

// Can reports whether the identity may do what the scope allows, for all tenants and products: no bound one can. Whoever
// keeps a bound one within its bounds asks Has instead.
func (i Identity) Can(s Scope) bool { return i.Check(s) == nil }

// Has reports whether the identity has the scope, within what it is bound to.
func (i Identity) Has(s Scope) bool { return Allows(i.Scopes, s) }

// Check returns why the identity cannot do what the scope allows, for all tenants and products. The error is Forbidden.
func (i Identity) Check(s Scope) error {
	switch {
	case !i.Has(s):
		return fault.New(fault.Forbidden, "the key %q does not have the scope %s", i.Name, s)
	case i.Tenant != Untagged:
		return fault.New(fault.Forbidden, "the key %q is bound to the tenant %q, and this is not confined to one tenant", i.Name, i.Tenant)
	case i.Product != "":
		return fault.New(fault.Forbidden, "the key %q is bound to the product %q, and this is not confined to one product", i.Name, i.Product)
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
