package demo

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	chunkSeconds  = 300  // of history that one worker makes at a time
	maxBodySpans  = 6000 // spans in a request; a body is cut at the next second
	historyWorker = 3    // two make spans while one waits for an acknowledgement
)

// chunk is a stretch of history, whole seconds from From to before Until.
type chunk struct{ from, until time.Time }

// chunks cuts history into stretches, the newest first: what people look at comes before what they scroll to. Minutes
// that are there already, by minuteOf, are left out.
func chunks(from, until time.Time, have map[int64]bool) []chunk {
	var list []chunk
	for end := until; end.After(from); {
		begin := end.Add(-time.Second).Truncate(time.Minute)
		if begin.Before(from) {
			begin = from
		}
		if !have[minuteOf(begin)] {
			last := len(list) - 1
			if last >= 0 && list[last].from.Equal(end) && list[last].until.Sub(begin) <= chunkSeconds*time.Second {
				list[last].from = begin
			} else {
				list = append(list, chunk{begin, end})
			}
		}
		end = begin
	}
	return slices.Clip(list)
}

// minuteOf numbers the minutes since 1970.
func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// filler pushes the past.
type filler struct {
	traffic  func() *Traffic // a new one for each worker
	schedule *Schedule
	live     time.Time // offsets of the schedule count from here
	pusher   *pusher
	log      *slog.Logger
}

// fill pushes all chunks, several at a time, and returns how many spans were acknowledged.
func (f *filler) fill(ctx context.Context, list []chunk) (int64, error) {
	var spans, done atomic.Int64
	next := make(chan chunk)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, c := range list {
			select {
			case next <- c:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	for range historyWorker {
		g.Go(func() error {
			s := sender{traffic: f.traffic(), schedule: f.schedule, live: f.live, pusher: f.pusher}
			for c := range next {
				n, err := s.send(ctx, c)
				if err != nil {
					return fmt.Errorf("cannot fill history from %s: %w", c.from.UTC().Format(time.RFC3339), err)
				}
				total := spans.Add(n)
				if d := done.Add(1); d*4/int64(len(list)) > (d-1)*4/int64(len(list)) {
					f.log.InfoContext(ctx, "filling history", "percent", d*100/int64(len(list)), "spans", total)
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return spans.Load(), err
}

// sender makes spans and pushes them. One goroutine at a time.
type sender struct {
	traffic    *Traffic
	schedule   *Schedule
	live       time.Time
	pusher     *pusher
	encoder    Encoder
	compressor compressor
	spans      []Span
	body       []byte
}

// send pushes all seconds of a chunk and returns how many spans were acknowledged.
func (s *sender) send(ctx context.Context, c chunk) (sent int64, err error) {
	s.spans = s.spans[:0]
	for t := c.from; t.Before(c.until); t = t.Add(time.Second) {
		s.spans = s.traffic.Second(s.spans, t, s.schedule.Effects(t.Sub(s.live)))
		if last := !t.Add(time.Second).Before(c.until); !last && len(s.spans) < maxBodySpans {
			continue
		}
		n, err := s.flush(ctx)
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (s *sender) flush(ctx context.Context) (int64, error) {
	if len(s.spans) == 0 {
		return 0, nil
	}
	s.body = s.encoder.Encode(s.body[:0], s.spans)
	packed, err := s.compressor.compress(s.body)
	if err != nil {
		return 0, err
	}
	rejected, err := s.pusher.push(ctx, packed)
	n := int64(len(s.spans)) - rejected
	s.spans = s.spans[:0]
	if err != nil {
		return 0, err
	}
	return n, nil
}
