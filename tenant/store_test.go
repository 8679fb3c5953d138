package tenant_test

import (
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func TestStorePutsAndLists(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	store := tenant.NewStore(pg.Pool)
	put := func(tn tenant.Tenant) {
		t.Helper()
		if err := store.Put(t.Context(), "owner", tn); err != nil {
			t.Fatal(err)
		}
	}
	put(tenant.Tenant{ID: "acme", Name: "Acme", Plan: tenant.Enterprise})
	put(tenant.Tenant{ID: "zeta"})
	put(tenant.Tenant{ID: "zeta"}) // no change, so no line in the audit log
	put(tenant.Tenant{ID: "acme", Name: "Acme Ltd", Plan: tenant.Professional})

	list, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []tenant.Tenant{{ID: "acme", Name: "Acme Ltd", Plan: tenant.Professional}, {ID: "zeta", Plan: tenant.Starter}}
	if len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("got %+v, want %+v", list, want)
	}
	if n := list[1].DisplayName(); n != "zeta" {
		t.Errorf("display name of a tenant without one: got %q", n)
	}
	plans, err := store.Plans(t.Context())
	if err != nil || plans["acme"] != tenant.Professional {
		t.Errorf("plans: got %v, %v", plans, err)
	}
	var audited int
	if err := pg.Owner.QueryRow(t.Context(), `SELECT count(*) FROM control.audit_log WHERE action = 'tenant.put'`).Scan(&audited); err != nil || audited != 3 {
		t.Errorf("audit lines: got %d, %v; want 3", audited, err)
	}

	refused := func(tn tenant.Tenant) {
		t.Helper()
		if err := store.Put(t.Context(), "owner", tn); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want Invalid", tn, err)
		}
	}
	refused(tenant.Tenant{ID: ""})
	refused(tenant.Tenant{ID: "a\x01"})
	refused(tenant.Tenant{ID: "a", Plan: "platinum"})
}
