package tenant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

func TestBranches(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Pool
	s := tenant.NewBranches(pool)
	north, err := s.Create(t.Context(), tenant.Branch{Name: " North ", Services: []string{"pay", "cart", "pay"}, Tenants: []tenant.ID{"acme"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), north.ID)
	if err != nil || got.Name != "North" || !slices.Equal(got.Services, []string{"cart", "pay"}) || len(got.Products) != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if !got.HasService("pay") || got.HasService("mail") || !got.HasTenant("acme") || got.HasTenant("globex") || got.HasTenant("") || !got.HasProduct("shop") {
		t.Errorf("what is in %+v is wrong", got)
	}
	refused := func(err error, kind fault.Kind, says string) {
		t.Helper()
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s that says %q", err, kind, says)
		}
	}
	_, err = s.Create(t.Context(), tenant.Branch{Name: "North", Products: []string{"shop"}})
	refused(err, fault.Conflict, "already")
	_, err = s.Create(t.Context(), tenant.Branch{Name: "All"})
	refused(err, fault.Invalid, "would hold everything")
	_, err = s.Create(t.Context(), tenant.Branch{Name: "", Tenants: []tenant.ID{""}})
	refused(err, fault.Invalid, "tenants")
	_, err = s.Put(t.Context(), tenant.Branch{ID: north.ID, Name: "North"})
	refused(err, fault.Invalid, "would hold everything")
	if _, err = s.Put(t.Context(), tenant.Branch{ID: north.ID, Name: "South", Products: []string{"shop"}}); err != nil {
		t.Fatal(err)
	}
	if id, err := s.IDOf(t.Context(), "South"); err != nil || id != north.ID {
		t.Errorf("IDOf: %d, %v", id, err)
	}
	_, err = s.IDOf(t.Context(), "North")
	refused(err, fault.NotFound, "North")
	if err := s.Delete(t.Context(), north.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), north.ID)
	refused(err, fault.NotFound, "no branch")
	refused(s.Delete(t.Context(), north.ID), fault.NotFound, "no branch")
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v", list, err)
	}
	var lines int
	err = postgres.AcrossTenants(t.Context(), pool, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM control.audit_log WHERE action LIKE 'branch.%'`).Scan(&lines)
	})
	if err != nil || lines != 3 {
		t.Errorf("the audit log has %d lines, %v, want 3", lines, err)
	}
}
