package dashboards

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// TestTenantPageShowsItsTerms: the plan, what is the tenant's own with who and why, what each target comes from, and usage.
func TestTenantPageShowsItsTerms(t *testing.T) {
	c := newTestConsole(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c.applySLOs()
	c.seed()
	ctx := t.Context()
	for id, plan := range map[tenant.ID]tenant.Plan{"failing": tenant.Enterprise, "slow": tenant.Professional} {
		must(c.tenants.Put(ctx, "root", tenant.Tenant{ID: id, Plan: plan}))
	}
	must(c.gates.Override(ctx, "ada@example.com", "failing", tenant.Override{Key: "spans-per-second", Value: 77_000, Reason: "A campaign"}))
	must(c.targets.Put(ctx, "ada@example.com", "failing", tenant.Target{SLO: "pay-latency", ObjectivePPM: 970_000, Reason: "Their contract"}))
	c.reader.Forget()
	yesterday := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	must(postgres.AcrossTenants(ctx, c.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO control.usage_days (day, tenant, requests, spans, sampled_spans, refused_spans, points, refused_points, bytes, stored_bytes,
			api_calls, users) VALUES ($1, 'failing', 12345, 67890, 11, 0, 0, 0, 1, 1, 0, 2)`, yesterday)
		return err
	}))

	doc := c.page("/tenants/failing")
	checkMarkup(t, "/tenants/failing", doc)
	s := text(doc)
	for _, want := range []string{"On the plan Enterprise, with 1 limit of its own.", "Spans a second 77,000 ada@example.com, ", ": A campaign",
		"97 % within 1 s, 30 d its own ada@example.com", "Their contract", "99.9 %, 30 d the SLO’s for Enterprise", "12,345 requests and 67,890 spans in 1 day; 11 spans were over the quota.", "People no limit"} {
		if !strings.Contains(s, want) {
			t.Errorf("the page does not say %q: %s", want, s)
		}
	}
	if s := text(c.page("/tenants/slow")); !strings.Contains(s, "All as the plan Professional gives it.") || !strings.Contains(s, "the SLO’s for all") ||
		!strings.Contains(s, "No day of the last 14") {
		t.Errorf("a tenant with nothing of its own: %s", s)
	}
	if s := text(c.page("/untagged")); strings.Contains(s, "Plan and limits") || strings.Contains(s, "12,345") {
		t.Errorf("what names no tenant has a plan: %s", s)
	}
	w := c.as(tenant.Identity{Name: "eve", Role: tenant.RoleViewer, Tenant: "failing"}, "GET", "/tenants/failing", nil)
	if s := text(parse(t, w.Body)); strings.Contains(s, "ada@") || !strings.Contains(s, "The operator, ") || !strings.Contains(s, "Their contract") {
		t.Errorf("the tenant's own people: %s", s)
	}
}
