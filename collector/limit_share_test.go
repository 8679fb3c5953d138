package collector

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/fault"
)

// A key that is alone may hold most of the memory, none may hold all of it, and one that holds nothing always gets
// something as long as others hold no more than their shares.
func TestMemoryIsShared(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const total = 1 << 20
		m := newMemory(total)
		held := map[int64]int64{}
		sum := int64(0)
		for range 300 {
			key, n := rapid.Int64Range(1, 8).Draw(t, "key"), rapid.Int64Range(1, 20_000).Draw(t, "bytes")
			if held[key] > 0 && rapid.Bool().Draw(t, "release") {
				m.release(key, held[key])
				sum, held[key] = sum-held[key], 0
				continue
			}
			err := m.reserve(key, n)
			if err == nil {
				held[key], sum = held[key]+n, sum+n
			} else if !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			if sum > total || m.inUse() != sum {
				t.Fatalf("%d bytes are held, %d are counted", sum, m.inUse())
			}
		}
		for key, n := range held {
			if n > 0 {
				m.release(key, n)
			}
		}
		if m.inUse() != 0 || len(m.of) != 0 {
			t.Fatalf("%d bytes of %d keys are left", m.inUse(), len(m.of))
		}
	})
}

func TestGreedyKeyLeavesRoomForOthers(t *testing.T) {
	const total, piece = 1 << 20, 1 << 10
	m := newMemory(total)
	fill := func(key int64) (n int64) {
		for m.reserve(key, piece) == nil {
			n += piece
		}
		return n
	}
	if alone := fill(1); alone < total*7/10 || alone > total*9/10 {
		t.Errorf("a key that is alone gets %d of %d bytes", alone, total)
	}
	if second := fill(2); second < total/10 {
		t.Errorf("the second key gets %d of %d bytes at once", second, total)
	}
	err := m.reserve(1, piece)
	if err == nil || !strings.Contains(err.Error(), "its share of the 1048576 that may") {
		t.Errorf("the first key asks for more: %v", err)
	}
	// As the first one's requests end, it gets no more than the second has.
	for range total / piece / 2 {
		m.release(1, piece)
		fill(2)
		fill(1)
	}
	if a, b := m.of[1], m.of[2]; a < total*3/10 || b < total*3/10 {
		t.Errorf("in the end the keys hold %d and %d of %d bytes", a, b, total)
	}
}

// With a thousand large bodies of one key waiting, another key's small one is the next to get in.
func TestGateTakesKeysByTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		var (
			mu    sync.Mutex
			order []string
			wg    sync.WaitGroup
		)
		work := func(name string, key int64, cost int) {
			wg.Go(func() {
				g.do(key, cost, func() {
					mu.Lock()
					order = append(order, name)
					mu.Unlock()
					<-time.After(time.Duration(cost))
				})
			})
			synctest.Wait()
		}
		for range 1000 {
			work("flood", 1, 1_000_000)
		}
		work("small", 2, 1000)
		work("small", 2, 1000)
		wg.Wait()
		first := order[:min(len(order), 8)]
		if got := fmt.Sprint(first); got != "[flood flood small small flood flood flood flood]" {
			t.Errorf("order %v", got)
		}
		if len(order) != 1002 || g.free != 2 || len(g.flows) != 0 || g.clock != 0 {
			t.Errorf("%d got in, %d places are free, %d keys are remembered", len(order), g.free, len(g.flows))
		}
	})
}

// Keys that always want in get the same amount of work done, however large their requests are.
func TestGateSharesWorkEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		var (
			mu   sync.Mutex
			done = map[int64]int{}
			wg   sync.WaitGroup
		)
		end := time.Now().Add(time.Second)
		for key, cost := range map[int64]int{1: 1_000_000, 2: 10_000, 3: 200_000} {
			for range 20 {
				wg.Go(func() {
					for time.Now().Before(end) {
						g.do(key, cost, func() {
							<-time.After(time.Duration(cost))
							mu.Lock()
							done[key] += cost
							mu.Unlock()
						})
					}
				})
			}
		}
		wg.Wait()
		for key, n := range done {
			if want := 2_000_000_000 / 3; n < want*8/10 || n > want*12/10 {
				t.Errorf("key %d got %d of work done, want about %d", key, n, want)
			}
		}
	})
}

func TestGateUnderConcurrency(t *testing.T) {
	g := newGate(3)
	var (
		mu         sync.Mutex
		in, most   int
		wg         sync.WaitGroup
		everything int
	)
	for range 50 {
		wg.Go(func() {
			for range 200 {
				g.do(rand.Int64N(5), rand.IntN(1000), func() {
					mu.Lock()
					in++
					most = max(most, in)
					everything++
					mu.Unlock()
					mu.Lock()
					in--
					mu.Unlock()
				})
			}
		})
	}
	wg.Wait()
	if most > 3 || everything != 10_000 || g.free != 3 {
		t.Errorf("%d at a time, %d in all, %d places free", most, everything, g.free)
	}
}

// A panic in a place gives the place back.
func TestGateSurvivesPanics(t *testing.T) {
	g := newGate(1)
	func() {
		defer func() { _ = recover() }()
		g.do(1, 1, func() { panic("x") })
	}()
	g.do(1, 1, func() {})
}
