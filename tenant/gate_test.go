package tenant

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

func newGates(t testing.TB, pg *testenv.Postgres, flags ...string) *Gates {
	t.Helper()
	q, err := ParseQuotas(flags)
	if err != nil {
		t.Fatal(err)
	}
	return NewGates(pg.Pool, NewStore(pg.Pool), q)
}

// value fails the test unless the tenant's setting is want from where it should come.
func (g *Gates) value(t *testing.T, id ID, s Setting, want int64, from Source) {
	t.Helper()
	terms, err := g.Terms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v, source, ok := terms.Value(id, s, time.Now()); v != want || source != from || !ok {
		t.Errorf("%s of %q: %d from %s (%v), want %d from %s", s, id, v, source, ok, want, from)
	}
}

// TestOrderOfTerms: a tenant's override, then the plan's stored value, then the operator's flag, then the default.
func TestOrderOfTerms(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme", "beta")
	g := newGates(t, pg, "starter.spans-per-second=1000")
	const spans = Setting("spans-per-second")
	g.value(t, "acme", spans, 1000, SourceDefault)
	g.value(t, "acme", "active-series", 10_000, SourceDefault)
	g.value(t, "nobody", spans, 100_000, SourceDefault)
	g.value(t, "nobody", MaxMembers, 10, SourcePlan)

	n := int64(2000)
	if err := g.SetPlan(t.Context(), "ada", Starter, map[Setting]*int64{spans: &n}); err != nil {
		t.Fatal(err)
	}
	g.value(t, "acme", spans, 2000, SourcePlan)
	g.value(t, "nobody", spans, 100_000, SourceDefault)
	if err := g.Override(t.Context(), "ada", "acme", Override{Key: spans, Value: 3000, Reason: "a migration"}); err != nil {
		t.Fatal(err)
	}
	g.value(t, "acme", spans, 3000, SourceOverride)
	g.value(t, "beta", spans, 2000, SourcePlan)
	quotas, own, err := g.Quotas(t.Context())
	if err != nil || quotas.Starter.SpansPerSecond != 2000 || len(own) != 1 || own["acme"].SpansPerSecond != 3000 || own["acme"].ActiveSeries != 10_000 {
		t.Errorf("quotas: %+v, %+v, %v", quotas.Starter, own, err)
	}

	if err := g.EndOverride(t.Context(), "bob", "acme", spans, "it is over"); err != nil {
		t.Fatal(err)
	}
	g.value(t, "acme", spans, 2000, SourcePlan)
	if err := g.SetPlan(t.Context(), "ada", Starter, map[Setting]*int64{spans: nil}); err != nil {
		t.Fatal(err)
	}
	g.value(t, "acme", spans, 1000, SourceDefault)
	if err := g.EndOverride(t.Context(), "bob", "acme", spans, "again"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an override that is gone: %v", err)
	}
}

func TestOverrideEndsByItself(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme")
	g := newGates(t, pg)
	end := time.Now().Add(time.Hour)
	if err := g.Override(t.Context(), "ada", "acme", Override{Key: MaxMembers, Value: 50, Reason: "a trial", EndsAt: &end}); err != nil {
		t.Fatal(err)
	}
	terms, err := g.Terms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v, _, _ := terms.Value("acme", MaxMembers, end.Add(-time.Second)); v != 50 {
		t.Errorf("before its end: %d", v)
	}
	if v, _, _ := terms.Value("acme", MaxMembers, end.Add(time.Second)); v != 10 {
		t.Errorf("after its end: %d", v)
	}
}

func TestTermsAreRefused(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme")
	g := newGates(t, pg)
	f := func(id ID, o Override, kind fault.Kind, field string) {
		t.Helper()
		err := g.Override(t.Context(), "ada", id, o)
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
			t.Errorf("override %+v of %q: %v", o, id, err)
		}
	}
	past := time.Now().Add(-time.Minute)
	f("acme", Override{Key: "spans", Value: 1, Reason: "why"}, fault.Invalid, "key")
	f("acme", Override{Key: MaxMembers, Value: -2, Reason: "why"}, fault.Invalid, "members")
	f("acme", Override{Key: "burst-seconds", Value: 0, Reason: "why"}, fault.Invalid, "burst-seconds")
	f("acme", Override{Key: PrivateStatusPage, Value: 2, Reason: "why"}, fault.Invalid, "private-status-page")
	f("acme", Override{Key: AvailabilityTargetPPM, Value: 999_000, Reason: "why"}, fault.Invalid, "key")
	f("acme", Override{Key: MaxMembers, Value: 1, Reason: " "}, fault.Invalid, "reason")
	f("acme", Override{Key: MaxMembers, Value: 1, Reason: "why", EndsAt: &past}, fault.Invalid, "ends_at")
	f("none", Override{Key: MaxMembers, Value: 1, Reason: "why"}, fault.NotFound, "tenant")
	for p, values := range map[Plan]map[Setting]*int64{"gold": {MaxMembers: nil}, Starter: {}, Enterprise: {"spans": nil}} {
		if err := g.SetPlan(t.Context(), "ada", p, values); !fault.Is(err, fault.Invalid) {
			t.Errorf("SetPlan(%q, %v): %v", p, values, err)
		}
	}
}

// TestBuiltInPlansAreStored: what the migration stores is what holds where nothing is stored.
func TestBuiltInPlansAreStored(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	g := newGates(t, pg)
	terms, err := g.Terms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Plans() {
		if got, want := fmt.Sprint(terms.settings[p]), fmt.Sprint(builtIn(p)); got != want {
			t.Errorf("%s: stored %s, built in %s", p, got, want)
		}
	}
	rows, err := pg.Pool.Query(t.Context(), `SELECT name FROM control.plans ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowTo[Plan])
	if fmt.Sprint(stored) != fmt.Sprint(Plans()) {
		t.Errorf("plans %v, %v", stored, err)
	}
}

// TestTermsOutliveTheDatabase: while PostgreSQL is away the last terms hold, and before they were ever read nobody guesses.
func TestTermsOutliveTheDatabase(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme")
	away, err := postgres.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	if _, err := NewGates(away, NewStore(away), DefaultQuotas()).Limit(t.Context(), "acme", MaxMembers); !fault.Is(err, fault.Unavailable) {
		t.Errorf("terms that were never read: %v", err)
	}
	g := newGates(t, pg)
	if err := g.Override(t.Context(), "ada", "acme", Override{Key: MaxMembers, Value: 50, Reason: "why"}); err != nil {
		t.Fatal(err)
	}
	g.value(t, "acme", MaxMembers, 50, SourceOverride)
	g.pool, g.tenants = away, NewStore(away)
	g.Forget()
	g.value(t, "acme", MaxMembers, 50, SourceOverride)
}

// TestTargetsAndTheirIndexAgree: both tables change together or not at all, and another tenant sees neither.
func TestTargetsAndTheirIndexAgree(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	create(t, pg, "acme", "beta")
	schemas, err := NewSchemas(pg.Pool, pg.Owner)
	if err != nil {
		t.Fatal(err)
	}
	g := newGates(t, pg)
	targets := NewTargets(schemas, g)
	put := func(id ID, slo string, ppm uint32) {
		t.Helper()
		if err := targets.Put(t.Context(), "ada", id, Target{SLO: slo, ObjectivePPM: ppm, Reason: "in its contract"}); err != nil {
			t.Fatal(err)
		}
	}
	put("acme", "checkout", 999_000)
	put("acme", "checkout", 999_500)
	put("beta", "search", 990_000)
	if err := targets.Put(t.Context(), "ada", "none", Target{SLO: "checkout", ObjectivePPM: 1, Reason: "why"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a tenant that is not there: %v", err)
	}
	if err := targets.Remove(t.Context(), "ada", "beta", "checkout", "why"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a target that is not there: %v", err)
	}
	list, err := targets.List(t.Context(), "acme")
	if err != nil || len(list) != 1 || list[0].ObjectivePPM != 999_500 || list[0].SetBy != "ada" || list[0].Reason != "in its contract" {
		t.Errorf("targets of acme: %+v, %v", list, err)
	}
	index := func(id ID, slo string, want uint32) {
		t.Helper()
		terms, err := g.Terms(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ppm, _ := terms.Target(id, slo); ppm != want {
			t.Errorf("the index has %d for %s of %q, want %d", ppm, slo, id, want)
		}
	}
	index("acme", "checkout", 999_500)
	index("beta", "search", 990_000)
	index("beta", "checkout", 0)
	if err := targets.Remove(t.Context(), "ada", "acme", "checkout", "the contract ended"); err != nil {
		t.Fatal(err)
	}
	index("acme", "checkout", 0)
	err = postgres.InTenant(t.Context(), pg.Pool, ID("acme"), func(tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM control.target_overrides`).Scan(&n); err != nil || n != 0 {
			t.Errorf("acme sees %d targets of others, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGatesAskOnce: however many ask, PostgreSQL is asked once in a while.
func TestGatesAskOnce(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	g := newGates(t, pg)
	first, err := g.Terms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.fresh = time.Now().Add(time.Hour) // the test may be slow
	g.mu.Unlock()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if again, err := g.Terms(ended); again != first || err != nil {
		t.Errorf("asked again: %v", err)
	}
}
