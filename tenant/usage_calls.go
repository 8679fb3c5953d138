package tenant

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	// callsEvery is how often calls are stored: a process that is killed loses at most those of so long.
	callsEvery   = 2 * time.Second
	callsTimeout = 5 * time.Second
	// callsKept is how many days are kept in memory: those that a call may still be counted on, and one that could not be stored yet.
	callsKept = 3
)

// callsOf is what calls are counted by.
type callsOf struct {
	day    time.Time // its beginning, in UTC
	tenant ID
}

// Calls counts the API calls of tenants by days. It stores what this process has counted of a day in all, so that storing the same again,
// after an answer that did not come, counts nothing twice. It is safe for concurrent use.
type Calls struct {
	pool     *pgxpool.Pool
	log      *slog.Logger
	instance string // of this process

	mu     sync.Mutex // guards the fields below; never held across a query
	counts map[callsOf]int64
	stored map[callsOf]int64
}

// NewCalls returns the counts of this process, which are none.
func NewCalls(pool *pgxpool.Pool, log *slog.Logger) *Calls {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return &Calls{pool: pool, log: log.With("component", "usage"), instance: fmt.Sprintf("%x", b), counts: map[callsOf]int64{}, stored: map[callsOf]int64{}}
}

// Add counts a call of a tenant.
func (c *Calls) Add(id ID, now time.Time) {
	of := callsOf{now.UTC().Truncate(24 * time.Hour), id}
	c.mu.Lock()
	c.counts[of]++
	c.mu.Unlock()
}

// Run stores what was counted, now and then until ctx ends, and then once more.
func (c *Calls) Run(ctx context.Context) error {
	tick := time.NewTicker(callsEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		store, cancel := context.WithTimeout(context.WithoutCancel(ctx), callsTimeout)
		err := c.Store(store, time.Now())
		cancel()
		if err != nil && !failing { // once for all of an outage
			c.log.Warn("cannot store how many API calls there were, trying again", "error", err, "delay", callsEvery)
		}
		failing = err != nil
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Store writes what was counted since it did so last.
func (c *Calls) Store(ctx context.Context, now time.Time) error {
	changed := map[callsOf]int64{}
	c.mu.Lock()
	for of, n := range c.counts {
		if n != c.stored[of] {
			changed[of] = n
		}
	}
	c.mu.Unlock()
	if len(changed) > 0 {
		var days []time.Time
		var tenants []string
		var counts []int64
		for of, n := range changed {
			days, tenants, counts = append(days, of.day), append(tenants, string(of.tenant)), append(counts, n)
		}
		// Nobody else writes rows of this process, so the order does not matter.
		err := postgres.AcrossTenants(ctx, c.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `
				INSERT INTO control.api_calls AS c (day, tenant, instance, calls)
				SELECT n.day, n.tenant, $4, n.calls FROM unnest($1::date[], $2::text[], $3::bigint[]) AS n (day, tenant, calls)
				ON CONFLICT (day, tenant, instance) DO UPDATE SET calls = greatest(c.calls, excluded.calls)`, days, tenants, counts, c.instance)
			return err
		})
		if err != nil {
			return fmt.Errorf("cannot store the API calls of %d tenants: %w", len(tenants), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.stored, changed)
	for of := range c.stored {
		if now.Sub(of.day) > callsKept*24*time.Hour && c.stored[of] == c.counts[of] {
			delete(c.stored, of)
			delete(c.counts, of)
		}
	}
	return nil
}

// addCalls adds the API calls of the days from first to last to what was used on them, and forgets those of days that are not counted
// again. Others are those of days that have calls and nothing else.
func addCalls(ctx context.Context, tx pgx.Tx, days []UsageDay, first, last time.Time) (others []UsageDay, err error) {
	at := make(map[callsOf]int, len(days))
	for i, d := range days {
		at[callsOf{d.Day.UTC(), d.Tenant}] = i
	}
	rows, err := tx.Query(ctx, `SELECT day, tenant, sum(calls)::bigint FROM control.api_calls WHERE day BETWEEN $1 AND $2 GROUP BY day, tenant`, first, last)
	if err != nil {
		return nil, fmt.Errorf("cannot count API calls: %w", err)
	}
	var of callsOf
	var calls int64
	if _, err := pgx.ForEachRow(rows, []any{&of.day, &of.tenant, &calls}, func() error {
		if i, ok := at[callsOf{of.day.UTC(), of.tenant}]; ok {
			days[i].APICalls = calls
		} else {
			others = append(others, UsageDay{Day: of.day, Tenant: of.tenant, APICalls: calls})
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("cannot count API calls: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM control.api_calls WHERE day < $1`, first.AddDate(0, 0, -callsKept)); err != nil {
		return nil, fmt.Errorf("cannot forget old API calls: %w", err)
	}
	return others, nil
}
