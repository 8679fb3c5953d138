package web_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// TestAuditAPI lists, pages and exports, as the operator and as a tenant.
func TestAuditAPI(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	const entries = 2300 // more than an export reads at once
	ops := tenant.WithIdentity(t.Context(), tenant.Identity{Name: "=cmd|' /C calc'!A0", Scopes: []tenant.Scope{tenant.ScopeAdmin}})
	err := postgres.AcrossTenants(ops, pg.Pool, func(tx pgx.Tx) error {
		for i := range entries {
			e := tenant.AuditEntry{Action: "slo.updated", Resource: fmt.Sprintf("slo-%d", i), After: map[string]any{"n": i}}
			if i%2 == 0 {
				e.Action, e.Tenant = "tenant.put", "acme"
			}
			if err := tenant.Audit(ops, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	web.RegisterAuditAPI(web.NewAPI(r, "test", slog.New(slog.DiscardHandler)), tenant.NewAuditLog(pg.Pool))
	admin := tenant.Identity{Name: "ops", Scopes: []tenant.Scope{tenant.ScopeAdmin}}
	acme := tenant.Identity{UserID: 1, Name: "ada@acme.example", Role: tenant.RoleAdmin, Tenant: "acme"}
	call := func(who tenant.Identity, path string, want int) string {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, "/api/v1/audit"+path, nil).WithContext(tenant.WithIdentity(t.Context(), who))
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s: got %d %.300s, want %d", path, rec.Code, rec.Body, want)
		}
		return rec.Body.String()
	}
	var page struct {
		Entries []struct {
			ID, Actor, Action, Tenant string
			After                     map[string]int
		}
		Next string
	}
	seen, after := map[string]bool{}, ""
	for {
		page.Entries, page.Next = nil, ""
		if err := json.Unmarshal([]byte(call(admin, "?limit=1000&after="+after, 200)), &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			seen[e.ID] = true
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(seen) != entries {
		t.Errorf("%d entries on all pages, want %d", len(seen), entries)
	}
	if s := call(admin, "?q=slo-1799&action=slo.&operator=true&limit=1", 200); !strings.Contains(s, `"after":{"n":1799}`) {
		t.Errorf("found %s", s)
	}
	if s := call(acme, "?tenant=acme&limit=2", 200); !strings.Contains(s, `"actor":"operator"`) || strings.Contains(s, "cmd") || strings.Contains(s, "slo.updated") {
		t.Errorf("a tenant reads %s", s)
	}
	call(acme, "", 403)
	call(acme, "?tenant=zeta", 404)
	call(acme, "/export?tenant=zeta", 404)
	call(tenant.Identity{UserID: 1, Role: tenant.RoleMember, Tenant: "acme"}, "?tenant=acme", 403)
	call(tenant.Identity{Scopes: []tenant.Scope{tenant.ScopeQuery}}, "", 403)
	call(admin, "?address=nowhere", 400)
	call(admin, "?after=nonsense", 400)
	call(admin, "?q=a%00b", 400)
	call(admin, "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400)

	if lines := strings.Count(call(admin, "/export", 200), "\n"); lines != entries {
		t.Errorf("NDJSON of %d lines, want %d", lines, entries)
	}
	rows, err := csv.NewReader(strings.NewReader(call(admin, "/export?format=csv&action=slo.", 200))).ReadAll()
	if err != nil || len(rows) != entries/2+1 {
		t.Fatalf("CSV of %d rows, %v; want %d", len(rows), err, entries/2+1)
	}
	if rows[1][2] != "'=cmd|' /C calc'!A0" || rows[1][11] != "slo-2299" {
		t.Errorf("a row is %q", rows[1])
	}
	if lines := strings.Count(call(acme, "/export?tenant=acme", 200), `"actor":"operator"`); lines != entries/2 {
		t.Errorf("a tenant exports %d entries, want %d", lines, entries/2)
	}
}
