package tenant

import (
	"sync"
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// TestNobodyRaisesAboveThemselves tries what a tenant's admin must not, and what its last owner must not.
func TestNobodyRaisesAboveThemselves(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme")
	m := newMembers(t, pg)
	const done = fault.Internal // the kind of no error
	const ada, bob, eve = "ada@example.com", "bob@example.com", "eve@example.com"
	of := func(email string, r Role) Identity { return Identity{UserID: 1, Name: email, Role: r, Tenant: "acme"} }
	owner, admin := of(ada, RoleOwner), of(bob, RoleAdmin)
	put := func(by Identity, email string, r Role, want fault.Kind) {
		t.Helper()
		if err := m.Put(t.Context(), by, "acme", Member{Email: email, Role: r}); (want == done) != (err == nil) || fault.KindOf(err) != want {
			t.Errorf("%s makes %s %s: got %v, want %v", by, email, r, err, want)
		}
	}
	remove := func(by Identity, email string, want fault.Kind) {
		t.Helper()
		if err := m.Remove(t.Context(), by, "acme", email); (want == done) != (err == nil) || fault.KindOf(err) != want {
			t.Errorf("%s removes %s: got %v, want %v", by, email, err, want)
		}
	}
	put(operator, ada, RoleOwner, done)
	put(owner, bob, RoleAdmin, done)
	put(admin, bob, RoleOwner, fault.Forbidden)
	put(admin, eve, RoleOwner, fault.Forbidden)
	put(admin, ada, RoleViewer, fault.Forbidden)
	remove(admin, ada, fault.Forbidden)
	put(admin, eve, RoleAdmin, done)
	remove(admin, eve, done)
	put(owner, ada, RoleAdmin, fault.Conflict)
	remove(owner, ada, fault.Conflict)
	put(Identity{UserID: 2, Name: "ops", Role: RoleAdmin}, ada, RoleViewer, fault.Forbidden)

	// Of two owners who leave at once, one stays.
	for range 5 {
		put(operator, ada, RoleOwner, done)
		put(operator, bob, RoleOwner, done)
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, email := range []string{ada, bob} {
			wg.Go(func() { errs[i] = m.Remove(t.Context(), of(email, RoleOwner), "acme", email) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("got %v and %v, want one to be refused", errs[0], errs[1])
		}
	}
	put(operator, ada, RoleViewer, done)
	put(operator, bob, RoleViewer, done) // the operator's people may leave a tenant without an owner
}
