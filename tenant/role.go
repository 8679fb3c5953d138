package tenant

import (
	"slices"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// Role is what a person is in an organization: the operator's own, or a tenant's. Each may do all that the lesser ones may.
type Role string

// The roles. The table in permission.go says what each may do.
const (
	RoleOwner   Role = "owner"   // decides what is sold and who leaves
	RoleAdmin   Role = "admin"   // decides who and what has access
	RoleManager Role = "manager" // decides what is promised and what is published
	RoleMember  Role = "member"  // works on what happens
	RoleViewer  Role = "viewer"  // reads
)

// nobody is the role that no person has.
const nobody Role = ""

// roles are all of them, the most powerful first.
var roles = []Role{RoleOwner, RoleAdmin, RoleManager, RoleMember, RoleViewer}

// Roles lists all roles, the most powerful first.
func Roles() []Role { return slices.Clone(roles) }

// ParseRole returns the role named s.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(roles, r) {
		return r, nil
	}
	return nobody, fault.InvalidField("role", s, "must be one of %s", joinRoles())
}

func joinRoles() string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// AtLeast reports whether r may do all that the least one may. Neither what is no role nor the least of nobody is reached.
func (r Role) AtLeast(least Role) bool {
	has, needs := slices.Index(roles, r), slices.Index(roles, least)
	return has >= 0 && needs >= 0 && has <= needs
}
