package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/internal/testenv"
)

func TestResentRequestIsAcknowledgedNotCounted(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	bad := server("bad")
	bad.TraceId = nil
	body := encode(t, export(append(mixed(40, 1), bad)...))

	r := faulty(t, db, dir, func(table, func() error) error { return errInjected })
	first := r.sendBody(t, body)
	if first.GetRejectedSpans() != 1 {
		t.Fatalf("partial success %v", first)
	}
	check := func(when string) {
		t.Helper()
		if again := r.sendBody(t, body); !proto.Equal(first, again) {
			t.Errorf("%s: answer %v, want %v", when, again, first)
		}
	}
	check("at once")
	r.stop()

	r = start(t, db, dir)
	check("after a restart, from the spool")
	r.awaitEmptySpool(t)
	r.stop()

	r = start(t, db, dir)
	check("after a restart, when the segment is gone")
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(40); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}

	// Another key is another client.
	if resp := r.post(t, "/v1/traces", body, "Authorization", "Bearer other"); resp.status != http.StatusOK {
		t.Fatal(resp.status)
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(80); got != want {
		t.Errorf("counts with another key:\n got %+v\nwant %+v", got, want)
	}
}

func TestConcurrentDuplicatesCountOnce(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.Linger = 20 * time.Millisecond })
	for range 5 {
		body := encode(t, export(mixed(40, 1)...))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { r.sendBody(t, body) })
		}
		wg.Wait()
	}
	r.awaitEmptySpool(t)
	if got, want := countAll(t, db), wantMixed(200); got != want {
		t.Errorf("counts:\n got %+v\nwant %+v", got, want)
	}
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10*time.Minute, 3)
		d := func(n int) digest { return digestOf("/v1/traces", 1, fmt.Append(nil, n)) }
		isNew := func(n int) {
			t.Helper()
			if _, known, other := w.begin(d(n), time.Now()); known || other != nil {
				t.Errorf("request %d is known, want it new", n)
			}
		}
		isKnown := func(n int, want answer) {
			t.Helper()
			if a, known, _ := w.begin(d(n), time.Now()); !known || a != want {
				t.Errorf("request %d: known %t with answer %+v, want %+v", n, known, a, want)
			}
		}
		commit := func(n int, a answer) { w.commit([]receipt{{d(n), time.Now().Unix(), a}}) }

		isNew(1)
		_, _, other := w.begin(d(1), time.Now())
		if other == nil {
			t.Fatal("a request on its way is not known")
		}
		w.settle(d(1), answer{}, errInjected)
		if <-other.done; !errors.Is(other.err, errInjected) {
			t.Errorf("the second got %v, want the first's error", other.err)
		}
		isNew(1) // a failure is not remembered
		commit(1, answer{2, "two"})
		isKnown(1, answer{2, "two"})
		time.Sleep(9*time.Minute + 59*time.Second) // of the bubble
		isKnown(1, answer{2, "two"})
		time.Sleep(2 * time.Second)
		w.expire(time.Now())
		if w.len() != 0 || len(w.messages.things) != 0 {
			t.Errorf("%d requests are remembered after the window", w.len())
		}
		isNew(1)
		for n := range 10 {
			commit(10+n, answer{})
		}
		if w.len() != 3 {
			t.Errorf("%d requests are remembered, want 3 at most", w.len())
		}
		isKnown(19, answer{})
		isNew(10)
	})
}

// However many tiny requests one key sends, it makes only its own be forgotten, in the order in which they came; and what
// is known after a restart is as fairly shared.
func TestWindowIsSharedByKeys(t *testing.T) {
	now := time.Now()
	of := func(key int64, n int) receipt {
		return receipt{digestOf("/v1/traces", key, fmt.Append(nil, n)), now.Unix(), answer{1, fmt.Sprint("message ", n)}}
	}
	w := newWindow(10*time.Minute, 1000)
	var stored []receipt // as the journal has it: without the keys
	commit := func(r receipt) {
		w.commit([]receipt{r})
		stored = append(stored, r)
	}
	check := func(when string, first int) {
		t.Helper()
		for n := range 100 {
			if a, known, _ := w.begin(of(2, n).digest, now); !known || a != (answer{1, fmt.Sprint("message ", n)}) {
				t.Fatalf("%s: request %d of the quiet key: known %t with %+v", when, n, known, a)
			}
		}
		for _, n := range []int{first - 1, first} {
			if _, known, _ := w.begin(of(1, n).digest, now); known != (n == first) {
				t.Errorf("%s: request %d of the flood: known %t", when, n, known)
			}
		}
		if w.len() != 1000 {
			t.Errorf("%s: %d requests are remembered, want 1000", when, w.len())
		}
	}
	for n := range 100 {
		commit(of(2, n))
	}
	for n := range 20_000 {
		commit(of(1, n))
	}
	check("after the flood", 19_100)
	w = newWindow(10*time.Minute, 1000)
	w.restore(stored)
	check("after a restart", 19_100)
	w.expire(now.Add(10 * time.Minute))
	if w.len() != 0 || len(w.messages.things) != 0 || len(w.done.shares) != 0 {
		t.Errorf("%d requests of %d keys are remembered after the window", w.len(), len(w.done.shares))
	}
}

// What a former version has acknowledged is known when it comes again after an upgrade: it had the hash to its end.
func TestReceiptsOfAFormerVersionAreKnown(t *testing.T) {
	now, body := time.Now(), []byte("body")
	var former digest
	for i := range 2 {
		h := xxhash.NewWithSeed(7<<1 | uint64(i))
		_, _ = h.WriteString("/v1/traces" + string(body))
		binary.LittleEndian.PutUint64(former[8*i:], h.Sum64())
	}
	w := newWindow(10*time.Minute, 1000)
	w.restore([]receipt{{former, now.Unix(), answer{1, "one"}}})
	if a, known, _ := w.begin(digestOf("/v1/traces", 7, body), now); !known || a != (answer{1, "one"}) {
		t.Errorf("known %t with answer %+v", known, a)
	}
	for _, d := range []digest{digestOf("/v1/traces", 8, body), digestOf("/v1/metrics", 7, body), digestOf("/v1/traces", 7, nil)} {
		if _, known, _ := w.begin(d, now); known {
			t.Errorf("%x is taken for %x", d, former)
		}
	}
}
