package tenant_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// instance is the keys of one process, which runs until the test ends or stop is called.
func instance(t *testing.T, pg *testenv.Postgres) (keys *tenant.Keys, stop func()) {
	t.Helper()
	return instanceOver(t, pg.Pool, pg.Owner)
}

func instanceOver(t *testing.T, pool, direct *pgxpool.Pool) (keys *tenant.Keys, stop func()) {
	t.Helper()
	keys = tenant.NewKeys(pool)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx, slog.New(slog.DiscardHandler), direct) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return keys, stop
}

const listeners = ` FROM pg_stat_activity WHERE datname = current_database() AND application_name = '` + tenant.KeyListener + `'`

// waitForListeners waits until n sessions listen.
func waitForListeners(t *testing.T, owner *pgxpool.Pool, n int) {
	t.Helper()
	eventually(t, time.Minute, func() bool {
		var listening int
		if err := owner.QueryRow(t.Context(), `SELECT count(*)`+listeners+` AND query = 'LISTEN headroom_keys'`).Scan(&listening); err != nil {
			t.Fatal(err)
		}
		return listening == n
	})
}

// revokedElsewhere makes and revokes keys here until it can say how long elsewhere knows nothing of it, which must be a
// second at most.
func revokedElsewhere(t *testing.T, what string, here, elsewhere *tenant.Keys) {
	t.Helper()
	var longest time.Duration
	for range 5 {
		key, text := create(t, here, "a")
		if _, err := elsewhere.Authenticate(t.Context(), text); err != nil {
			t.Fatalf("%s: a key made elsewhere this moment: %v", what, err)
		}
		if err := here.Revoke(t.Context(), "ann", key.Prefix); err != nil {
			t.Fatal(err)
		}
		revoked := time.Now()
		eventually(t, time.Minute, func() bool { _, err := elsewhere.Authenticate(t.Context(), text); return err != nil })
		longest = max(longest, time.Since(revoked))
		refused(t, elsewhere, text, "revoked at")
	}
	t.Logf("%s: revoked elsewhere after %s at most", what, longest)
	if longest > time.Second {
		t.Errorf("%s: revoked elsewhere after %s, want a second at most", what, longest)
	}
}

func TestChangesShowElsewhere(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	here, _ := instance(t, pg)
	elsewhere, _ := instance(t, pg)
	waitForListeners(t, pg.Owner, 2)
	revokedElsewhere(t, "with notifications", here, elsewhere)
	if _, err := pg.Owner.Exec(t.Context(), `SELECT pg_terminate_backend(pid)`+listeners); err != nil {
		t.Fatal(err)
	}
	revokedElsewhere(t, "while listeners come back", here, elsewhere)
	waitForListeners(t, pg.Owner, 2)
	revokedElsewhere(t, "listening again", here, elsewhere)
}

// TestChangesShowWithoutNotifications: all that is left is to ask.
func TestChangesShowWithoutNotifications(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	nowhere, err := postgres.Open(t.Context(), "postgres://u:p@127.0.0.1:1/x")
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	here, _ := instance(t, pg)
	elsewhere, stop := instanceOver(t, pg.Pool, nowhere)
	defer stop()
	waitForListeners(t, pg.Owner, 1)
	revokedElsewhere(t, "without notifications", here, elsewhere)
}

// TestDeletedKeyEndsElsewhere: a deletion leaves no row that could be read as changed.
func TestDeletedKeyEndsElsewhere(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys, _ := instance(t, pg)
	key, text := create(t, keys, "a")
	_, stays := create(t, keys, "b")
	if _, err := pg.Owner.Exec(t.Context(), `DELETE FROM control.api_keys WHERE id = $1`, key.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() bool { _, err := keys.Authenticate(t.Context(), text); return err != nil })
	refused(t, keys, text, "unknown")
	if _, err := keys.Authenticate(t.Context(), stays); err != nil {
		t.Error(err)
	}
}

func TestKnownKeysSurviveADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys, _ := instance(t, pg)
	_, text := create(t, keys, "a")
	pg.Pool.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 60 { // while it is asked more than once
		<-tick.C
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Fatalf("a known key while PostgreSQL is away: %v", err)
		}
	}
	if _, err := keys.Authenticate(t.Context(), tenant.NewKeyText()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an unknown key while PostgreSQL is away: got %v, want Unavailable", err)
	}
}

// TestKnownKeysDoNotWait: PostgreSQL that hangs delays nobody whose key is known, and others for a bounded time.
func TestKnownKeysDoNotWait(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys, _ := instance(t, pg)
	_, text := create(t, keys, "a")
	tx, err := pg.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE control.api_keys, control.api_key_changes"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := time.Now()
	for range 20 {
		wg.Go(func() {
			if _, err := keys.Authenticate(t.Context(), tenant.NewKeyText()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("an unknown key while PostgreSQL hangs: got %v, want Unavailable", err)
			}
		})
	}
	for time.Since(began) < time.Second {
		started := time.Now()
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took > 500*time.Millisecond {
			t.Errorf("a known key waited %s for PostgreSQL", took)
		}
	}
	wg.Wait()
}

// TestUnknownKeysStarveNobody: whoever sends keys of their own making makes few queries, and a key that was made this
// moment elsewhere is found among them.
func TestUnknownKeysStarveNobody(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys, _ := instance(t, pg)
	elsewhere := tenant.NewKeys(pg.Pool)
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 50 {
		flood.Go(func() {
			for ctx.Err() == nil {
				_, _ = keys.Authenticate(ctx, tenant.NewKeyText())
			}
		})
	}
	var longest time.Duration
	for range 20 {
		_, text := create(t, elsewhere, "new")
		started := time.Now()
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Errorf("a new key in a flood of unknown ones: %v", err)
		}
		longest = max(longest, time.Since(started))
	}
	if held := pg.Pool.Stat().AcquiredConns(); held > 4 {
		t.Errorf("the flood holds %d connections", held)
	}
	stop()
	flood.Wait()
	t.Logf("a new key waited %s at most", longest)
}

func TestLastUseIsRecorded(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	keys, stop := instance(t, pg)
	_, text := create(t, keys, "used")
	create(t, keys, "not used")
	before := time.Now().Truncate(time.Second)
	if _, err := keys.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	stop() // writes what is not written yet
	list, err := keys.List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("List: %v, %v", list, err)
	}
	if list[0].LastUsedAt != nil {
		t.Errorf("a key that nobody used was used at %s", list[0].LastUsedAt)
	}
	if at := list[1].LastUsedAt; at == nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("last use: got %v, want now", at)
	}

	// A use within the minute changes nothing, one after it does; and none of them is a change that instances read.
	var generation, again int64
	if err := pg.Pool.QueryRow(t.Context(), `SELECT generation FROM control.api_key_changes`).Scan(&generation); err != nil {
		t.Fatal(err)
	}
	use := func() time.Time {
		t.Helper()
		keys, stop := instance(t, pg)
		if _, err := keys.Authenticate(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		stop()
		list, err := keys.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return *list[1].LastUsedAt
	}
	if at := use(); !at.Equal(*list[1].LastUsedAt) && time.Since(before) < time.Minute {
		t.Errorf("another use within the minute was written: %s", at)
	}
	if _, err := pg.Owner.Exec(t.Context(), `UPDATE control.api_keys SET last_used_at = now() - interval '1 hour' WHERE name = 'used'`); err != nil {
		t.Fatal(err)
	}
	if at := use(); at.Before(before) {
		t.Errorf("a use an hour later was not written: %s", at)
	}
	if err := pg.Pool.QueryRow(t.Context(), `SELECT generation FROM control.api_key_changes`).Scan(&again); err != nil || again != generation {
		t.Errorf("uses made generation %d of %d, %v", again, generation, err)
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	pg := testenv.NewPostgres(t)
	warm, stopWarm := instance(t, pg)
	create(t, warm, "a")
	stopWarm()
	before := goleak.IgnoreCurrent() // the pool's own
	keys, stop := instance(t, pg)
	create(t, keys, "b")
	stop()
	goleak.VerifyNone(t, before)
}
