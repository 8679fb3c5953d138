package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"github.com/nexis-limited/headroom/fault"
)

// body is a request's body, uncompressed, in pooled memory. Its bytes count as in flight until release.
type body struct {
	buf      bytes.Buffer
	reserved int64
	c        *Collector
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// maxPooled bounds the buffers that are kept: one unusually large request must not hold its memory for ever.
const maxPooled = 4 << 20

// release gives the memory back. Nothing may alias the bytes any more.
func (b *body) release() {
	b.c.inflight.Add(-b.reserved)
	b.reserved, b.c = 0, nil
	if b.buf.Cap() > maxPooled {
		return
	}
	b.buf.Reset()
	bodies.Put(b)
}

// reserve counts n more bytes as in flight, and refuses when that were too many.
func (b *body) reserve(n int64) error {
	b.reserved += n
	if b.c.inflight.Add(n) > b.c.opts.MaxInflight {
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter,
			Message: fmt.Sprintf("more than %d bytes of requests wait to be stored", b.c.opts.MaxInflight)}
	}
	return nil
}

// readBody reads and uncompresses the body. What it inflates to is bounded while it inflates. The caller must call
// release, also after an error.
func (c *Collector) readBody(r *http.Request) (*body, error) {
	b := bodies.Get().(*body)
	b.c = c
	if r.ContentLength > int64(c.opts.MaxBody) {
		return b, c.tooLarge()
	}
	var (
		src  io.Reader = r.Body
		name           = strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	)
	switch name {
	case "", "identity":
	case "gzip":
		zr, err := gzipReader(src)
		if err != nil {
			return b, readFault(err, name)
		}
		defer gzipReaders.Put(zr)
		src = zr
	default:
		return b, &fault.Error{Kind: fault.Unsupported, Field: "Content-Encoding", Value: name, Message: "is not supported: use gzip, or none"}
	}
	return b, b.readAll(src, name)
}

// step is how much of a body is read at a time: the bound is never exceeded by more.
const step = 64 << 10

func (b *body) readAll(src io.Reader, encoding string) error {
	limit := b.c.opts.MaxBody
	for {
		if err := b.reserve(step); err != nil {
			return err
		}
		n, err := io.CopyN(&b.buf, src, step)
		if b.buf.Len() > limit {
			return b.c.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			b.c.inflight.Add(n - step)
			b.reserved += n - step
			return nil
		}
		if err != nil {
			return readFault(err, encoding)
		}
	}
}

func (c *Collector) tooLarge() error {
	return fault.New(fault.TooLarge, "the body has more than %d bytes uncompressed: send smaller batches", c.opts.MaxBody)
}

// readFault tells a client that was too slow, whose next attempt may be quicker, from a body that is broken.
func readFault(err error, encoding string) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter, Message: "the body took too long to come", Err: err}
	}
	if encoding == "gzip" && (errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, new(flate.CorruptInputError)) || errors.Is(err, io.EOF)) {
		return fault.Wrap(err, fault.Invalid, "the body is not gzip, though Content-Encoding says so: %s", err)
	}
	return fault.Wrap(err, fault.Invalid, "the body could not be read to its end: %s", err)
}

var gzipReaders sync.Pool

func gzipReader(src io.Reader) (*gzip.Reader, error) {
	if zr, ok := gzipReaders.Get().(*gzip.Reader); ok {
		if err := zr.Reset(src); err != nil {
			gzipReaders.Put(zr)
			return nil, err
		}
		return zr, nil
	}
	return gzip.NewReader(src)
}
