package collector

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// body is a request's body, uncompressed, in pooled memory. Its bytes count as in flight until release.
type body struct {
	buf      bytes.Buffer
	packed   bytes.Buffer // as it came, when it was compressed
	reserved int64
	key      int64 // the API key that the bytes are held for
	ingested bool  // so the key is charged for it
	worked   int   // bytes that a processor has worked on, for which the key pays if they come to nothing
	c        *Collector
}

var bodies = sync.Pool{New: func() any { return new(body) }}

const (
	// maxPooled bounds the buffers that are kept: one unusually large request must not hold its memory for ever.
	maxPooled = 4 << 20
	// perRequest is what a request takes beside its body: a stack, buffers of its connection, the rows of one span.
	perRequest = 16 << 10
)

// newBody makes room for a request. The caller must call release, also after an error.
func (c *Collector) newBody(key int64) (*body, error) {
	b := bodies.Get().(*body)
	b.c, b.key = c, key
	return b, b.reserve(perRequest)
}

// release gives the memory back, and charges the key for work that came to nothing. Nothing may alias the bytes any more.
func (b *body) release() {
	b.c.memory.release(b.key, b.reserved)
	if !b.ingested && b.worked > 0 {
		l := b.c.limiter
		l.keys.chargeBytes(b.key, b.worked, l.time(time.Now()))
	}
	b.reserved, b.ingested, b.worked, b.c = 0, false, 0, nil
	if b.buf.Cap()+b.packed.Cap() > maxPooled {
		return
	}
	b.buf.Reset()
	b.packed.Reset()
	bodies.Put(b)
}

// work notes that a processor has worked on all that came, with err. For want of memory it has to come again, and is paid then.
func (b *body) work(err error) {
	b.worked = b.buf.Len() + b.packed.Len()
	if fault.Is(err, fault.Unavailable) {
		b.worked = 0
	}
}

// reserve counts n more bytes as in flight, and refuses when that were too many.
func (b *body) reserve(n int64) error {
	err := b.c.memory.reserve(b.key, n)
	if err == nil {
		b.reserved += n
	}
	return err
}

func (b *body) unreserve(n int64) {
	b.reserved -= n
	b.c.memory.release(b.key, n)
}

// ingest passes on what the body holds.
func (b *body) ingest(req request) (answer, error) {
	b.ingested = true
	return b.c.ingest(req)
}

// readBody reads and uncompresses the body of an HTTP request. What it inflates to is bounded while it inflates. The
// caller must call release, also after an error.
func (c *Collector) readBody(r *http.Request, key int64) (*body, error) {
	b, err := c.newBody(key)
	var src io.Reader = r.Body
	if r.ContentLength > 0 {
		src = &exactly{src, r.ContentLength}
	}
	if err == nil {
		err = b.read(src, r.ContentLength, "Content-Encoding", r.Header.Get("Content-Encoding"))
	}
	return b, err
}

// read reads src to its end, which is to come after size bytes if that is positive, and uncompresses it. encoding is what
// the named header says.
func (b *body) read(src io.Reader, size int64, header, encoding string) error {
	if size > int64(b.c.opts.MaxBody) {
		return b.c.tooLarge()
	}
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	var err error
	switch encoding {
	case "", "identity":
		err = b.readAll(&b.buf, src, size, trustAfter)
	case "gzip":
		err = b.unpack(src, size, b.inflateGzip)
	case "zstd":
		err = b.unpack(src, size, b.inflateZstd)
	default:
		return &fault.Error{Kind: fault.Unsupported, Field: header, Value: encoding, Message: "is not supported: use gzip, zstd, or none"}
	}
	if f := (*fault.Error)(nil); err == nil || errors.As(err, &f) {
		return err
	}
	return readFault(err, header, encoding)
}

// A body is read, and its memory reserved, in steps as large as what has come: one that never comes holds little.
const (
	firstStep = 4 << 10
	// After so much of a body of known size, its rest is one step: many large ones that come side by side would else each come
	// so far that none has room for its rest.
	trustAfter = 64 << 10
	// keepStep is how large a step may be that is not given back when the body ends in it: its memory is there.
	keepStep = 64 << 10
)

// readAll appends all of src to dst, which is one of b's buffers. It is to come to size bytes, which counts for something
// when that is positive and trustAfter bytes have come. An error of src is returned as it is.
func (b *body) readAll(dst *bytes.Buffer, src io.Reader, size int64, trustAfter int) error {
	if err := b.c.memory.mayHold(b.key, size); err != nil { // or many large ones would each come halfway
		return err
	}
	limit := b.c.opts.MaxBody
	for {
		step, rest := int64(max(dst.Len(), firstStep)), size-int64(dst.Len())
		switch {
		case rest == 0 && size > 0:
			step = 1 // of which there should be none
		case rest > 0 && (rest < step || dst.Len() >= trustAfter):
			step = rest
		}
		step = min(step, int64(limit+1-dst.Len()))
		if err := b.reserve(step); err != nil {
			return err
		}
		if step > 1 { // all at once, for what the buffer makes of itself is not counted
			dst.Grow(int(step) + bytes.MinRead)
		}
		n, err := io.CopyN(dst, src, step)
		if dst.Len() > limit {
			return b.c.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			if step <= keepStep {
				b.unreserve(step - n)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// exactly reads the next left bytes of src. That src ends before is io.ErrUnexpectedEOF.
type exactly struct {
	src  io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.src.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *Collector) tooLarge() error {
	return fault.New(fault.TooLarge, "the body has more than %d bytes uncompressed: send smaller batches", c.opts.MaxBody)
}

// readFault tells a client that was too slow, whose next attempt may be quicker, from a body that is broken.
func readFault(err error, header, encoding string) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter, Message: "the body took too long to come", Err: err}
	case errors.Is(err, errCorrupt):
		return fault.Wrap(err, fault.Invalid, "the body is not %s, though %s says so: %s", encoding, header, err)
	}
	return fault.Wrap(err, fault.Invalid, "the body could not be read to its end: %s", err)
}
