//go:build peers

package tenant_test

import (
	"testing"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// TestKeysBehindPgBouncer: in transaction mode a LISTEN is not refused, and no notification comes.
func TestKeysBehindPgBouncer(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	dsn := testenv.NewPgBouncer(t, testenv.NewPostgresUser(t, pg, postgres.AppRole), 2)
	pool, err := postgres.OpenServing(t.Context(), dsn, true)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	here, stopHere := instanceOver(t, pool, pg.Owner)
	defer stopHere()
	past, stopPast := instanceOver(t, pool, pg.Owner)
	defer stopPast()
	through, stopThrough := instanceOver(t, pool, pool)
	defer stopThrough()
	revokedElsewhere(t, "listening past PgBouncer", here, past)
	revokedElsewhere(t, "listening through PgBouncer", here, through)
}
