package collector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// writer empties the spool into ClickHouse, one segment at a time, the oldest first.
//
// While ClickHouse cannot be reached, it waits and tries again, for ever. When it is the segment that cannot be inserted,
// because ClickHouse refuses it or the disk does not give it back, the others go first and it is tried again later.
type writer struct {
	spool  *spool
	insert func(ctx context.Context, t table, token string, blocks [][]byte) error
	log    *slog.Logger

	buf      []byte // the segment being inserted
	finished uint64 // segments, since the start
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

	// tokenLife is how many segments after its first attempt a segment may be tried again. ClickHouse remembers the
	// tokens of the last 10,000 blocks of a table, and a segment is one block a partition.
	tokenLife = 2000
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
		seg.firstTry = w.finished
	}
	started := time.Now()
	var err error
	if w.finished-seg.firstTry > tokenLife {
		err = w.spool.putAside(seg, "ClickHouse refused it for too long to try again: "+w.lastErrorText())
	} else {
		err = w.insertSegment(ctx, seg)
	}
	w.remember(err)
	if err == nil {
		w.failures = 0
		w.finished++
		metrics.insertSeconds.UpdateDuration(started)
		return
	}
	if ctx.Err() != nil {
		return
	}
	metrics.insertErrors.Inc()
	seg.attempts++
	w.failures++
	if now := time.Now(); now.After(w.quiet) {
		w.quiet = now.Add(logEvery)
		w.log.Error("cannot insert a segment; it stays in the spool and is tried again",
			"segment", seg.path, "attempts", seg.attempts, "error", err)
	}
	var another <-chan struct{} // ends the wait
	if away := (*awayError)(nil); !errors.As(err, &away) {
		w.spool.postpone(seg, time.Now().Add(backoff(seg.attempts, refusedMax)))
		another = w.spool.ready
	}
	w.wait(ctx, time.Now().Add(backoff(w.failures, longPause)), another)
}

func backoff(attempts int, most time.Duration) time.Duration {
	return min(most, firstPause<<min(attempts-1, 20))
}

// awayError says that ClickHouse could not be asked, or not heard: no other segment would fare better now.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// insertSegment inserts what ClickHouse does not have of the segment yet, and removes it.
func (w *writer) insertSegment(ctx context.Context, seg *segment) error {
	buf, c, err := w.spool.load(seg, w.buf)
	w.buf = reuse(buf)
	if err != nil {
		return err
	}
	if c.damaged != "" || int64(c.intact) < seg.size {
		// It was whole when it was acknowledged, or at the start.
		return w.spool.repair(seg, c)
	}
	for t := range tables {
		if seg.inserted[t] {
			continue
		}
		blocks, rows := c.blocks(t)
		if rows > 0 {
			err := w.insert(ctx, t, seg.id.token(t), blocks)
			if refused := (*refusedError)(nil); err != nil && !errors.As(err, &refused) {
				return &awayError{err}
			}
			if err != nil {
				return err
			}
		}
		seg.inserted[t] = true
		metrics.insertedRows[t].Add(rows)
	}
	return w.spool.finish(seg, c, time.Now())
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

func (w *writer) lastErrorText() string {
	_, text := w.last()
	return text
}
