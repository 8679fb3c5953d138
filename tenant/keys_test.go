package tenant_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func TestKeyIsFoundByItsTextOnly(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	key, text, err := keys.Create(t.Context(), "checkout", []tenant.Scope{tenant.ScopeIngest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second comes from the cache
		id, err := keys.Authenticate(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if id.KeyID != key.ID || id.Name != "checkout" || !id.Can(tenant.ScopeIngest) || id.Can(tenant.ScopeQuery) {
			t.Errorf("identity: got %+v", id)
		}
	}
	refused := func(text, why string) {
		t.Helper()
		_, err := keys.Authenticate(t.Context(), text)
		if !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), why) {
			t.Errorf("got error %v, want Unauthenticated that says %q", err, why)
		}
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
	refused("", "no API key")
	refused("secret", "malformed")
	refused(text+"a", "malformed")
	refused("hr_\x00"+text[4:], "malformed")
	refused("hr_\xff"+text[4:], "malformed")
	refused(tenant.NewKeyText(), "unknown")
	refused(text[:len(text)-1]+other(text[len(text)-1]), "unknown") // the right prefix, a wrong secret

	list, err := keys.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("List: %v, %v", list, err)
	}
	if list[0].LastUsedAt == nil {
		t.Error("last use was not recorded")
	}
	if strings.Contains(list[0].String(), strings.Split(text, "_")[2]) {
		t.Error("a listed key shows its secret")
	}
}

func TestRevokedAndExpiredKeysEnd(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Pool
	keys, elsewhere := tenant.NewKeys(pool), tenant.NewKeys(pool)
	key, text, err := keys.Create(t.Context(), "a", []tenant.Scope{tenant.ScopeIngest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(t.Context(), key.Prefix); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), text); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("here: got %v, want Unauthenticated at once", err)
	}
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := elsewhere.Authenticate(t.Context(), text)
		if fault.Is(err, fault.Unauthenticated) {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("elsewhere: got %v after 5 s, want Unauthenticated within about one", err)
		case <-tick.C:
		}
	}
	if err := keys.Revoke(t.Context(), key.Prefix); !fault.Is(err, fault.NotFound) {
		t.Errorf("a second revocation: got %v, want NotFound", err)
	}

	past := time.Now().Add(-time.Second)
	_, text, err = keys.Create(t.Context(), "b", []tenant.Scope{tenant.ScopeIngest}, &past)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), text); !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired key: got %v", err)
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

func TestKnownKeysSurviveADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys := tenant.NewKeys(pg.Pool)
	_, text, err := keys.Create(t.Context(), "a", []tenant.Scope{tenant.ScopeIngest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	pg.Pool.Close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 50 { // past the cache's lifetime, more than once
		<-tick.C
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Fatalf("a known key while PostgreSQL is away: %v", err)
		}
	}
	if _, err := keys.Authenticate(t.Context(), tenant.NewKeyText()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an unknown key while PostgreSQL is away: got %v, want Unavailable", err)
	}
}

// While PostgreSQL does not answer, one call of many waits for it.
func TestOneCallAsksForAKnownKey(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys := tenant.NewKeys(pg.Pool)
	_, text, err := keys.Create(t.Context(), "a", []tenant.Scope{tenant.ScopeIngest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	tx, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE control.api_keys"); err != nil {
		t.Fatal(err)
	}
	<-time.After(1100 * time.Millisecond) // past the cache's lifetime
	var slow atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			started := time.Now()
			if _, err := keys.Authenticate(t.Context(), text); err != nil {
				t.Error(err)
			}
			if time.Since(started) > time.Second {
				slow.Add(1)
			}
		})
	}
	wg.Wait()
	if slow.Load() != 1 {
		t.Errorf("%d of 20 calls waited for PostgreSQL, want 1", slow.Load())
	}
}

func TestKeysUnderConcurrency(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	_, text, err := keys.Create(t.Context(), "a", []tenant.Scope{tenant.ScopeIngest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if _, err := keys.Authenticate(t.Context(), text); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func other(b byte) string {
	if b == 'a' {
		return "b"
	}
	return "a"
}

// TestEnsureTellsARevokedKey: a key file whose key somebody has revoked is no conflict and no success.
func TestEnsureTellsARevokedKey(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	text := tenant.NewKeyText()
	if err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, text); err != nil {
		t.Fatal(err)
	}
	if err := keys.Revoke(t.Context(), strings.Split(text, "_")[1]); err != nil {
		t.Fatal(err)
	}
	err := keys.Ensure(t.Context(), "owner", []tenant.Scope{tenant.ScopeAdmin}, text)
	if !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v, want Unauthenticated that says revoked", err)
	}
}
