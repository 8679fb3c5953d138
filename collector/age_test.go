package collector

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// When what waits for ClickHouse is too old, new requests get a 503; repetitions of what is in the spool do not.
func TestSpoolAgeLimit(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	var away atomic.Bool
	away.Store(true)
	r := faulty(t, db, t.TempDir(), func(_ table, insert func() error) error {
		if away.Load() {
			return errInjected
		}
		return insert()
	}, func(o *Options) { o.MaxSpoolAge = 200 * time.Millisecond })
	first, second := encode(t, export(mixed(8, 1)...)), encode(t, export(mixed(8, 1)...))
	r.sendBody(t, first)
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	sent := uint64(1)
	for {
		resp := r.post(t, "/v1/traces", second)
		if resp.status == 503 {
			if resp.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		sent++
		second = encode(t, export(mixed(8, 1)...))
		select {
		case <-deadline:
			t.Fatal("nothing was refused")
		case <-tick.C:
		}
	}
	r.sendBody(t, first)
	away.Store(false)
	r.awaitEmptySpool(t)
	r.sendBody(t, second)
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(8*(sent+1)); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

// A segment that waits for a person, because ClickHouse takes others, is not what the age limit is for.
func TestSpoolAgeIgnoresPoison(t *testing.T) {
	now := time.Now()
	s := newSpool(osDisk{}, spoolOptions{log: testLogger(t), maxBytes: 1 << 20, maxAge: time.Hour})
	s.usable, s.reserved = true, true
	old := &segment{created: now.Add(-2 * time.Hour)}
	s.enqueue(old)
	if s.refusal(now) == nil {
		t.Error("an old segment is no reason to refuse")
	}
	s.postpone(old, now, false)
	if s.refusal(now) == nil {
		t.Error("one that ClickHouse was too busy for is no reason to refuse")
	}
	s.postpone(old, now, true)
	if err := s.refusal(now); err != nil {
		t.Error(err)
	}
	s.enqueue(&segment{created: now.Add(-2 * time.Hour)})
	if s.refusal(now) == nil {
		t.Error("another old segment is no reason to refuse")
	}
}
