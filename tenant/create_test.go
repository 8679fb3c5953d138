package tenant_test

import (
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func onboarding(t *testing.T, pg *testenv.Postgres) (*tenant.Onboarding, *tenant.Keys) {
	t.Helper()
	schemas, err := tenant.NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	keys := tenant.NewKeys(pg.Pool)
	return tenant.NewOnboarding(tenant.NewStore(pg.Pool), schemas, keys), keys
}

func TestCreate(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	o, keys := onboarding(t, pg)
	ctx := t.Context()
	n := tenant.NewTenant{ID: "Acme, Inc.", Name: "Acme", Plan: tenant.Enterprise, Product: "shop"}
	made, err := o.Create(ctx, "ops", n)
	if err != nil {
		t.Fatal(err)
	}
	who, err := keys.Authenticate(ctx, made.KeyText)
	if err != nil || who.Tenant != n.ID || who.Product != "shop" || len(who.Scopes) != 1 || who.Scopes[0] != tenant.ScopeIngest {
		t.Errorf("its key is %+v, %v", who, err)
	}
	var name, plan, schema string
	var version, logged int
	if err := pg.Owner.QueryRow(ctx, `
		SELECT t.name, t.plan, s.name, s.version, (SELECT count(*) FROM control.audit_log WHERE action = 'tenant.create')
		FROM control.tenants t JOIN control.tenant_schemas s ON s.tenant = t.id WHERE t.id = $1`, n.ID).Scan(&name, &plan, &schema, &version, &logged); err != nil {
		t.Fatal(err)
	}
	if name != "Acme" || plan != "enterprise" || schema != made.Schema || version == 0 || logged != 1 {
		t.Errorf("stored %q on %s, schema %q at %d, %d entries", name, plan, schema, version, logged)
	}

	// A repetition changes nothing and says what is there.
	_, err = o.Create(ctx, "ops", tenant.NewTenant{ID: n.ID, Name: "Other"})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), `"Acme" on enterprise`) {
		t.Errorf("the second time: got %v", err)
	}
	var count int
	if err := pg.Owner.QueryRow(ctx, `SELECT count(*) FROM control.api_keys`).Scan(&count); err != nil || count != 1 {
		t.Errorf("keys after the second time: %d, %v", count, err)
	}
	refused := func(n tenant.NewTenant, field string) {
		t.Helper()
		if _, err := o.Create(ctx, "ops", n); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: got %v, want %s to be invalid", n, err, field)
		}
	}
	refused(tenant.NewTenant{}, "tenant")
	refused(tenant.NewTenant{ID: "a\nb"}, "tenant.id")
	refused(tenant.NewTenant{ID: "a", Plan: "platinum"}, "plan")
	refused(tenant.NewTenant{ID: "a", Product: "\x00"}, "product")
}
