package statuspage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	recordsTimeout = 5 * time.Second
	measureTimeout = 45 * time.Second
	saveEvery      = 30 * time.Second // while only measurements change
)

// publisher is the state of Run. One goroutine owns it; the other one measures and hands its result over, so that a slow
// ClickHouse never holds back what a person has written.
type publisher struct {
	s        *Service
	records  *records
	measured *measurement

	failing  map[string]bool // databases whose failure is in the log already
	saved    []byte          // as it is on disk
	savedAt  time.Time
	rendered renderKey
}

// renderKey tells whether pages would come out the same: nothing but the view and the minute goes into them.
type renderKey struct {
	view   string
	minute time.Time
	stale  staleness
}

// Run keeps the pages current until ctx is done, and then stores the last state. It returns nil then; a database that is
// away is logged once and tried again.
func (s *Service) Run(ctx context.Context) error {
	p := &publisher{s: s, failing: map[string]bool{}}
	ask, answer := make(chan []string), make(chan measured)
	var wg sync.WaitGroup
	wg.Go(func() { s.measureLoop(ctx, ask, answer) })
	defer wg.Wait()

	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	busy := false
	// wait returns when it is time to look again, and false when ctx is done.
	wait := func() bool {
		for {
			select {
			case <-ctx.Done():
				return false
			case <-s.kick:
				return true
			case <-tick.C:
				return true
			case m := <-answer:
				busy = false
				p.took(ctx, m)
				p.publish(ctx, time.Now())
			}
		}
	}
	for {
		p.readRecords(ctx)
		if !busy && p.records != nil {
			select {
			case ask <- p.records.sloNames():
				busy = true
			case <-ctx.Done():
			}
		}
		p.publish(ctx, time.Now())
		if !wait() {
			p.save(context.WithoutCancel(ctx), true)
			return nil
		}
	}
}

// measured is what came of a measurement.
type measured struct {
	m   *measurement
	err error
}

// measureLoop answers each question with a measurement.
func (s *Service) measureLoop(ctx context.Context, ask <-chan []string, answer chan<- measured) {
	var last *measurement
	for {
		select {
		case <-ctx.Done():
			return
		case names := <-ask:
			mctx, cancel := context.WithTimeout(ctx, measureTimeout)
			m, err := measure(mctx, s.o.SLO, names, last)
			cancel()
			if err == nil {
				last = m
			}
			select {
			case answer <- measured{m, err}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Refresh looks at both databases and publishes what it saw, or what is left of it, before it returns. It is for a start
// that wants its first page at once; Run does the same again and again.
func (s *Service) Refresh(ctx context.Context) error {
	p := &publisher{s: s, failing: map[string]bool{}}
	p.readRecords(ctx)
	if p.records == nil {
		return fmt.Errorf("cannot read the status page's records")
	}
	m, err := measure(ctx, s.o.SLO, p.records.sloNames(), nil)
	p.took(ctx, measured{m, err})
	p.publish(ctx, time.Now())
	return err
}

func (p *publisher) readRecords(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recordsTimeout)
	defer cancel()
	r, err := p.s.readRecords(ctx)
	p.note(ctx, "postgresql", err)
	if err == nil {
		p.records = r
	}
}

func (p *publisher) took(ctx context.Context, m measured) {
	p.note(ctx, "clickhouse", m.err)
	if m.err == nil {
		p.measured = m.m
	}
}

// note logs the first of a row of failures and the return.
func (p *publisher) note(ctx context.Context, database string, err error) {
	switch {
	case err != nil && !errors.Is(err, context.Canceled) && !p.failing[database]:
		p.failing[database] = true
		p.s.log.ErrorContext(ctx, "the status page cannot read and keeps its last good state", "database", database, "error", err)
	case err == nil && p.failing[database]:
		delete(p.failing, database)
		p.s.log.InfoContext(ctx, "the status page can read again", "database", database)
	}
}

// publish renders what is known as of now and stores it. Without a look at PostgreSQL since the start it is what the disk
// held, which grows older.
func (p *publisher) publish(ctx context.Context, now time.Time) {
	s := p.s
	st := s.last.Load()
	if p.records != nil {
		st = buildState(s.o.Name, p.records, p.measured, st, now)
	}
	if st == nil {
		return
	}
	s.last.Store(st)
	key := renderKey{viewDigest(st.View), now.Truncate(time.Minute), st.View.staleness(now, s.o.StaleAfter)}
	if key != p.rendered {
		if err := s.render(st.View, now); err != nil {
			s.log.ErrorContext(ctx, "the status page cannot be rendered", "error", err)
			return
		}
		p.rendered = key
	}
	p.save(ctx, false)
}

// save stores the state when it has changed: what people wrote at once, measurements every saveEvery.
func (p *publisher) save(ctx context.Context, force bool) {
	st := p.s.last.Load()
	if st == nil || p.records == nil {
		return
	}
	content := []byte(viewDigest(&View{Name: st.View.Name, Incidents: st.View.Incidents, Changelog: st.View.Changelog}) + statusDigest(st.View))
	if !force && bytes.Equal(content, p.saved) && time.Since(p.savedAt) < saveEvery {
		return
	}
	if err := writeSnapshot(p.s.snapshotFile(), st); err != nil {
		p.s.log.ErrorContext(ctx, "the last good state cannot be stored", "file", p.s.snapshotFile(), "error", err)
		return
	}
	p.saved, p.savedAt = content, time.Now()
}

// viewDigest is the view without the times at which it was read: as long as it is the same, so are the pages.
func viewDigest(v *View) string {
	w := *v
	w.RecordsAt, w.MeasuredAt = time.Time{}, time.Time{}
	b, err := json.Marshal(&w)
	if err != nil {
		panic("BUG: " + err.Error()) // plain values only
	}
	return string(b)
}

func statusDigest(v *View) string {
	var b bytes.Buffer
	for _, c := range v.Components() {
		fmt.Fprintf(&b, "%q %q %s\n", c.ID, c.Name, c.Status)
	}
	return b.String()
}

// staleness says which of the two sources a view is too old in.
type staleness struct{ records, measured bool }

func (v *View) staleness(now time.Time, after time.Duration) staleness {
	old := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) > after }
	return staleness{records: old(v.RecordsAt), measured: v.anyMeasured() && old(v.MeasuredAt)}
}

func (v *View) anyMeasured() bool {
	for _, c := range v.Components() {
		if c.Measured {
			return true
		}
	}
	return false
}
