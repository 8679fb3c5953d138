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

// ParseScopes reads a list of scope names; the error names the first that is unknown.
func ParseScopes(names []string) ([]Scope, error) {
	scopes := make([]Scope, 0, len(names))
	for _, n := range names {
		s := Scope(strings.TrimSpace(n))
		if !slices.Contains(Scopes(), s) {
			known := make([]string, 0, len(Scopes()))
			for _, k := range Scopes() {
				known = append(known, string(k))
			}
			return nil, fault.InvalidField("scope", n, "must be one of %s", strings.Join(known, ", "))
		}
		scopes = append(scopes, s)
	}
	return scopes, nil
}

// Allows reports whether one of the scopes held covers the scope wanted.
func Allows(held []Scope, want Scope) bool {
	return slices.Contains(held, want) || slices.Contains(held, ScopeAdmin)
}
