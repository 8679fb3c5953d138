package postgres

import (
	"context"
	"slices"
)

type confinedKey struct{}

// Confine returns a context in which InTenant finds no tenants but these, and AcrossTenants crosses them alone: whoever a
// request is for, nothing that it asks lifts that. The policies know one tenant; for several AcrossTenants sees all, and
// what it reads is to be cut with Sees.
func Confine[ID ~string](ctx context.Context, ids ...ID) context.Context {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return context.WithValue(ctx, confinedKey{}, list)
}

// OwnWork returns a context for work of headroom's own that a request only happened to begin, and of which nothing goes into
// its answer but what Sees leaves: it is not confined. A test lists who may call it.
func OwnWork(ctx context.Context) context.Context {
	return context.WithValue(ctx, confinedKey{}, []string(nil))
}

// Sees reports whether ctx leaves what is of the tenant: for what is kept of answers for others.
func Sees[ID ~string](ctx context.Context, id ID) bool {
	list := confinedTo(ctx)
	return list == nil || slices.Contains(list, string(id))
}

// confinedTo returns the tenants that ctx is confined to, nil for all.
func confinedTo(ctx context.Context) []string {
	list, _ := ctx.Value(confinedKey{}).([]string)
	return list
}
