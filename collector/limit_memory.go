package collector

import (
	"fmt"
	"sync"

	"github.com/nexis-limited/headroom/fault"
)

// memory shares the bytes of bodies that are not acknowledged yet among the API keys. It is safe for concurrent use.
//
// A key may hold up to shareOfFree times what is then free. One that is alone gets four fifths of all, two get four
// ninths each, and there is always some left for the next: so thousands of large or slow bodies of one key make its own
// requests wait, not those of others. Nothing has to know who wants how much, and nothing is set aside for
// keys that are quiet. (It is the dynamic threshold by which switches share their buffers: Choudhury and Hahne, 1998.)
type memory struct {
	max int64

	mu   sync.Mutex // guards all below
	held int64
	of   map[int64]int64 // by key; none is 0
}

const shareOfFree = 4

func newMemory(max int64) *memory { return &memory{max: max, of: make(map[int64]int64)} }

// reserve takes n more bytes for a key, or refuses. What it took has to be released.
func (m *memory) reserve(key, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refusal(key, n); err != nil {
		return err
	}
	m.held += n
	m.of[key] += n
	return nil
}

// mayHold returns the error with which reserve would refuse n more bytes now.
func (m *memory) mayHold(key, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refusal(key, max(n, 0))
}

func (m *memory) refusal(key, n int64) error {
	free := m.max - m.held - n
	switch mine := m.of[key] + n; {
	case free < 0:
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter,
			Message: fmt.Sprintf("more than %d bytes of requests wait to be stored", m.max)}
	case mine > shareOfFree*free:
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter,
			Message: fmt.Sprintf("%d bytes of requests with this API key wait to be stored, its share of the %d that may", mine-n, m.max)}
	}
	return nil
}

// most returns how many bytes one key can have, when nobody else has any.
func (m *memory) most() int64 { return m.max / (1 + shareOfFree) * shareOfFree }

func (m *memory) release(key, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held -= n
	if m.of[key] -= n; m.of[key] == 0 {
		delete(m.of, key)
	}
}

// inUse returns how many bytes are held.
func (m *memory) inUse() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}
