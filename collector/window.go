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
//
// In place of its last two bytes stands whose it is. What former versions wrote has the hash there, so requests are told
// apart by what is before it, and one of theirs is known when it comes again.
type digest [16]byte

// hashed is what tells one request from another.
type hashed [14]byte

func (d digest) hashed() hashed { return hashed(d[:14]) }

// owner tells keys apart, well enough for shares: two of them may be one owner.
func (d digest) owner() uint16 { return binary.LittleEndian.Uint16(d[14:]) }

func digestOf(path string, keyID int64, body []byte) digest {
	var d digest
	for i := range 2 {
		h := xxhash.NewWithSeed(uint64(keyID)<<1 | uint64(i))
		_, _ = h.WriteString(path)
		_, _ = h.Write(body)
		binary.LittleEndian.PutUint64(d[8*i:], h.Sum64())
	}
	binary.LittleEndian.PutUint16(d[14:], uint16(keyID))
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
// It holds at most max receipts; beyond that the key with most loses its oldest early, which is counted. So very many tiny
// requests of one key make no repetition of another's count twice.
type window struct {
	length time.Duration

	mu       sync.Mutex // guards all below; never held across I/O
	done     *shared[uint16, hashed, remembered]
	messages *shared[uint16, hashed, message] // of the few whose answer has one
	pending  map[hashed]*attempt
}

// remembered is a receipt without what is the same for nearly all of them.
type remembered struct {
	at       uint32 // Unix seconds
	rejected uint32
}

// message is what stands in an answer.
type message struct {
	at   uint32 // Unix seconds
	text string
}

// attempt is a request on its way to the disk. done is closed when answer and err are set.
type attempt struct {
	done   chan struct{}
	answer answer
	err    error
}

const (
	// maxMessages bounds how many answers are remembered with their text: the others are repeated with their count alone.
	maxMessages = 10_000
	// maxMessage is how many bytes of a text are remembered.
	maxMessage = 120
)

func newWindow(length time.Duration, max int) *window {
	return &window{
		length: length, pending: map[hashed]*attempt{},
		done: newShared[uint16, hashed, remembered](max), messages: newShared[uint16, hashed, message](min(max, maxMessages)),
	}
}

// begin says whether the request is known. If it was acknowledged, known is true. If it is on its way, other is that
// attempt, whose outcome is the caller's too. Else the caller has to store it and must see to it that commit or settle is called.
func (w *window) begin(d digest, now time.Time) (a answer, known bool, other *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.done.things[d.hashed()]; ok && now.Unix()-int64(r.at) < int64(w.length/time.Second) {
		return answer{int64(r.rejected), w.messages.things[d.hashed()].text}, true, nil
	}
	if p, ok := w.pending[d.hashed()]; ok {
		return answer{}, false, p
	}
	w.pending[d.hashed()] = &attempt{done: make(chan struct{})}
	return answer{}, false, nil
}

// settle ends an attempt of which nothing is stored and so nothing is remembered: it failed with err, or all its spans
// were refused with the answer.
func (w *window) settle(d digest, a answer, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.pending[d.hashed()]; ok {
		p.answer, p.err = a, err
		close(p.done)
		delete(w.pending, d.hashed())
	}
}

// commit remembers requests that are on disk.
func (w *window) commit(rs []receipt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range rs {
		w.remember(r)
		if p, ok := w.pending[r.digest.hashed()]; ok {
			p.answer = r.answer
			close(p.done)
			delete(w.pending, r.digest.hashed())
		}
	}
}

// restore remembers requests that an earlier process acknowledged, the oldest first.
func (w *window) restore(rs []receipt) { w.commit(rs) }

func (w *window) remember(r receipt) {
	at := uint32(r.at)
	if w.done.put(r.digest.owner(), r.digest.hashed(), remembered{at, uint32(min(r.answer.rejected, 1<<32-1))}) {
		metrics.forgottenEarly.Inc()
	}
	if r.answer.message != "" {
		w.messages.put(r.digest.owner(), r.digest.hashed(), message{at, r.answer.message})
	}
}

// expire forgets what is older than the window.
func (w *window) expire(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := now.Add(-w.length).Unix()
	w.done.forgetWhile(func(r remembered) bool { return int64(r.at) <= limit })
	w.messages.forgetWhile(func(m message) bool { return int64(m.at) <= limit })
}

func (w *window) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done.things)
}
