package tenant

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// BenchmarkAuditSearch searches a million entries of a year, of 1,000 tenants and the operator; docs/audit.md has the figures.
func BenchmarkAuditSearch(b *testing.B) {
	pg := testenv.NewPostgres(b)
	ctx := b.Context()
	const entries = 1_000_000
	_, err := pg.Owner.Exec(ctx, `SELECT control.make_audit_partition((now() - n * interval '28 days')::date) FROM generate_series(1, 13) n`)
	if err != nil {
		b.Fatal(err)
	}
	_, err = pg.Owner.Exec(ctx, fmt.Sprintf(`
		INSERT INTO control.audit_log (at, actor, tenant, address, action, resource_kind, resource_id, before, after, words)
		SELECT now() - n * interval '31 seconds', 'person-' || n %% 200, CASE WHEN n %% 3 > 0 THEN 'tenant-' || n %% 1000 END,
			'10.0.0.0'::inet + n %% 60000, (ARRAY['key.create', 'tenant.put', 'member.put', 'slo.updated', 'alert.acknowledge'])[1 + n %% 5],
			(ARRAY['key', 'tenant', 'member', 'slo', 'alert'])[1 + n %% 5], 'r-' || n %% 50000, jsonb_build_object('name', 'was ' || n), jsonb_build_object('name', 'is ' || n),
			array_to_tsvector(ARRAY['r', (n %% 50000)::text, 'was', 'is', 'n' || n, 'person'] || CASE WHEN n > %[2]d THEN ARRAY['old'] END)
		FROM generate_series(1, %[1]d) n`, entries, entries-2*fewEntries))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := pg.Owner.Exec(ctx, `VACUUM (ANALYZE) control.audit_log`); err != nil {
		b.Fatal(err)
	}
	log := NewAuditLog(pg.Pool)
	of := ID("tenant-7")
	for name, f := range map[string]AuditFilter{
		"newest": {}, "actor": {Actor: "person-7"}, "action": {Action: "key."}, "nothing": {Action: "never."}, "resource": {Kind: "slo", Resource: "r-4003"},
		"tenant": {Tenant: &of}, "address": {Address: netip.MustParsePrefix("10.0.0.77/32")}, "network": {Address: netip.MustParsePrefix("10.0.7.0/24")},
		"rare word": {Text: "n777777"}, "old word": {Text: "old"}, "common word": {Text: "was"}, "month": {From: time.Now().AddDate(0, -8, 0), To: time.Now().AddDate(0, -7, 0), Actor: "person-3"},
		"all": {Actor: "person-7", Action: "member.", Text: "was", Tenant: &of},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := log.SearchAcrossTenants(ctx, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("a tenant's own", func(b *testing.B) {
		for b.Loop() {
			if _, err := log.Search(ctx, of, AuditFilter{Text: "n777"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
