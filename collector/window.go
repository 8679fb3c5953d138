package collector

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// digest identifies a request: who sent which body where.
//
// It is two 64-bit hashes with different seeds. Who holds a key could construct two of its own bodies that collide and so
// lose one of them; nobody else is affected, because the key is hashed too.
type digest [16]byte

func digestOf(path string, keyID int64, body []byte) digest {
	var d digest
	for i := range 2 {
		h := xxhash.NewWithSeed(uint64(keyID)<<1 | uint64(i))
		_, _ = h.WriteString(path)
		_, _ = h.Write(body)
		binary.LittleEndian.PutUint64(d[8*i:], h.Sum64())
	}
	return d
}

// receipt is what is remembered of an acknowledged request.
type receipt struct {
	digest digest
	at     int64 // Unix seconds
	answer answer
}

// window remembers the requests of the last minutes, so that one sent again is known. It is safe for concurrent use.
//
// It holds at most max receipts; beyond that the oldest are forgotten early, and counted.
type window struct {
	length time.Duration
	max    int

	mu       sync.Mutex // guards all below; never held across I/O
	done     map[digest]remembered
	order    []digest // of done, the oldest first; from head on
	head     int
	pending  map[digest]*attempt
	messages map[digest]string // of the few whose answer has one
}

// remembered is a receipt without what is the same for nearly all of them.
type remembered struct {
	at       uint32 // Unix seconds
	rejected uint32
}

// attempt is a request on its way to the disk. done is closed when answer and err are set.
type attempt struct {
	done   chan struct{}
	answer answer
	err    error
}

// maxMessages bounds how many answers are remembered with their text: the others are repeated with their count alone.
const maxMessages = 10_000

func newWindow(length time.Duration, max int) *window {
	return &window{length: length, max: max, done: map[digest]remembered{}, pending: map[digest]*attempt{}, messages: map[digest]string{}}
}

// begin says whether the request is known. If it was acknowledged, known is true. If it is on its way, other is that
// attempt, whose outcome is the caller's too. Else the caller has to store it and must see to it that commit or settle is called.
func (w *window) begin(d digest, now time.Time) (a answer, known bool, other *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.done[d]; ok && now.Unix()-int64(r.at) < int64(w.length/time.Second) {
		return answer{int64(r.rejected), w.messages[d]}, true, nil
	}
	if p, ok := w.pending[d]; ok {
		return answer{}, false, p
	}
	w.pending[d] = &attempt{done: make(chan struct{})}
	return answer{}, false, nil
}

// settle ends an attempt of which nothing is stored and so nothing is remembered: it failed with err, or all its spans
// were refused with the answer.
func (w *window) settle(d digest, a answer, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.pending[d]; ok {
		p.answer, p.err = a, err
		close(p.done)
		delete(w.pending, d)
	}
}

// commit remembers requests that are on disk.
func (w *window) commit(rs []receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range rs {
		w.remember(r)
		if p, ok := w.pending[r.digest]; ok {
			p.answer = r.answer
			close(p.done)
			delete(w.pending, r.digest)
		}
	}
}

// restore remembers requests that an earlier process acknowledged, the oldest first.
func (w *window) restore(rs []receipt) { w.commit(rs) }

func (w *window) remember(r receipt) {
	if _, ok := w.done[r.digest]; !ok {
		w.order = append(w.order, r.digest)
	}
	w.done[r.digest] = remembered{uint32(r.at), uint32(min(r.answer.rejected, 1<<32-1))}
	if r.answer.message != "" && len(w.messages) < maxMessages {
		w.messages[r.digest] = r.answer.message
	}
	for len(w.order)-w.head > w.max {
		w.forgetOldest()
		metrics.forgottenEarly.Inc()
	}
}

// expire forgets what is older than the window.
func (w *window) expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := now.Add(-w.length).Unix()
	for w.head < len(w.order) && int64(w.done[w.order[w.head]].at) <= limit {
		w.forgetOldest()
	}
}

func (w *window) forgetOldest() {
	d := w.order[w.head]
	delete(w.done, d)
	delete(w.messages, d)
	if w.head++; w.head > 1024 && w.head*2 > len(w.order) {
		w.order = append(w.order[:0], w.order[w.head:]...)
		w.head = 0
	}
}

func (w *window) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}
