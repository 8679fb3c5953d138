package tenant_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// notThere is what nobody can do, and why.
var notThere = map[string]string{
	"telemetry:update": "what was measured stays as it was",
	"telemetry:delete": "it goes with its retention, or with its tenant",
	"exports:read":     "an archive is with whoever made it",
	"exports:update":   "the same",
	"exports:delete":   "the same",
	"alerts:create":    "SLOs that burn make them",
	"alerts:delete":    "they are history",
	"incidents:delete": "what was published is corrected, not taken back",
	"usage:create":     "it is counted",
	"usage:update":     "it is counted",
	"usage:delete":     "it is counted",
	"audit:create":     "what is done writes it",
	"audit:update":     "history is not rewritten",
	"audit:delete":     "it goes by its age",
}

func TestEveryPermissionIsThereOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	left := maps.Clone(notThere)
	for _, r := range tenant.Resources() {
		for _, a := range tenant.Actions() {
			p := tenant.Permission{Resource: r, Action: a}
			_, not := left[p.String()]
			if p.Exists() == not {
				t.Errorf("%s: in the table %t, said not to be there %t", p, p.Exists(), not)
			}
			delete(left, p.String())
		}
	}
	if len(left) > 0 {
		t.Errorf("no such resource or action: %v", left)
	}
	if p := (tenant.Permission{Resource: "slos", Action: "burn"}); p.Exists() || admin().Has(p) || (tenant.Permission{}).Exists() {
		t.Error("there is a permission that no resource has")
	}
}

func admin() tenant.Identity {
	return tenant.Identity{Name: "admin", Scopes: []tenant.Scope{tenant.ScopeAdmin}}
}

func person(r tenant.Role, of tenant.ID) tenant.Identity {
	return tenant.Identity{UserID: 1, Name: "ada@example.com", Role: r, Tenant: of}
}

// TestGreaterRolesMayDoMore: each role may do all that the lesser one may, and somebody may do it.
func TestGreaterRolesMayDoMore(t *testing.T) {
	t.Parallel()
	for _, p := range tenant.Permissions() {
		for _, of := range []tenant.ID{"", "acme"} {
			least, ok := p.Operator()
			if of != "" {
				least, ok = p.Tenant()
			}
			may := false
			for _, r := range slices.Backward(tenant.Roles()) { // the least first
				has := person(r, of).Has(p)
				if may && !has {
					t.Errorf("%s of %q: a lesser role than %s may, it may not", p, of, r)
				}
				if may = has; has != (ok && r.AtLeast(least)) {
					t.Errorf("%s of %q: the role %s has it: %t, the least is %q", p, of, r, has, least)
				}
			}
			if may != ok {
				t.Errorf("%s of %q: an owner may: %t, somebody should: %t", p, of, may, ok)
			}
		}
		if person(tenant.RoleOwner, "acme").Has(p) && !person(tenant.RoleOwner, "").Has(p) {
			t.Errorf("%s: a tenant's owner may, the operator's may not", p)
		}
	}
	for _, r := range []tenant.Role{"", "root", "Owner"} {
		for _, p := range tenant.Permissions() {
			if person(r, "").Has(p) {
				t.Errorf("%q is no role and has %s", r, p)
			}
		}
	}
}

// TestScopesStandForPermissions pins what scopes meant before there were permissions, and what admin adds.
func TestScopesStandForPermissions(t *testing.T) {
	t.Parallel()
	gives := func(s tenant.Scope) (list []string) {
		for _, p := range tenant.Permissions() {
			if !s.Gives(p) {
				continue
			}
			if !tenant.ScopeAdmin.Gives(p) {
				t.Errorf("%s gives %s, admin does not", s, p)
			}
			who := tenant.Identity{Name: "x", Scopes: []tenant.Scope{s}}
			if !who.Has(p) || !who.Can(p) || who.Check(p) != nil {
				t.Errorf("a key with the scope %s has no %s", s, p)
			}
			list = append(list, p.String())
		}
		return list
	}
	f := func(s tenant.Scope, want ...string) {
		t.Helper()
		if got := gives(s); !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", s, got, want)
		}
	}
	f(tenant.ScopeIngest, "telemetry:create", "deploys:create", "deploys:update")
	f(tenant.ScopeQuery, "telemetry:read", "tenants:read", "slos:read", "alerts:read", "silences:read", "incidents:read", "components:read",
		"maintenances:read", "changelog:read", "deploys:read", "plans:read", "usage:read")
	f(tenant.ScopeSLOWrite, "slos:create", "slos:update", "slos:delete")
	f(tenant.ScopeAlertWrite, "alerts:update", "silences:create", "silences:update", "silences:delete")
	f(tenant.ScopeStatusWrite, "incidents:create", "incidents:update", "components:create", "components:update", "components:delete",
		"maintenances:create", "maintenances:update", "maintenances:delete", "changelog:create", "changelog:update", "changelog:delete")
	if got := gives(tenant.ScopeAdmin); len(got) != len(tenant.Permissions()) {
		t.Errorf("admin gives %d of %d permissions", len(got), len(tenant.Permissions()))
	}
}

func TestNobodyGivesMoreThanTheyHave(t *testing.T) {
	t.Parallel()
	f := func(who tenant.Identity, s tenant.Scope, ok bool) {
		t.Helper()
		if err := who.MayGive([]tenant.Scope{s}); (err == nil) != ok || err != nil && !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s with the role %q gives %s: got %v", who, who.Role, s, err)
		}
	}
	for _, s := range tenant.Scopes() {
		f(admin(), s, true)
		f(person(tenant.RoleOwner, ""), s, true)
		f(person(tenant.RoleAdmin, ""), s, s != tenant.ScopeAdmin)
	}
	f(person(tenant.RoleMember, ""), tenant.ScopeSLOWrite, false)
	f(person(tenant.RoleViewer, ""), tenant.ScopeQuery, true)
	f(person(tenant.RoleAdmin, "acme"), tenant.ScopeQuery, true)
	f(person(tenant.RoleAdmin, "acme"), tenant.ScopeIngest, true)
	f(person(tenant.RoleAdmin, "acme"), tenant.ScopeAdmin, false)
	for _, r := range tenant.Roles() {
		for _, given := range tenant.Roles() {
			if ok := person(r, "").MayGrant(given) == nil; ok != r.AtLeast(given) {
				t.Errorf("%s makes somebody %s: %t", r, given, ok)
			}
		}
		if admin().MayGrant(r) != nil {
			t.Errorf("a key with all rights cannot make somebody %s", r)
		}
	}
}
