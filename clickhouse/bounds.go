package clickhouse

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// The second wall (docs/adr/0008): a query says for whom it is, by its context. Open's connections refuse one that does not,
// and send for one that is confined a filter for every table with rows of tenants, however the query is written.

// Bounds are what a query may see. A nil list bounds nothing, an empty one leaves nothing; a row must be within all three.
// A table that does not tell by what a bound goes shows nothing: what was sent without a product is nobody's who is
// confined to one.
type Bounds struct {
	Tenants, Products, Services []string
}

// scope is what a context says of the queries made with it.
type scope struct {
	crosses bool     // over all that the bounds leave
	bounds  []Bounds // all of them hold
}

type scopeKey struct{}

func scopeOf(ctx context.Context) scope {
	s, _ := ctx.Value(scopeKey{}).(scope)
	return s
}

// Confine returns a context whose queries see only what is within the bounds, and within those that ctx has already.
func Confine(ctx context.Context, b Bounds) context.Context {
	s := scopeOf(ctx)
	s.bounds = append(slices.Clip(s.bounds), b)
	return context.WithValue(ctx, scopeKey{}, s)
}

// InTenant returns a context whose queries see only rows of the tenant; what named no tenant, when it is empty.
func InTenant[ID ~string](ctx context.Context, id ID) context.Context {
	return Confine(ctx, Bounds{Tenants: []string{string(id)}})
}

// AcrossTenants returns a context whose queries are meant to cross tenants. It lifts nothing: when ctx is confined, they
// cross what that leaves.
func AcrossTenants(ctx context.Context) context.Context {
	s := scopeOf(ctx)
	s.crosses = true
	return context.WithValue(ctx, scopeKey{}, s)
}

// OwnWork returns a context for work of headroom's own that a request only happened to begin, and of which nothing goes
// into its answer: it sees everything whatever ctx is confined to. A test lists who may call it.
func OwnWork(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, scope{crosses: true})
}

// Confined reports whether ctx is confined, and by a text that is the same for the same bounds: what is kept of one
// query's answer may serve others under the same text only.
func Confined(ctx context.Context) (key string, ok bool) {
	s := scopeOf(ctx)
	var b strings.Builder
	for _, bound := range s.bounds {
		for _, list := range [][]string{bound.Tenants, bound.Products, bound.Services} {
			if list == nil {
				b.WriteByte('*')
			}
			list = slices.Compact(slices.Sorted(slices.Values(list)))
			for _, v := range list {
				b.WriteString(hex.EncodeToString([]byte(v)) + ",")
			}
			b.WriteByte(';')
		}
	}
	return b.String(), len(s.bounds) > 0
}

// Dimension is one by which a context can be confined.
type Dimension int

// The dimensions.
const (
	Tenant Dimension = iota
	Product
	Service
)

// Sees reports whether ctx leaves what is of this tenant, product or service: for what does not lie in ClickHouse, and for
// what is kept of its answers.
func Sees[V ~string](ctx context.Context, d Dimension, value V) bool {
	for _, b := range scopeOf(ctx).bounds {
		if list := [...][]string{b.Tenants, b.Products, b.Services}[d]; list != nil && !slices.Contains(list, string(value)) {
			return false
		}
	}
	return true
}

// ErrNobody says that a query's context tells neither a tenant nor that the query crosses them.
var ErrNobody = errors.New("a ClickHouse query must say whose data it is about: use clickhouse.InTenant, Confine, or AcrossTenants " +
	"(tests look from outside through testenv.ClickHouse.Owner)")

// ErrConfinedWrite says that somebody who is confined writes. No filter stands before what is written.
var ErrConfinedWrite = errors.New("a ClickHouse context that is confined cannot write")
