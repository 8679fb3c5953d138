package tenant_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

const password = "correct horse battery"

var rootKey = tenant.Identity{Name: "root", Scopes: []tenant.Scope{tenant.ScopeAdmin}}

func mustUser(t *testing.T, users *tenant.Users, email string, r tenant.Role) tenant.User {
	t.Helper()
	u, err := users.Create(t.Context(), rootKey, tenant.NewUser{Email: email, Role: r, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUsers(t *testing.T) {
	t.Parallel()
	users := tenant.NewUsers(testenv.NewPostgres(t).Pool)
	ctx := t.Context()
	ada := mustUser(t, users, "Ada@Example.com", tenant.RoleOwner)
	if ada.Email != "ada@example.com" || ada.Role != tenant.RoleOwner || !ada.HasPassword || ada.RoleSource != "person" || ada.CreatedBy != "root" {
		t.Errorf("made %+v", ada)
	}
	f := func(err error, want fault.Kind, says string) {
		t.Helper()
		if !fault.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %v with %q", err, want, says)
		}
	}
	_, err := users.Create(ctx, rootKey, tenant.NewUser{Email: "ADA@example.com"})
	f(err, fault.Conflict, "already")
	_, err = users.Create(ctx, rootKey, tenant.NewUser{Email: "bob@example.com", Role: "king"})
	f(err, fault.Invalid, "king")
	_, err = users.Create(ctx, rootKey, tenant.NewUser{Email: "bob@example.com", Password: "short"})
	f(err, fault.Invalid, "12 characters")

	// Nobody raises anybody above their own role, nor touches who is above them.
	bob := mustUser(t, users, "bob@example.com", tenant.RoleAdmin)
	admin := tenant.Identity{UserID: bob.ID, Name: bob.Email, Role: tenant.RoleAdmin}
	_, err = users.Create(ctx, admin, tenant.NewUser{Email: "eve@example.com", Role: tenant.RoleOwner})
	f(err, fault.Forbidden, "owner")
	owner, none, yes, no, empty := tenant.RoleOwner, tenant.Role(""), true, false, ""
	_, err = users.Change(ctx, admin, bob.ID, tenant.UserChange{Role: &owner})
	f(err, fault.Forbidden, "owner")
	_, err = users.Change(ctx, admin, ada.ID, tenant.UserChange{Disabled: &yes})
	f(err, fault.Forbidden, "owner")
	newer := "another long password"
	_, err = users.Change(ctx, admin, ada.ID, tenant.UserChange{Password: &newer})
	f(err, fault.Forbidden, "owner")
	f(users.Delete(ctx, admin, ada.ID), fault.Forbidden, "owner")

	// The last owner stays, whatever is tried.
	_, err = users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Role: &none})
	f(err, fault.Conflict, "last owner")
	_, err = users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Disabled: &yes})
	f(err, fault.Conflict, "last owner")
	f(users.Delete(ctx, rootKey, ada.ID), fault.Conflict, "last owner")
	if u, err := users.Get(ctx, ada.ID); err != nil || u.Role != tenant.RoleOwner || u.DisabledAt != nil {
		t.Errorf("after refused changes: %+v, %v", u, err)
	}
	_, err = users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Password: &empty})
	f(err, fault.Invalid, "empty")

	if u, err := users.Change(ctx, rootKey, bob.ID, tenant.UserChange{Role: &owner}); err != nil || u.Role != owner {
		t.Fatalf("made owner: %+v, %v", u, err)
	}
	if u, err := users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Disabled: &yes}); err != nil || u.DisabledAt == nil {
		t.Fatalf("disabled: %+v, %v", u, err)
	}
	if u, err := users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Disabled: &no}); err != nil || u.DisabledAt != nil {
		t.Fatalf("enabled: %+v, %v", u, err)
	}
	if err := users.Delete(ctx, rootKey, ada.ID); err != nil {
		t.Fatal(err)
	}
	f(users.Delete(ctx, rootKey, ada.ID), fault.NotFound, "no user")
	_, err = users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Disabled: &no})
	f(err, fault.NotFound, "no user")
	list, err := users.List(ctx)
	if err != nil || len(list) != 1 || list[0].Email != "bob@example.com" {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// TestOwnersWhoLeaveAtOnce lets two owners be disabled side by side: one of them stays.
func TestOwnersWhoLeaveAtOnce(t *testing.T) {
	t.Parallel()
	users := tenant.NewUsers(testenv.NewPostgres(t).Pool)
	ids := []int64{mustUser(t, users, "ada@example.com", tenant.RoleOwner).ID, mustUser(t, users, "bob@example.com", tenant.RoleOwner).ID}
	yes, no := true, false
	for range 10 {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() { _, errs[i] = users.Change(t.Context(), rootKey, id, tenant.UserChange{Disabled: &yes}) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("got %v and %v, want one to be refused", errs[0], errs[1])
		}
		for _, id := range ids {
			if _, err := users.Change(t.Context(), rootKey, id, tenant.UserChange{Disabled: &no}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestByPassword(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	users := tenant.NewUsers(pg.Pool)
	ctx := t.Context()
	mustUser(t, users, "root@example.com", tenant.RoleOwner)
	ada := mustUser(t, users, "ada@example.com", tenant.RoleViewer)
	if _, err := users.Create(ctx, rootKey, tenant.NewUser{Email: "none@example.com", Role: tenant.RoleViewer}); err != nil {
		t.Fatal(err)
	}
	u, err := users.ByPassword(ctx, "ADA@example.com", password)
	if err != nil || u.ID != ada.ID {
		t.Fatalf("got %+v, %v", u, err)
	}
	// One answer for all that is wrong.
	var first string
	for _, try := range [][2]string{{"ada@example.com", password + "x"}, {"nobody@example.com", password}, {"none@example.com", ""}, {"none@example.com", password},
		{"ada", password}, {"", ""}, {"ada@example.com\x00", password}, {"ada@example.com", strings.Repeat("x", 10000)}} {
		_, err := users.ByPassword(ctx, try[0], try[1])
		if first == "" && err != nil {
			first = err.Error()
		}
		if !fault.Is(err, fault.Unauthenticated) || err.Error() != first {
			t.Errorf("%.40q: got %v, want Unauthenticated with %q", try, err, first)
		}
	}
	// A hash of lesser cost is made anew.
	const weak = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	if _, err := pg.Owner.Exec(ctx, `UPDATE control.users SET password = $2 WHERE id = $1`, ada.ID, weak); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := users.ByPassword(ctx, "ada@example.com", "password"); err != nil {
			t.Fatal(err)
		}
		var stored string
		if err := pg.Owner.QueryRow(ctx, `SELECT password FROM control.users WHERE id = $1`, ada.ID).Scan(&stored); err != nil || stored == weak || !strings.Contains(stored, "m=19456,") {
			t.Errorf("stored after signing in: %q, %v", stored, err)
		}
	}
	yes := true
	if _, err := users.Change(ctx, rootKey, ada.ID, tenant.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if _, err := users.ByPassword(ctx, "ada@example.com", "password"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := users.ByPassword(ctx, "ada@example.com", "other"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("disabled, with another password: %v", err)
	}
}

// TestMembershipsFollowMembers signs tenants' people in where their tenants say so.
func TestMembershipsFollowMembers(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	users, store := tenant.NewUsers(pg.Pool), tenant.NewStore(pg.Pool)
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	members := tenant.NewMembers(schemas)
	ctx := t.Context()
	for _, id := range []tenant.ID{"acme", "zeta"} {
		if err := store.Put(ctx, "test", tenant.Tenant{ID: id, Name: strings.ToUpper(string(id))}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(id tenant.ID, r tenant.Role) {
		t.Helper()
		if err := members.Put(ctx, rootKey, id, tenant.Member{Email: "Ada@example.com", Role: r}); err != nil {
			t.Fatal(err)
		}
	}
	u, err := users.Create(ctx, rootKey, tenant.NewUser{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	is := func(want ...tenant.Organization) {
		t.Helper()
		got, err := users.Organizations(ctx, u.ID)
		if err != nil || len(got) != len(want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	is()
	put("zeta", tenant.RoleViewer)
	put("acme", tenant.RoleViewer)
	put("acme", tenant.RoleAdmin)
	is(tenant.Organization{Tenant: "acme", Name: "ACME", Role: tenant.RoleAdmin}, tenant.Organization{Tenant: "zeta", Name: "ZETA", Role: tenant.RoleViewer})
	if err := members.Remove(ctx, rootKey, "acme", "ada@example.com"); err != nil {
		t.Fatal(err)
	}
	is(tenant.Organization{Tenant: "zeta", Name: "ZETA", Role: tenant.RoleViewer})
	role := tenant.RoleMember
	if _, err := users.Change(ctx, rootKey, u.ID, tenant.UserChange{Role: &role}); err != nil {
		t.Fatal(err)
	}
	is(tenant.Organization{Role: tenant.RoleMember}, tenant.Organization{Tenant: "zeta", Name: "ZETA", Role: tenant.RoleViewer})
}
