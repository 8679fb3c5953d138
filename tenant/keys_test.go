package tenant_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

var ingest = []tenant.Scope{tenant.ScopeIngest}

// create makes a key that may ingest.
func create(t testing.TB, keys *tenant.Keys, name string) (tenant.Key, string) {
	t.Helper()
	key, text, err := keys.Create(t.Context(), "ann", tenant.NewKey{Name: name, Scopes: ingest})
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

// refused checks that a key is refused for a reason and that the error does not repeat it.
func refused(t testing.TB, keys *tenant.Keys, text, why string) {
	t.Helper()
	_, err := keys.Authenticate(t.Context(), text)
	if !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), why) {
		t.Errorf("got error %v, want Unauthenticated that says %q", err, why)
	} else if text != "" && strings.Contains(err.Error(), text) {
		t.Errorf("the error repeats the key: %v", err)
	}
}

func TestKeyIsFoundByItsTextOnly(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	key, text := create(t, keys, "checkout")
	id, err := keys.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if id.KeyID != key.ID || id.Name != "checkout" || id.Bound() || !id.Can(tenant.MayCreate(tenant.ResourceTelemetry)) || id.Can(tenant.MayRead(tenant.ResourceTelemetry)) {
		t.Errorf("identity: got %+v", id)
	}
	refused(t, keys, "", "no API key")
	refused(t, keys, "secret", "malformed")
	refused(t, keys, text+"a", "malformed")
	refused(t, keys, text[:len(text)-1], "malformed")
	refused(t, keys, strings.ToUpper(text), "malformed")
	refused(t, keys, "hr_\x00"+text[4:], "malformed")
	refused(t, keys, "hr_\xff"+text[4:], "malformed")
	refused(t, keys, tenant.NewKeyText(), "unknown")
	refused(t, keys, text[:len(text)-1]+other(text[len(text)-1]), "unknown") // the right prefix, a wrong secret

	list, err := keys.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("List: %v, %v", list, err)
	}
	if k := list[0]; k.CreatedBy != "ann" || k.Prefix != key.Prefix || k.ExpiresAt != nil || k.LastUsedAt != nil {
		t.Errorf("listed: got %+v", k)
	}
	if strings.Contains(list[0].String(), strings.Split(text, "_")[2]) {
		t.Error("a listed key shows its secret")
	}
}

func other(b byte) string {
	if b == 'a' {
		return "b"
	}
	return "a"
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("hr_abcdefgh_" + strings.Repeat("a", 32))
	f.Add("hr__")
	f.Add("")
	keys := tenant.NewKeys(testenv.NewPostgres(f).Pool)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := keys.Authenticate(t.Context(), text); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%q: got %v, want Unauthenticated", text, err)
		}
	})
}

func TestBoundKeys(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	_, text, err := keys.Create(t.Context(), "ann", tenant.NewKey{
		Name: "acme's own", Scopes: []tenant.Scope{tenant.ScopeIngest, tenant.ScopeQuery}, Tenant: "acme", Product: "shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.Authenticate(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if id.Tenant != "acme" || id.Product != "shop" || !id.Bound() || !id.Has(tenant.MayRead(tenant.ResourceTelemetry)) || id.Can(tenant.MayRead(tenant.ResourceTelemetry)) {
		t.Errorf("identity: got %+v", id)
	}
	list, err := keys.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Tenant != "acme" || list[0].Product != "shop" {
		t.Errorf("listed: got %v, %v", list, err)
	}
}

func TestBadKeysAreNamed(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	past := time.Now().Add(-time.Second)
	f := func(n tenant.NewKey, says ...string) {
		t.Helper()
		_, _, err := keys.Create(t.Context(), "ann", n)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want Invalid", n, err)
			return
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%+v: error %q does not say %q", n, err, s)
			}
		}
	}
	f(tenant.NewKey{Scopes: ingest}, "name:")
	f(tenant.NewKey{Name: " ", Scopes: ingest}, "name:")
	f(tenant.NewKey{Name: strings.Repeat("x", 201), Scopes: ingest}, "name:", "(201 bytes)")
	f(tenant.NewKey{Name: "a\x00", Scopes: ingest}, "name:")
	f(tenant.NewKey{Name: "a"}, "scopes:", "ingest:write")
	f(tenant.NewKey{Name: "a", Scopes: ingest, Tenant: "a\n"}, "tenant:", `a\n`)
	f(tenant.NewKey{Name: "a", Scopes: ingest, Tenant: tenant.ID(strings.Repeat("x", 129))}, "tenant:", "128 bytes")
	f(tenant.NewKey{Name: "a", Scopes: ingest, Product: strings.Repeat("x", 201)}, "product:", "200 bytes")
	f(tenant.NewKey{Name: "a", Scopes: ingest, ExpiresAt: &past}, "expires_at:", past.Format(time.RFC3339))
	f(tenant.NewKey{Name: "a", Scopes: []tenant.Scope{tenant.ScopeAdmin}, Tenant: "acme"}, "scopes:", "admin", "ingest:write, query:read")
	f(tenant.NewKey{Name: "a", Scopes: []tenant.Scope{tenant.ScopeQuery, tenant.ScopeSLOWrite}, Product: "shop"}, "scopes:", "slo:write")
	f(tenant.NewKey{ExpiresAt: &past}, "name:", "scopes:", "expires_at:") // all at once
	if list, err := keys.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("stored: %v, %v; want none", list, err)
	}
}

func TestEnsureStoresAKeyOnce(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	text := tenant.NewKeyText()
	for range 2 {
		if err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, text); err != nil {
			t.Fatal(err)
		}
	}
	list, err := keys.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("got %v, %v; want one key", list, err)
	}
}

// TestEnsureTellsARevokedKey: a key file whose key somebody has revoked is no conflict and no success.
func TestEnsureTellsARevokedKey(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	text := tenant.NewKeyText()
	if err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, text); err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(t.Context(), "ann", strings.Split(text, "_")[1]); err != nil {
		t.Fatal(err)
	}
	err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, text)
	if !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v, want Unauthenticated that says revoked", err)
	}
	if err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, "sesame"); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a text that is no key: got %v, want Unauthenticated", err)
	}
}

func TestKeysUnderConcurrency(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	_, text := create(t, keys, "a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if _, err := keys.Authenticate(t.Context(), text); err != nil {
					t.Error(err)
					return
				}
			}
			if i%2 == 0 { // changes meanwhile
				key, other, err := keys.Create(t.Context(), "ann", tenant.NewKey{Name: "b", Scopes: ingest})
				if err != nil {
					t.Error(err)
					return
				}
				if err := keys.Revoke(t.Context(), "ann", key.Prefix); err != nil {
					t.Error(err)
				}
				refused(t, keys, other, "revoked")
			}
		})
	}
	wg.Wait()
}

// TestCheckOfAKnownKeyAllocatesNothing: each request pays for it.
func TestCheckOfAKnownKeyAllocatesNothing(t *testing.T) {
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	_, text := create(t, keys, "a")
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a check allocates %v times", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	keys := tenant.NewKeys(testenv.NewPostgres(b).Pool)
	_, text := create(b, keys, "a")
	check := func(b *testing.B) {
		if _, err := keys.Authenticate(b.Context(), text); err != nil {
			b.Error(err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			check(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				check(b)
			}
		})
	})
}
