//go:build peers

package alerting_test

import (
	"testing"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// TestBehindPgBouncer sends an alert through jobs that are found by looking, over connections that PgBouncer hands on.
func TestBehindPgBouncer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	user := testenv.NewPostgresUser(t, e.db, postgres.AppRole)
	pool, err := postgres.OpenServing(t.Context(), testenv.NewPgBouncer(t, user, 3), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	e.svc = e.service(func(o *alerting.Options) { o.Pool, o.PollOnly = pool, true })
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.settled()
	first := e.only()
	e.observe(6, burns("mossgrove", 106), burns("lantern", 98))
	if _, err := e.svc.Ack(t.Context(), "Priya", e.open()[0].ID); err != nil {
		t.Fatal(err)
	}
	e.observe(67)
	e.settled()
	if m := e.only(); m.TS != first.TS {
		t.Errorf("the message became another: %+v, then %+v", first, m)
	}
}
