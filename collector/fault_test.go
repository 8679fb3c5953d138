package collector

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// faultRounds returns how often a random fault is made: $HEADROOM_FAULT_ROUNDS, else few.
func faultRounds(t *testing.T, few int) int {
	t.Helper()
	s := os.Getenv("HEADROOM_FAULT_ROUNDS")
	if s == "" {
		return few
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("HEADROOM_FAULT_ROUNDS: %q is not a number of rounds", s)
	}
	return n
}

// client sends bodies until they are acknowledged, to one collector after the other.
type client struct {
	bodies       [][]byte
	acknowledged []bool
}

func newClient(t *testing.T, requests, spans int) *client {
	t.Helper()
	c := &client{acknowledged: make([]bool, requests)}
	for range requests {
		c.bodies = append(c.bodies, encode(t, export(mixed(spans, 2)...)))
	}
	return c
}

// try sends what is not acknowledged yet, and says whether all is now. A client that saw no answer in time sends again,
// so now and then it sends what was acknowledged.
func (c *client) try(t *testing.T, r *running, again func() bool) bool {
	t.Helper()
	all := true
	for i, body := range c.bodies {
		if c.acknowledged[i] && !again() {
			continue
		}
		switch resp := r.post(t, "/v1/traces", body); {
		case resp.status == http.StatusOK:
			c.acknowledged[i] = true
		case resp.status == http.StatusServiceUnavailable && resp.header.Get("Retry-After") != "":
			all = all && c.acknowledged[i]
		default:
			t.Fatalf("status %d: %s", resp.status, resp.body)
		}
	}
	return all
}

func never() bool  { return false }
func always() bool { return true }

// onDisk starts a collector over d whose segments are small.
func onDisk(t *testing.T, db *testenv.ClickHouse, dir string, d disk, set ...func(*Options)) *running {
	t.Helper()
	return start(t, db, dir, append([]func(*Options){func(o *Options) {
		o.disk, o.reserveSize, o.StopTimeout, o.MaxSegment = d, 64<<10, time.Millisecond, 4000
	}}, set...)...)
}

// Each step that the spool asks of its disk fails in turn, once or from then on for ever, because the disk is full or
// broken. Clients send again what got no 200, to the same process and then to the next. Everything is counted once.
func TestEveryDiskStepFails(t *testing.T) {
	t.Parallel()
	eachStep(t, []string{"mkdir", "list", "open", "write", "sync", "syncdir", "remove", "read", "rename"},
		func(db *testenv.ClickHouse, dir string, d disk, c *client) {
			r := onDisk(t, db, dir, d)
			defer r.stop()
			for range 2 {
				c.try(t, r, never)
			}
			awaitIdle(t, r)
		})
}

// The same for each step of a start over a spool with receipts, segments that wait, a torn one and a foreign file.
func TestEveryDiskStepOfAStartFails(t *testing.T) {
	t.Parallel()
	eachStep(t, []string{"mkdir", "list", "open", "write", "sync", "syncdir", "remove", "read", "rename", "truncate"},
		func(db *testenv.ClickHouse, dir string, d disk, c *client) {
			var away atomic.Bool
			before := faulty(t, db, dir, func(_ table, insert func() error) error {
				if away.Load() {
					return errInjected
				}
				return insert()
			}, func(o *Options) { o.reserveSize = 64 << 10 })
			half := &client{bodies: c.bodies[:2], acknowledged: c.acknowledged[:2]}
			half.try(t, before, never)
			before.awaitEmptySpool(t)
			away.Store(true)
			c.try(t, before, never)
			before.stop()
			segments, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
			last := segments[len(segments)-1]
			src, err := os.ReadFile(last)
			if err == nil { // without its end, with half a record
				src = src[:len(src)-recordHeader]
				err = os.WriteFile(last, append(src, src[headerSize:headerSize+100]...), 0o600)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "what"+segmentSuffix), []byte("?"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			r := onDisk(t, db, dir, d)
			defer r.stop()
			c.try(t, r, always)
			awaitIdle(t, r)
		})
}

// eachStep lets scenario run over a disk whose first step of each kind fails, then over one whose second does, until none is
// left to fail: alone, with those that follow, which are to mend it, or for ever. After each, a healthy disk has to take what
// is not acknowledged yet, and everything has to be counted once.
func eachStep(t *testing.T, steps []string, scenario func(db *testenv.ClickHouse, dir string, d disk, c *client)) {
	db := testenv.NewClickHouse(t)
	const requests, spans, forEver = 3, 8, 1 << 30
	type plan struct {
		err   error
		times int // how many steps fail in a row, of whatever kind
	}
	plans := []plan{{syscall.ENOSPC, 1}, {syscall.EIO, forEver}, {syscall.EIO, 2}, {syscall.EROFS, forEver}, {syscall.EIO, 1}, {syscall.ENOSPC, 3}}
	thorough := os.Getenv("HEADROOM_FAULT_ROUNDS") != "" // else a plan a step, each in its turn
	total, runs, failed := 0, 0, map[string]int{}
	for _, kind := range steps {
		for nth, more := 1, true; more; nth++ {
			more = false
			for i, p := range plans {
				if !thorough && i != runs%len(plans) {
					continue
				}
				runs++
				n, left := 0, p.times
				d := newTestDisk(func(name, _ string) error {
					if name == kind {
						n++
					}
					if n < nth || left == 0 {
						return nil
					}
					left--
					failed[name]++
					return p.err
				})
				dir := filepath.Join(t.TempDir(), "spool")
				c := newClient(t, requests, spans)
				scenario(db, dir, d, c)
				more = more || n >= nth

				r := onDisk(t, db, dir, osDisk{})
				if !c.try(t, r, always) {
					t.Fatalf("%s %d, %v: a healthy disk takes nothing", kind, nth, p)
				}
				r.awaitEmptySpool(t)
				r.stop()
				total += requests * spans
				if got, want := countAll(t, db), wantMixed(uint64(total)); got != want {
					t.Fatalf("%s %d and what follows fail with %q, %d in a row:\n got %+v\nwant %+v", kind, nth, p.err, p.times, got, want)
				}
				if !thorough {
					break
				}
			}
			if nth == 1 && !more {
				t.Errorf("no %s failed", kind)
			}
		}
	}
	t.Logf("%d spans in %d runs; steps that failed: %v", total, runs, failed)
}

// awaitIdle waits until the spool is empty, its writer has failed, or it could not cut off what it could not write.
func awaitIdle(t *testing.T, r *running) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		r.spool.mu.Lock()
		uncut := r.spool.uncut
		r.spool.mu.Unlock()
		if s := r.Stats(); s.BacklogFiles == 0 || s.InsertError != "" || uncut {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the spool neither empties nor fails: %+v", r.Stats())
		case <-tick.C:
		}
	}
}

// The power is cut at a random step, again and again over one spool: what was not synced is lost, as chance has it. Before
// that some steps fail, so that what was to mend them is lost too.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	dir := filepath.Join(t.TempDir(), "spool")
	rounds := faultRounds(t, 10)
	const requests, spans = 8, 8
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	var clients []*client
	for round := range rounds {
		at, n := 10+rng.IntN(120), 0
		fails, times := rng.IntN(at), rng.IntN(4) // in a row
		var d *testDisk
		d = newTestDisk(func(string, string) error {
			if n++; n >= at {
				d.dead = true // the caller holds the lock
				return errPowerCut
			}
			if n >= fails && n < fails+times {
				return syscall.EIO
			}
			return nil
		})
		r := onDisk(t, db, dir, d)
		clients = append(clients, newClient(t, requests, spans))
		for range 4 {
			for _, c := range clients[max(0, len(clients)-3):] {
				c.try(t, r, func() bool { return rng.IntN(4) == 0 })
			}
		}
		d.die()
		r.stop()
		if err := d.cutPower(rng); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
	}
	r := onDisk(t, db, dir, osDisk{})
	for _, c := range clients {
		if !c.try(t, r, never) {
			t.Fatal("a healthy disk takes nothing")
		}
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(uint64(len(clients)*requests*spans)); got != want {
		t.Errorf("seed %d, %d cuts:\n got %+v\nwant %+v", seed, rounds, got, want)
	}
	if n := r.spool.quarantineFiles.Load(); n > 0 {
		t.Errorf("seed %d: %d files are in the quarantine; a power cut tears, it does not damage", seed, n)
	}
	t.Logf("%d power cuts, %d requests", rounds, len(clients)*requests)
}

// A record cannot be written, or not synced, and then not be cut off again either: until that has succeeded nothing is taken,
// and nobody gets the segment that it is in. Its request is counted once, whether it is sent again to the same process, or to
// the next after the record came back.
func TestRecordThatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	total := uint64(0)
	for _, failing := range []string{"write", "sync"} {
		for _, mending := range []string{"open", "truncate", "sync"} {
			for _, restarts := range []bool{false, true} {
				var armed, broken atomic.Bool
				d := newTestDisk(func(step, path string) error {
					switch {
					case filepath.Ext(path) != segmentSuffix:
					case step == failing && armed.CompareAndSwap(true, false):
						broken.Store(true)
						return syscall.EIO
					case step == mending && broken.Load():
						return syscall.EIO
					}
					return nil
				})
				dir := t.TempDir()
				r := onDisk(t, db, dir, d, func(o *Options) { o.MaxSegment, o.SealAfter = 1<<20, time.Hour })
				name := failing + " and " + mending
				r.send(t, mixed(8, 1)...)
				armed.Store(true)
				body := encode(t, export(mixed(8, 1)...))
				for range 2 {
					if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" {
						t.Fatalf("%s fail: status %d %q", name, resp.status, resp.body)
					}
				}
				if seg, _ := r.spool.next(time.Now()); seg != nil || r.spool.takes() {
					t.Errorf("%s fail: the segment waits to be inserted: %t; the spool takes requests: %t", name, seg != nil, r.spool.takes())
				}
				if restarts {
					d.die()
					r.stop()
					r = onDisk(t, db, dir, osDisk{})
				} else {
					broken.Store(false)
				}
				one := &client{bodies: [][]byte{body}, acknowledged: []bool{false}}
				deadline := time.Now().Add(30 * time.Second)
				for !one.try(t, r, never) {
					if time.Now().After(deadline) {
						t.Fatalf("%s fail: still refused", name)
					}
				}
				r.stop()
				r = onDisk(t, db, dir, osDisk{})
				r.awaitEmptySpool(t)
				r.stop()
				total += 16
				if got, want := countAll(t, db), wantMixed(total); got != want {
					t.Fatalf("%s fail, restart %t:\n got %+v\nwant %+v", name, restarts, got, want)
				}
			}
		}
	}
}
