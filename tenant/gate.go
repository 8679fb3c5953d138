package tenant

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

const (
	// gateTTL is how old the terms may be that are answered from. What changes them is seen by then, everywhere.
	gateTTL = 5 * time.Second
	// gateRetry is when PostgreSQL is asked again after it could not be.
	gateRetry = time.Second
	// gateTimeout bounds one reading, for which callers wait.
	gateTimeout = 3 * time.Second
)

var gateReadsFailed = metrics.NewCounter("headroom_plan_reads_failed_total")

// Gates is the one place that says what a tenant may do and have: by its own overrides, else by what its plan says in
// PostgreSQL, else by the operator's --quota, else by default. It is safe for concurrent use.
//
// It asks PostgreSQL when it is asked itself, one caller for all and at most every few seconds, for one row that says
// whether anything has changed. While PostgreSQL is away the last terms hold.
type Gates struct {
	pool    *pgxpool.Pool
	tenants *Store
	flags   Quotas
	flight  singleflight.Group

	mu      sync.Mutex // guards all below; never held across a query
	terms   *Terms
	fresh   time.Time // until then terms are answered from
	changes int       // that this process has made
}

// NewGates returns the gates of the store's tenants. The quotas are those that hold where PostgreSQL says nothing.
func NewGates(pool *pgxpool.Pool, tenants *Store, flags Quotas) *Gates {
	return &Gates{pool: pool, tenants: tenants, flags: flags}
}

// Limit returns how much of something the tenant may have: NoLimit, or a number from 0. It is for settings that count
// and are not of quotas.
func (g *Gates) Limit(ctx context.Context, id ID, s Setting) (int64, error) {
	t, err := g.Terms(ctx)
	if err != nil {
		return 0, err
	}
	v, _, ok := t.Value(id, s, time.Now())
	if !ok {
		panic("BUG: nothing says what " + string(s) + " is")
	}
	return v, nil
}

// Allows reports whether the tenant may do what the setting is about.
func (g *Gates) Allows(ctx context.Context, id ID, s Setting) (bool, error) {
	v, err := g.Limit(ctx, id, s)
	return v != 0, err
}

// Quotas returns the quotas of the plans, and those of tenants that have another than their plan's.
func (g *Gates) Quotas(ctx context.Context) (Quotas, map[ID]Quota, error) {
	t, err := g.Terms(ctx)
	if err != nil {
		return Quotas{}, nil, err
	}
	q, own := t.quotas(time.Now())
	return q, own, nil
}

// Terms returns what holds for all tenants, at most some seconds old. The error is Unavailable when nothing is known yet.
func (g *Gates) Terms(ctx context.Context) (*Terms, error) {
	g.mu.Lock()
	t, fresh := g.terms, time.Now().Before(g.fresh)
	g.mu.Unlock()
	if fresh {
		return t, nil
	}
	read := g.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gateTimeout)
		defer cancel()
		return g.read(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-read:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Terms), nil
	}
}

// Forget makes the next call read: after a change that this process made.
func (g *Gates) Forget() {
	g.mu.Lock()
	g.fresh = time.Time{}
	g.changes++
	g.mu.Unlock()
	g.flight.Forget("")
}

func (g *Gates) read(ctx context.Context) (*Terms, error) {
	g.mu.Lock()
	known, changes := g.terms, g.changes
	g.mu.Unlock()
	next, err := g.readTerms(ctx, known)
	wait := gateTTL
	if err != nil {
		gateReadsFailed.Inc()
		if known == nil {
			return nil, fault.Wrap(err, fault.Unavailable, "what plans allow cannot be read now")
		}
		next, wait = known, gateRetry
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if changes == g.changes { // else somebody reads what this may have missed
		g.terms, g.fresh = next, time.Now().Add(wait)
	}
	return next, nil
}

func (g *Gates) readTerms(ctx context.Context, known *Terms) (*Terms, error) {
	plans, err := g.tenants.Plans(postgres.OwnWork(ctx))
	if err != nil {
		return nil, err
	}
	t := &Terms{plans: plans, flags: g.flags}
	err = postgres.AcrossTenants(postgres.OwnWork(ctx), g.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT generation FROM control.plan_changes`).Scan(&t.generation); err != nil {
			return fmt.Errorf("cannot read whether plans have changed: %w", err)
		}
		if known != nil && known.generation == t.generation {
			t.settings, t.overrides, t.targets = known.settings, known.overrides, known.targets
			return nil
		}
		return t.read(ctx, tx)
	})
	return t, err
}
