package dashboards

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/nexis-limited/headroom/clickhouse"
)

// fleetTTL is how long totals over all tenants serve again: the pages refresh every 10 s, whoever looks at them.
const fleetTTL = 5 * time.Second

// fleetCache keeps the dearest query of the console, so that many readers cost as much as one.
type fleetCache struct {
	load  func(ctx context.Context, w window, product string) ([]tenantTotals, error)
	group singleflight.Group

	mu      sync.Mutex // guards entries
	entries map[string]fleetEntry
}

type fleetEntry struct {
	totals []tenantTotals
	at     time.Time
}

// totals returns the totals of a preset range and product, at most fleetTTL old. The result is shared: do not change
// it. Callers that come while a query runs wait for that one.
func (f *fleetCache) totals(ctx context.Context, w window, product string) ([]tenantTotals, error) {
	confined, _ := clickhouse.Confined(ctx)
	key := w.Name + "\x00" + product + "\x00" + confined // what one reader sees is not for another who may see less
	f.mu.Lock()
	e, ok := f.entries[key]
	f.mu.Unlock()
	if ok && time.Since(e.at) < fleetTTL {
		return e.totals, nil
	}
	v, err, _ := f.group.Do(key, func() (any, error) {
		// One reader who leaves must not fail the others; the query has its own bound.
		totals, err := f.load(context.WithoutCancel(ctx), w, product)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.entries == nil {
			f.entries = map[string]fleetEntry{}
		}
		maps.DeleteFunc(f.entries, func(_ string, e fleetEntry) bool { return time.Since(e.at) > fleetTTL })
		f.entries[key] = fleetEntry{totals, time.Now()}
		return totals, nil
	})
	if err != nil {
		return nil, err
	}
	return v.([]tenantTotals), nil
}
