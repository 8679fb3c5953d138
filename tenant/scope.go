package tenant

import (
	"slices"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// Scope is one thing that an API key may do.
type Scope string

// The scopes. ScopeAdmin stands for all of them.
const (
	ScopeIngest      Scope = "ingest:write"
	ScopeQuery       Scope = "query:read"
	ScopeSLOWrite    Scope = "slo:write"
	ScopeAlertWrite  Scope = "alert:write"
	ScopeStatusWrite Scope = "status:write"
	ScopeAdmin       Scope = "admin"
)

// Scopes lists all scopes.
func Scopes() []Scope {
	return []Scope{ScopeIngest, ScopeQuery, ScopeSLOWrite, ScopeAlertWrite, ScopeStatusWrite, ScopeAdmin}
}

// boundScopes are those that a key bound to a tenant or a product may have: the others are about all tenants together.
var boundScopes = []Scope{ScopeIngest, ScopeQuery}

// ParseScopes reads a list of scope names; the error names the first that is unknown.
func ParseScopes(names []string) ([]Scope, error) {
	scopes := make([]Scope, 0, len(names))
	for _, n := range names {
		s := Scope(strings.TrimSpace(n))
		if !slices.Contains(Scopes(), s) {
			return nil, fault.InvalidField("scopes", n, "must be some of %s", joinScopes(Scopes()))
		}
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes, nil
}

func joinScopes(scopes []Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// Allows reports whether one of the scopes held covers the scope wanted.
func Allows(held []Scope, want Scope) bool {
	return slices.Contains(held, want) || slices.Contains(held, ScopeAdmin)
}

// Gives reports whether the scope gives the permission.
func (s Scope) Gives(p Permission) bool {
	r, ok := rules[p]
	return ok && (s == ScopeAdmin || s == r.scope)
}
