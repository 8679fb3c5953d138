package harness

import (
	"io"
	"sync"
)

// tailBytes is how much of a log is kept for a failure's message.
const tailBytes = 16 << 10

// tail keeps the end of what is written to it, and passes everything on.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
	to   io.Writer // may be nil
}

func newTail(to io.Writer) *tail { return &tail{to: to} }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailBytes; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	t.mu.Unlock()
	if t.to != nil {
		return t.to.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
