package tenant

import "context"

// Identity is who makes a call: an API key, directly or through a session of the console.
type Identity struct {
	KeyID  int64
	Name   string // the key's name; it stands in the audit log as the actor
	Scopes []Scope
}

// Can reports whether the identity has the scope.
func (i Identity) Can(s Scope) bool { return Allows(i.Scopes, s) }

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
