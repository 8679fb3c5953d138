package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// writer empties the spool into ClickHouse, one segment at a time, the oldest first.
//
// While ClickHouse cannot be reached, it waits and tries again, for ever. When it is the segment that cannot be inserted,
// because ClickHouse refuses it or ends over it, or the disk does not give it back, the others go first and it is tried
// again later.
type writer struct {
	spool  *spool
	insert func(ctx context.Context, t table, token string, blocks [][]byte) error
	// dropped returns the tenants of which a segment's rows are left out, for which without gives an insert.
	dropped func(seg *segment) []string
	without func(tenants []string) func(ctx context.Context, t table, token string, blocks [][]byte) error
	timeout time.Duration // for the first attempt at an insert
	log     *slog.Logger
	// tokenLife is after how many blocks of others a segment may not be tried again.
	tokenLife uint64
	// maxDays is how many days a segment has at most, and so blocks a table.
	maxDays int

	buf      []byte // the segment being inserted
	finished uint64 // segments, since the start
	blocks   uint64 // that a table got at most, since the start
	failures int    // in a row
	quiet    time.Time

	mu         sync.Mutex // guards what last returns
	lastInsert time.Time
	lastError  string
}

const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second  // between attempts when ClickHouse is away
	refusedMax = 60 * time.Second // between attempts of a segment that lets the others pass
	logEvery   = 10 * time.Second

	// tokenLife is less than the blocks of a table whose tokens ClickHouse remembers, 10,000.
	tokenLife = 8000

	// isolateAfter is how many unanswered attempts at a segment make it suspect of being why ClickHouse does not answer.
	isolateAfter = 3
	// maxKills is how often ClickHouse may end over a suspect segment, having taken others in between.
	maxKills = 4
)

// run works until ctx is done.
func (w *writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		seg, later := w.spool.next(time.Now())
		if seg == nil {
			w.wait(ctx, later, w.spool.ready)
			continue
		}
		w.work(ctx, seg)
	}
}

func (w *writer) wait(ctx context.Context, until time.Time, ready <-chan struct{}) {
	d := time.Hour
	if !until.IsZero() {
		d = time.Until(until)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ready:
	case <-ctx.Done():
	}
}

// work tries one segment and sees to what follows from the outcome.
func (w *writer) work(ctx context.Context, seg *segment) {
	if seg.attempts == 0 {
		seg.firstTry = w.blocks
	}
	started := time.Now()
	err := w.insertSegment(ctx, seg)
	w.remember(err)
	if err == nil {
		w.failures = 0
		metrics.insertSeconds.UpdateDuration(started)
		return
	}
	if ctx.Err() != nil {
		return
	}
	metrics.insertErrors.Inc()
	seg.attempts++
	seg.lastError = err.Error()
	w.failures++
	if now := time.Now(); now.After(w.quiet) {
		w.quiet = now.Add(logEvery)
		w.log.Error("cannot insert a segment; it stays in the spool and is tried again",
			"segment", seg.path, "attempts", seg.attempts, "error", err)
	}
	var another <-chan struct{} // ends the wait
	switch w.blame(seg, err) {
	case nobody:
	case theServer: // it could be the segment all the same
		w.spool.postpone(seg, time.Now().Add(backoff(seg.attempts, refusedMax)), false)
	case theSegment:
		w.spool.postpone(seg, time.Now().Add(backoff(seg.attempts, refusedMax)), true)
		another = w.spool.ready
	}
	w.wait(ctx, time.Now().Add(backoff(w.failures, longPause)), another)
}

func backoff(attempts int, most time.Duration) time.Duration {
	return min(most, firstPause<<min(attempts-1, 20))
}

// blame is whose fault it seems to be that an insert failed.
type blame int

const (
	nobody     blame = iota // ClickHouse is away: no other segment would fare better now
	theServer               // ClickHouse takes nothing now, or none so large
	theSegment              // others may pass
)

func (w *writer) blame(seg *segment, err error) blame {
	var (
		away       *awayError
		unanswered *unansweredError
		refused    *refusedError
	)
	switch {
	case errors.As(err, &unanswered):
		if seg.unanswered > 0 && w.finished != seg.lastTry {
			seg.kills++
		}
		seg.unanswered++
		seg.lastTry = w.finished
		if seg.unanswered < isolateAfter {
			return nobody
		}
		return theServer
	case errors.As(err, &away):
		return nobody
	case errors.As(err, &refused) && refused.busy():
		seg.unanswered = 0
		return theServer
	}
	seg.unanswered = 0
	return theSegment
}

// awayError says that ClickHouse could not be reached.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// hopeless says why a segment may not be tried again; empty if it may.
func (w *writer) hopeless(seg *segment) string {
	switch {
	case w.blocks-seg.firstTry > w.tokenLife:
		return "it could not be inserted for so long that ClickHouse forgets what it has of it: " + seg.lastError
	case seg.unanswered >= isolateAfter && seg.kills >= maxKills:
		return fmt.Sprintf("ClickHouse ended or went silent over it %d times, though it took others: %s", seg.unanswered, seg.lastError)
	}
	return ""
}

// insertSegment inserts what ClickHouse does not have of the segment yet, and removes it.
func (w *writer) insertSegment(ctx context.Context, seg *segment) error {
	now := time.Now()
	why := w.hopeless(seg)
	buf, c, err := w.spool.load(seg, w.buf)
	w.buf = reuse(buf)
	switch {
	case err != nil && w.spool.isGone(err):
		w.spool.forget(seg, err)
		return nil
	case why != "" && (err != nil || w.lacking(seg, c) != 0): // with what can be read of it
		return w.spool.putAside(seg, why, c.receipts(), now)
	case err != nil:
		return err
	}
	if c.damaged != "" || int64(c.intact) < seg.size {
		// It was whole when it was acknowledged, or could not be mended at the start.
		if err := w.spool.mend(seg, c, now); err != nil {
			return err
		}
		if seg.size == 0 {
			w.spool.drop(seg)
			return nil
		}
		return fmt.Errorf("cannot insert spool segment %q as it was: %s", seg.path, c.damaged)
	}
	if lacking := w.lacking(seg, c); lacking != 0 { // else it only could not be removed
		if err := w.insertTables(ctx, seg, c, lacking); err != nil {
			return err
		}
		w.finished++
	}
	if c.newer != "" {
		return w.spool.putAside(seg, fmt.Sprintf("a newer headroom wrote it, with %s, which this one does not know", c.newer), c.receipts(), now)
	}
	return w.spool.finish(seg, c.receipts(), now)
}

// lacking returns the tables that have rows in a segment, and of which ClickHouse does not have them as far as is known.
func (w *writer) lacking(seg *segment, c contents) (lacking tableSet) {
	for t := range tables {
		if _, rows := c.blocks(t); rows > 0 && !seg.inserted.has(t) {
			lacking = lacking.with(t)
		}
	}
	return lacking
}

// insertTables inserts the tables that ClickHouse lacks, side by side: one after the other they would leave a processor idle
// while the spool is emptied. One that ClickHouse refuses does not keep it from the others. A segment that has failed goes
// in table by table: ClickHouse may have the memory for that.
func (w *writer) insertTables(ctx context.Context, seg *segment, c contents, lacking tableSet) error {
	timeout := w.timeout << min(seg.unanswered, 4) // one that takes long takes longer when it has to be begun again
	insert := w.insert
	if w.dropped != nil {
		if gone := w.dropped(seg); len(gone) > 0 {
			insert = w.without(gone)
		}
	}
	var (
		wg    sync.WaitGroup
		errs  [tables]error
		tried tableSet
	)
	for t := range tables {
		if !lacking.has(t) {
			continue
		}
		tried = tried.with(t)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			blocks, rows := c.blocks(t)
			if errs[t] = insert(ctx, t, seg.id.token(t), blocks); errs[t] == nil {
				metrics.insertedRows[t].Add(rows)
			}
		})
		if seg.attempts == 0 {
			continue
		}
		wg.Wait()
		if refused := (*refusedError)(nil); errs[t] != nil && !errors.As(errs[t], &refused) {
			break
		}
	}
	wg.Wait()
	before := seg.inserted
	for t, err := range errs {
		if tried.has(table(t)) && err == nil {
			seg.inserted = seg.inserted.with(table(t))
		}
	}
	if seg.inserted != before {
		days := seg.days
		if days == 0 {
			days = w.maxDays
		}
		w.blocks += uint64(days)
	}
	err := joinFailures(errs[:])
	if err != nil && seg.inserted != before {
		w.spool.noteInserted(seg)
	}
	return err
}

// joinFailures says how an attempt ended. That ClickHouse gave no answer says more than that it was away, for then it was not;
// both say more than what it refused, and of that, that it takes nothing now, more than what it has against the rows.
func joinFailures(errs []error) error {
	var away, busy, refusals error
	for _, err := range errs {
		var (
			refused    *refusedError
			unanswered *unansweredError
		)
		switch {
		case err == nil:
		case errors.As(err, &refused) && refused.busy():
			busy = errors.Join(busy, err)
		case errors.As(err, &refused):
			refusals = errors.Join(refusals, err)
		case errors.As(err, &unanswered):
			return err
		case away == nil:
			away = &awayError{err}
		}
	}
	if away != nil {
		return away
	}
	return errors.Join(busy, refusals)
}

// blocks returns the blocks of a table in their order, and their rows.
func (c *contents) blocks(t table) (data [][]byte, rows int) {
	for _, r := range c.records {
		for _, b := range r.blocks {
			if b.table == t {
				data = append(data, b.data)
				rows += b.rows
			}
		}
	}
	return data, rows
}

func (w *writer) remember(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.lastInsert, w.lastError = time.Now(), ""
	} else {
		w.lastError = err.Error()
	}
}

func (w *writer) last() (time.Time, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastInsert, w.lastError
}
