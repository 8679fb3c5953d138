package tenant_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

func TestRevokedKeyEnds(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	key, text := create(t, keys, "a")
	if err := keys.Revoke(t.Context(), "bob", key.Prefix); err != nil {
		t.Fatal(err)
	}
	refused(t, keys, text, "revoked at")
	if err := keys.Revoke(t.Context(), "bob", key.Prefix); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), key.Prefix) {
		t.Errorf("a second revocation: got %v, want NotFound that names the prefix", err)
	}
}

func TestKeyExpires(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	end := time.Now().Add(500 * time.Millisecond)
	_, text, err := keys.Create(t.Context(), "ann", tenant.NewKey{Name: "a", Scopes: ingest, ExpiresAt: &end})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() bool {
		now := time.Now()
		_, err := keys.Authenticate(t.Context(), text)
		if err != nil && now.Before(end.Add(-time.Millisecond)) && time.Now().Before(end) {
			t.Fatalf("before it expires: %v", err)
		}
		return err != nil
	})
	refused(t, keys, text, "expired at")
	if time.Now().Before(end) {
		t.Errorf("it ended %s early", time.Until(end))
	}
}

func TestRotatedKeyGoesOnForTheOverlap(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Pool
	keys := tenant.NewKeys(pool)
	key, text, err := keys.Create(t.Context(), "ann", tenant.NewKey{
		Name: "a", Scopes: []tenant.Scope{tenant.ScopeIngest, tenant.ScopeQuery}, Tenant: "acme", Product: "shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	const overlap = 700 * time.Millisecond
	old, successor, newText, err := keys.Rotate(t.Context(), "bob", key.Prefix, overlap)
	if err != nil {
		t.Fatal(err)
	}
	if successor.Name != "a" || len(successor.Scopes) != 2 || successor.Tenant != "acme" || successor.Product != "shop" ||
		successor.Replaces != key.Prefix || successor.CreatedBy != "bob" || successor.ExpiresAt != nil {
		t.Errorf("the new key: got %+v", successor)
	}
	if _, err := keys.Authenticate(t.Context(), newText); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := keys.Authenticate(t.Context(), text); err != nil && time.Now().Before(*old.ExpiresAt) {
		t.Errorf("the old key within the overlap: %v", err)
	}
	if _, _, _, err := keys.Rotate(t.Context(), "bob", key.Prefix, overlap); !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		t.Errorf("a second rotation: got %v, want Conflict, or NotFound when it has ended", err)
	}
	eventually(t, time.Minute, func() bool { _, err := keys.Authenticate(t.Context(), text); return err != nil })
	refused(t, keys, text, "expired at")
	if time.Now().Before(*old.ExpiresAt) {
		t.Errorf("it ended %s early", time.Until(*old.ExpiresAt))
	}
	if _, err := keys.Authenticate(t.Context(), newText); err != nil {
		t.Errorf("the new key after the overlap: %v", err)
	}

	want := "ann key.create " + key.Prefix + " a acme \nbob key.rotate " + successor.Prefix + " a acme " + key.Prefix + "\n"
	if got := audited(t, pool); got != want {
		t.Errorf("audit log: got\n%swant\n%s", got, want)
	}
}

func TestRotationKeepsLifetimesAndRefusesBadOverlaps(t *testing.T) {
	t.Parallel()
	keys := tenant.NewKeys(testenv.NewPostgres(t).Pool)
	end := time.Now().Add(time.Hour)
	key, text, err := keys.Create(t.Context(), "ann", tenant.NewKey{Name: "a", Scopes: ingest, ExpiresAt: &end})
	if err != nil {
		t.Fatal(err)
	}
	for _, overlap := range []time.Duration{-time.Second, 100 * 24 * time.Hour} {
		if _, _, _, err := keys.Rotate(t.Context(), "bob", key.Prefix, overlap); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), "overlap") || !strings.Contains(err.Error(), overlap.String()) {
			t.Errorf("overlap %s: got %v, want Invalid that names it", overlap, err)
		}
	}
	if _, _, _, err := keys.Rotate(t.Context(), "bob", "nonesuch", 0); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "nonesuch") {
		t.Errorf("an unknown prefix: got %v, want NotFound that names it", err)
	}
	old, successor, _, err := keys.Rotate(t.Context(), "bob", key.Prefix, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !old.ExpiresAt.Before(end.Add(time.Second)) {
		t.Errorf("the rotation made the old key live until %s, beyond its end %s", old.ExpiresAt, end)
	}
	if left := time.Until(*successor.ExpiresAt); left < 59*time.Minute || left > time.Hour+time.Second {
		t.Errorf("the new key of one made for an hour lives %s", left)
	}
	if _, _, _, err := keys.Rotate(t.Context(), "bob", key.Prefix, 0); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), successor.Prefix) {
		t.Errorf("a second rotation: got %v, want Conflict that names the successor", err)
	}
	if _, err := keys.Authenticate(t.Context(), text); err != nil {
		t.Error(err)
	}
	if _, _, _, err := keys.Rotate(t.Context(), "bob", successor.Prefix, 0); err != nil {
		t.Errorf("rotating the successor: %v", err)
	}
}

// TestChangesOfOneKeyAtOnce: whoever comes first wins, and nobody waits for ever.
func TestChangesOfOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Pool
	here, there := tenant.NewKeys(pool), tenant.NewKeys(pool)
	key, _ := create(t, here, "a")
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := map[string]int{}
	count := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			done[what]++
		case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict):
			t.Errorf("%s: %v", what, err)
		}
	}
	for range 4 {
		wg.Go(func() {
			_, _, _, err := here.Rotate(t.Context(), "ann", key.Prefix, time.Hour)
			count("rotate", err)
		})
		wg.Go(func() { count("revoke", there.Revoke(t.Context(), "bob", key.Prefix)) })
		wg.Go(func() {
			_, _, err := there.Create(t.Context(), "bob", tenant.NewKey{Name: "b", Scopes: ingest})
			count("create", err)
		})
	}
	wg.Wait()
	if done["rotate"] > 1 || done["revoke"] != 1 || done["create"] != 4 {
		t.Errorf("got %v, want one revocation, at most one rotation, four new keys", done)
	}
}

func TestKeysAreAudited(t *testing.T) {
	t.Parallel()
	pool := testenv.NewPostgres(t).Pool
	keys := tenant.NewKeys(pool)
	key, text := create(t, keys, "a")
	if err := keys.Revoke(t.Context(), "bob", key.Prefix); err != nil {
		t.Fatal(err)
	}
	want := "ann key.create " + key.Prefix + " a  \nbob key.revoke " + key.Prefix + " a  \n"
	if got := audited(t, pool); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	var secrets int
	err := postgres.AcrossTenants(t.Context(), pool, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM control.audit_log a WHERE strpos(a::text, $1) > 0`, strings.Split(text, "_")[2]).Scan(&secrets)
	})
	if err != nil || secrets != 0 {
		t.Errorf("lines with the secret: got %d, %v", secrets, err)
	}
}

// audited returns the audit log as lines.
func audited(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var log string
	err := postgres.AcrossTenants(t.Context(), pool, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `
			SELECT coalesce(string_agg(concat_ws(' ', actor, action, resource_id, after->>'name', coalesce(after->>'tenant', ''),
				coalesce(after->>'replaces', '')), E'\n' ORDER BY id) || E'\n', '')
			FROM control.audit_log`).Scan(&log)
	})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// eventually waits for f.
func eventually(t testing.TB, within time.Duration, f func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			t.Fatalf("it did not come to it within %s", within)
		case <-tick.C:
		}
	}
}
