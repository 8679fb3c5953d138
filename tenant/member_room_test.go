package tenant

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// TestMembersAreAsManyAsThePlanSays, also when they come all at once; who is there stays and can be changed.
func TestMembersAreAsManyAsThePlanSays(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme", "beta")
	gates := newGates(t, pg)
	if err := gates.Override(t.Context(), "ada", "acme", Override{Key: MaxMembers, Value: 3, Reason: "a trial"}); err != nil {
		t.Fatal(err)
	}
	m := newMembers(t, pg).Within(gates)
	add := func(id ID, i int) error {
		return m.Put(t.Context(), operator, id, Member{Email: fmt.Sprintf("p%d@example.com", i), Role: "viewer"})
	}
	var all sync.WaitGroup
	var in, out atomic.Int32
	for i := range 8 {
		all.Go(func() {
			switch err := add("acme", i); {
			case err == nil:
				in.Add(1)
			case fault.Is(err, fault.Forbidden):
				out.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := m.List(t.Context(), "acme")
	if in.Load() != 3 || out.Load() != 5 || len(list) != 3 || err != nil {
		t.Fatalf("%d let in, %d refused, %d there, %v", in.Load(), out.Load(), len(list), err)
	}
	one := list[0]
	one.Role = "owner"
	if err := m.Put(t.Context(), operator, "acme", one); err != nil {
		t.Errorf("a change of one that is there: %v", err)
	}
	if err := m.Remove(t.Context(), operator, "acme", one.Email); err != nil {
		t.Fatal(err)
	}
	if err := add("acme", 99); err != nil {
		t.Errorf("in the place of one that left: %v", err)
	}
	for i := range 10 {
		if err := add("beta", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := add("beta", 10); !fault.Is(err, fault.Forbidden) {
		t.Errorf("the eleventh of a starter: %v", err)
	}
}
