package collector

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Departures knows which tenants were deleted. *tenant.Deleted is one.
type Departures interface {
	Table() *tenant.DepartedTable
	// Report says how far the collector is in letting go of them.
	Report(ctx context.Context, s tenant.CollectorState) error
}

// departed keeps deleted tenants out of ClickHouse. From when it knows of a deletion on, nothing of the tenant is taken any more.
// What was taken before is in segments that were begun before: the tenant's rows are left out when these are inserted, under
// the segment's tokens, so that an attempt before the deletion and one after it count others once. When no such segment is
// left, the collector has let go of the tenant, and says so.
//
// A tenant that was created again is taken again only after that: until then nobody could tell its old rows from new ones.
//
// What is known stands in a file of the spool, because its segments outlive the process. Those that an earlier process left
// wait until PostgreSQL has said who was deleted meanwhile.
type departed struct {
	source Departures
	record departedFile
	log    func(msg string, args ...any)
	spool  *spool
	flush  chan flushed
	forget func(id tenant.ID) // what is remembered of a tenant

	refused atomic.Pointer[map[tenant.ID]struct{}]
	known   chan struct{} // closed when PostgreSQL has said who was deleted
	isKnown atomic.Bool

	mu     sync.Mutex // guards all below; never held across I/O
	state  departedState
	before int64 // state.Drained when the process began: what it found in the spool was begun after that
}

// flushed asks the committer to store and seal all that is decoded, and to mark what is begun after with the generation.
type flushed struct {
	generation int64
	done       chan struct{}
}

const (
	departedTick   = 200 * time.Millisecond
	departedReport = 2 * time.Second
)

func (c *Collector) newDeparted() *departed {
	d := &departed{
		source: c.opts.Deleted, record: departedFile{c.opts.disk, c.opts.Dir}, spool: c.spool, known: make(chan struct{}), flush: c.committer.flush,
		log:    c.opts.Logger.Warn,
		forget: func(id tenant.ID) { c.limiter.forgetTenant(id); c.committer.named.forget() },
	}
	d.refused.Store(&map[tenant.ID]struct{}{})
	for _, l := range c.committer.lanes {
		l.dec.departed = d
	}
	return d
}

// refuses reports whether nothing is taken of the tenant.
func (d *departed) refuses(id tenant.ID) bool {
	if d == nil {
		return false
	}
	refused := *d.refused.Load()
	if len(refused) == 0 {
		return false
	}
	_, is := refused[id]
	return is
}

// deletedError says why something of a tenant is refused. It is a type of its own for its metric.
type deletedError struct{ error }

func errDeleted(id tenant.ID) error {
	return deletedError{fault.InvalidField("tenant.id", string(id), "was deleted, and is recorded again only when somebody creates it again")}
}

// badTenantReason returns under which reason a span or point is refused whose tenant is not taken.
func badTenantReason(err error) reason {
	if _, is := err.(deletedError); is { //nolint:errorlint // made here, never wrapped
		return deletedTenant
	}
	return badTenant
}

// refusal says why nothing can be taken yet.
func (d *departed) refusal() error {
	if d == nil || d.isKnown.Load() {
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter, Message: "it is not known yet which tenants were deleted"}
}

// await returns when what an earlier process left may be inserted; false when ctx ended first.
func (d *departed) await(ctx context.Context) bool {
	if d == nil {
		return true
	}
	select {
	case <-d.known:
		return true
	case <-ctx.Done():
		return false
	}
}

// dropped returns the tenants whose rows in a segment are not to be inserted.
func (d *departed) dropped(seg *segment) (ids []string) {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.state.Tenants {
		since := seg.seen
		if since == 0 { // an earlier process began it
			since = d.before
		}
		// What a person put back from the quarantine may be older than all that the process found.
		if t.Deletion > since || seg.seen == 0 && !seg.created.After(t.Applied) {
			ids = append(ids, string(t.Tenant))
		}
	}
	return ids
}

// run follows deletions until ctx ends.
func (d *departed) run(ctx context.Context) {
	if d == nil || !d.load(ctx) {
		return
	}
	tick := time.NewTicker(departedTick)
	defer tick.Stop()
	var reported time.Time
	for {
		table := d.source.Table()
		if changed := d.follow(ctx, table); changed || time.Since(reported) > departedReport {
			if d.report(ctx) == nil {
				reported = time.Now()
			}
		}
		select {
		case <-table.Newer:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// load reads what the process before knew, which holds from then on.
func (d *departed) load(ctx context.Context) bool {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		if d.spool.isUsable() {
			state, err := d.record.read()
			if err == nil {
				d.mu.Lock()
				d.state, d.before = state, state.Drained
				d.mu.Unlock()
				d.refuse()
				return true
			}
			d.log("nothing is taken until it can be read which tenants were deleted", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// follow takes one step behind the table, and reports whether there was anything to do.
func (d *departed) follow(ctx context.Context, table *tenant.DepartedTable) (changed bool) {
	if table.Generation == 0 || !d.spool.isUsable() {
		return false
	}
	d.mu.Lock()
	state := d.state.clone()
	d.mu.Unlock()
	if table.Generation != state.Refuses || !d.isKnown.Load() {
		gone := state.apply(table)
		d.set(state) // also when it cannot be written: what is inserted from now on is without them
		d.refuse()
		for _, id := range gone {
			d.forget(id)
		}
		// Whoever decoded with the set before is done when the committer has taken every lane's batch.
		f := flushed{table.Generation, make(chan struct{})}
		select {
		case d.flush <- f:
		case <-ctx.Done():
			return false
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return false
		}
		if err := d.record.write(state); err != nil {
			metrics.spoolErrors.Inc()
			d.log("cannot note which tenants were deleted; it is tried again", "error", err)
			d.unknow()
			return false
		}
		if d.isKnown.CompareAndSwap(false, true) {
			close(d.known)
		}
		changed = true
	}
	if state.Drained < state.Refuses && d.spool.isDrained(state.Refuses) {
		state.Drained = state.Refuses
		if err := d.record.write(state); err != nil {
			metrics.spoolErrors.Inc()
			d.log("cannot note that the spool holds nothing more of deleted tenants; it is tried again", "error", err)
			return changed
		}
		d.set(state)
		for _, t := range state.Tenants {
			if t.Ended {
				d.forget(t.Tenant)
			}
		}
		d.refuse()
		changed = true
	}
	return changed
}

// unknow lets the next step begin anew.
func (d *departed) unknow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state.Refuses = 0
}

func (d *departed) set(s departedState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
}

// refuse makes the decoders refuse who was deleted, and who came back before all that was taken before is gone.
func (d *departed) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	refused := make(map[tenant.ID]struct{})
	for _, t := range d.state.Tenants {
		if !t.Ended || t.Deletion > d.state.Drained {
			refused[t.Tenant] = struct{}{}
		}
	}
	d.refused.Store(&refused)
}

func (d *departed) report(ctx context.Context) error {
	d.mu.Lock()
	s := tenant.CollectorState{ID: d.state.ID, Refuses: d.state.Refuses, Drained: d.state.Drained, Quarantined: int(d.spool.quarantineFiles.Load())}
	d.mu.Unlock()
	if !d.isKnown.Load() {
		return nil
	}
	return d.source.Report(ctx, s)
}

// publicTenantError returns what is told of why a tenant is not taken.
func publicTenantError(err error) error {
	if gone, is := err.(deletedError); is { //nolint:errorlint // made here, never wrapped
		return gone.error
	}
	return err
}
