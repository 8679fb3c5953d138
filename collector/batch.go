package collector

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// batch is the decoded rows of requests that will be acknowledged together, and what was refused meanwhile. It belongs to
// its lane until the committer takes it, then to the committer, which returns its columns to the pool and closes done when
// err is set.
type batch struct {
	cols     *columns
	receipts []receipt
	spans    int
	points   int       // of metrics
	numbers  int       // that these are stored as
	size     int       // bytes of the bodies in it
	began    time.Time // when the first came
	done     chan struct{}
	err      error
}

// lane is a place to decode into. There is one for each processor, so that requests are decoded side by side.
type lane struct {
	mu     sync.Mutex // held while a request is decoded into cur
	dec    decoder
	cur    *batch
	closed bool // the last batch was taken: nothing may be added
}

// committer gathers batches and writes them to the spool: all that arrives within a short time shares one fsync.
type committer struct {
	spool     *spool
	window    *window
	named     *namedSeries
	linger    time.Duration
	sealAfter time.Duration
	maxBatch  int           // bytes of bodies after which it does not wait any longer
	patience  time.Duration // how long a full lane may wait for the disk

	lanes   []*lane
	turn    atomic.Uint32
	waiting atomic.Int64  // bytes of bodies decoded and not taken yet
	wake    chan struct{} // something waits
	enough  chan struct{} // maxBatch is reached
	free    chan *columns
	flush   chan flushed // see departed
	rate    rate

	// Of run.
	encoders []*encoder
	blocks   [][]byte // memory of encoded blocks, by lane and table
	record   []byte
}

func newCommitter(sp *spool, w *window, named *namedSeries, opts decodeOptions, lanes int) *committer {
	words := newMapped()
	c := &committer{
		spool: sp, window: w, named: named,
		wake: make(chan struct{}, 1), enough: make(chan struct{}, 1), flush: make(chan flushed),
		free: make(chan *columns, 2*lanes), blocks: make([][]byte, lanes*int(tables)),
	}
	for range lanes {
		c.lanes = append(c.lanes, &lane{dec: decoder{opts: opts, named: named, vocabulary: words}, cur: &batch{cols: newColumns(), done: make(chan struct{})}})
		c.encoders = append(c.encoders, newEncoder())
	}
	return c
}

// limit makes the lanes hold tenants to their quotas. It is called before anything is added.
func (c *committer) limit(by *limiter) {
	for _, l := range c.lanes {
		l.dec.limits.limiter = by
	}
}

// errStopping is the answer to requests that come while the collector stops.
var errStopping = fault.New(fault.Unavailable, "the collector is stopping")

// isEmpty reports whether there is nothing to be stored.
func (b *batch) isEmpty() bool { return len(b.receipts) == 0 && len(b.cols.ledger) == 0 }

// add decodes a body into the batch being gathered and returns that batch. The caller waits for done. When the body is
// malformed, or all that is in it was refused, nothing of it is to be stored and the batch is nil.
func (c *committer) add(req request, d digest, now time.Time) (*batch, outcome, error) {
	l := c.acquire()
	defer l.mu.Unlock()
	if err := l.awaitRoom(c.patience); err != nil {
		return nil, outcome{}, err
	}
	if l.closed {
		return nil, outcome{}, errStopping
	}
	if l.cur.isEmpty() {
		l.cur.began = time.Now()
	}
	defer l.forgetUnused()
	out, err := l.dec.decode(req, l.cur.cols, now)
	if err != nil {
		hint := ""
		if len(req.body) > 0 && req.body[0] == '{' { // no field of OTLP begins so
			hint = "; it looks like JSON, which is sent as " + typeJSON
		}
		return nil, out, fault.Wrap(err, fault.Invalid, "the body is no %s: %s%s", req.signal.message, err, hint)
	}
	if out.accepted == 0 {
		if !l.cur.isEmpty() {
			notify(c.wake) // it is stored how much was refused; nobody waits for it
		}
		return nil, out, nil
	}
	b := l.cur
	b.receipts = append(b.receipts, receipt{digest: d, at: now.Unix(), answer: out.answer().brief()})
	if req.signal == traces {
		b.spans += out.accepted
	} else {
		b.points += out.accepted
		b.numbers += out.numbers
	}
	b.size += len(req.body)
	if c.waiting.Add(int64(len(req.body))) >= int64(c.maxBatch) {
		notify(c.enough)
	}
	notify(c.wake)
	return b, out, nil
}

// awaitRoom waits while the lane is full. Those that wait hold a place where others of their key, and of other keys, want to
// decode: so all of them wait no longer than the first of the batch.
func (l *lane) awaitRoom(patience time.Duration) error {
	for !l.closed && !l.cur.isEmpty() && l.cur.cols.size() > maxLane {
		full, began := l.cur.done, l.cur.began
		l.mu.Unlock()
		err := awaitStored(full, patience, time.Since(began))
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitStored waits until a batch is stored, or could not be, as long as patience is left after what was waited already.
func awaitStored(done <-chan struct{}, patience, waited time.Duration) error {
	left := time.NewTimer(patience - waited)
	defer left.Stop()
	select {
	case <-done:
		return nil
	case <-left.C:
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter,
			Message: fmt.Sprintf("the disk has not stored it within %s", patience)}
	}
}

// forgetUnused forgets the words that requests of which nothing is stored left in the dictionaries, when there is nothing
// else: no commit would take them away.
func (l *lane) forgetUnused() {
	if l.cur.isEmpty() {
		l.cur.cols.reset()
	}
}

// acquire returns a locked lane, a free one if there is one.
func (c *committer) acquire() *lane {
	first := int(c.turn.Add(1)) % len(c.lanes)
	for i := range c.lanes {
		if l := c.lanes[(first+i)%len(c.lanes)]; l.mu.TryLock() {
			return l
		}
	}
	l := c.lanes[first]
	l.mu.Lock()
	return l
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run commits until ctx is done; then it commits what is left, seals and refuses everything after.
func (c *committer) run(ctx context.Context) {
	tick := time.NewTicker(sealTick)
	defer tick.Stop()
	linger := time.NewTimer(c.linger)
	defer linger.Stop()
	for {
		select {
		case <-c.wake:
			linger.Reset(c.linger)
			select {
			case <-linger.C:
			case <-c.enough:
			case <-ctx.Done():
			}
			c.commit(time.Now(), false)
		case f := <-c.flush:
			c.commit(time.Now(), false)
			c.spool.seal()
			c.spool.begins(f.generation)
			close(f.done)
		case <-tick.C:
			c.window.expire(time.Now())
		case <-ctx.Done():
			c.commit(time.Now(), true)
			c.spool.seal()
			return
		}
		if c.spool.sealDue(time.Now(), c.sealAfter) {
			c.spool.seal()
		}
	}
}

// sealTick is how often an open segment's age is looked at when nothing arrives.
const sealTick = 100 * time.Millisecond

// take swaps fresh batches into the lanes and returns those that hold something. The result has a place a lane.
func (c *committer) take(last bool) []*batch {
	taken := make([]*batch, len(c.lanes))
	for i, l := range c.lanes {
		l.mu.Lock()
		if !l.cur.isEmpty() {
			taken[i] = l.cur
			c.waiting.Add(-int64(l.cur.size))
			l.cur = &batch{cols: c.freeColumns(), done: make(chan struct{})}
		}
		l.closed = l.closed || last
		l.mu.Unlock()
	}
	return taken
}

func (c *committer) freeColumns() *columns {
	select {
	case cols := <-c.free:
		return cols
	default:
		return newColumns()
	}
}

// commit makes one record of all batches, stores it and tells the waiting requests.
func (c *committer) commit(now time.Time, last bool) {
	taken := c.take(last)
	var receipts []receipt
	batches, spans, points, numbers := 0, 0, 0, 0
	for _, b := range taken {
		if b != nil {
			batches++
			receipts = append(receipts, b.receipts...)
			spans += b.spans
			points += b.points
			numbers += b.numbers
		}
	}
	if batches == 0 {
		return
	}
	err := c.encode(taken, receipts, now)
	if err == nil {
		err = c.spool.append(c.record, spans+numbers, days(taken, now), now)
	}
	if err == nil {
		metrics.commitSeconds.UpdateDuration(now)
		metrics.accepted.Add(spans)
		metrics.acceptedPoints.Add(points)
		c.rate.add(spans, now)
		c.window.commit(receipts)
	} else {
		err = fault.Wrap(err, fault.Unavailable, "the spool cannot be written")
		for _, r := range receipts {
			c.window.settle(r.digest, answer{}, err)
		}
	}
	for _, b := range taken {
		if b != nil {
			b.err = err
			if err == nil {
				b.cols.metric.settle(c.named)
			} else {
				b.cols.cut(mark{}) // the clients send it again, and are charged again
			}
			close(b.done)
			c.recycle(b.cols)
		}
	}
	c.record = reuse(c.record)
	for i := range c.blocks {
		c.blocks[i] = reuse(c.blocks[i])
	}
	for _, e := range c.encoders {
		e.raw.Buf = reuse(e.raw.Buf)
	}
}

// days returns over how many days the batches' rows may be spread: a table gets a block a day from them.
func days(taken []*batch, now time.Time) int {
	oldest := now.UnixNano()
	for _, b := range taken {
		if b != nil {
			oldest = min(oldest, b.cols.oldest())
		}
	}
	return maxDays(now.Sub(time.Unix(0, oldest)))
}

// maxDays returns over how many days rows may be spread that are no older than age.
func maxDays(age time.Duration) int {
	return int(age/(24*time.Hour)) + 3 // a part of a day at both ends, and the future
}

// maxKept bounds each piece of memory that is kept for reuse: that of an unusually large batch is left to the collector
// of garbage.
const maxKept = 32 << 20

// reuse returns the memory of buf, emptied, unless it is unusually large.
func reuse(buf []byte) []byte {
	if cap(buf) > maxKept {
		return nil
	}
	return buf[:0]
}

func (c *committer) recycle(cols *columns) {
	if cap(cols.spans.attributeValues.buf) > maxKept || cols.metric.kept() > maxKept {
		return
	}
	cols.reset()
	select {
	case c.free <- cols:
	default:
	}
}

// encode turns the batches into c.record. Lanes are encoded side by side.
func (c *committer) encode(taken []*batch, receipts []receipt, now time.Time) error {
	var (
		wg     sync.WaitGroup
		blocks = make([]block, len(c.blocks))
		errs   = make([]error, len(taken))
	)
	for i, b := range taken {
		if b == nil {
			continue
		}
		wg.Go(func() {
			b.cols.ingest.fill(b.cols.ledger, now)
			for t := range tables {
				at := i*int(tables) + int(t)
				in, rows := b.cols.input(t)
				if rows == 0 {
					continue
				}
				data, raw, err := c.encoders[i].block(c.blocks[at][:0], in, rows)
				if err != nil {
					errs[i] = fmt.Errorf("cannot encode rows of %q: %w", tableNames[t], err)
					return
				}
				c.blocks[at] = data
				blocks[at] = block{table: t, rows: rows, raw: raw, data: data}
			}
		})
	}
	wg.Wait()
	used := blocks[:0]
	for _, b := range blocks {
		if b.rows > 0 {
			used = append(used, b)
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	c.record = appendRecord(c.record[:0], receipts, used)
	return nil
}
