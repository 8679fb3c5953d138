package collector

import (
	"bytes"
	"errors"
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
	packed   bytes.Buffer // of readZstd
	reserved int64
	key      int64 // the API key that the bytes are held for
	c        *Collector
}

var bodies = sync.Pool{New: func() any { return new(body) }}

// maxPooled bounds the buffers that are kept: one unusually large request must not hold its memory for ever.
const maxPooled = 4 << 20

// release gives the memory back. Nothing may alias the bytes any more.
func (b *body) release() {
	b.c.memory.release(b.key, b.reserved)
	b.reserved, b.c = 0, nil
	if b.buf.Cap()+b.packed.Cap() > maxPooled {
		return
	}
	b.buf.Reset()
	b.packed.Reset()
	bodies.Put(b)
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

// readBody reads and uncompresses the body of an HTTP request. What it inflates to is bounded while it inflates. The
// caller must call release, also after an error.
func (c *Collector) readBody(r *http.Request, key int64) (*body, error) {
	b := c.newBody(key)
	if r.ContentLength > int64(c.opts.MaxBody) {
		return b, c.tooLarge()
	}
	var src io.Reader = r.Body
	if r.ContentLength > 0 {
		src = &exactly{src, r.ContentLength}
	}
	return b, b.read(src, "Content-Encoding", r.Header.Get("Content-Encoding"))
}

func (c *Collector) newBody(key int64) *body {
	b := bodies.Get().(*body)
	b.c, b.key = c, key
	return b
}

// A body is read, and its memory reserved, in steps that grow with what has come: one that never comes holds little.
const (
	firstStep = 4 << 10
	lastStep  = 64 << 10
	// After so much of a body of known size, its rest is one step: a large one would else leave several times its size
	// behind while its memory grows.
	trustAfter = 1 << 20
)

// read reads src to its end and uncompresses it. encoding is what the named header says.
func (b *body) read(src io.Reader, header, encoding string) error {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	var err error
	switch encoding {
	case "", "identity":
		err = b.readAll(&b.buf, src)
	case "gzip":
		var zr *gzip.Reader
		if zr, err = gzipReader(src); err == nil {
			err = b.readAll(&b.buf, zr)
			gzipReaders.Put(zr)
		}
	case "zstd":
		err = b.readZstd(src)
	default:
		return &fault.Error{Kind: fault.Unsupported, Field: header, Value: encoding, Message: "is not supported: use gzip, zstd, or none"}
	}
	if f := (*fault.Error)(nil); err == nil || errors.As(err, &f) {
		return err
	}
	return readFault(err, header, encoding)
}

// readAll appends all of src to dst, which is one of b's buffers. An error of src is returned as it is.
func (b *body) readAll(dst *bytes.Buffer, src io.Reader) error {
	limit := b.c.opts.MaxBody
	announced, _ := src.(*exactly)
	for {
		step := int64(min(max(dst.Len(), firstStep), lastStep))
		exact := announced != nil && dst.Len() >= trustAfter && announced.left > step
		if exact {
			step = announced.left
		}
		if err := b.reserve(step); err != nil {
			return err
		}
		if exact {
			dst.Grow(int(step) + bytes.MinRead)
		}
		n, err := io.CopyN(dst, src, step)
		if dst.Len() > limit {
			return b.c.tooLarge()
		}
		if errors.Is(err, io.EOF) {
			b.unreserve(step - n)
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
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: retryAfter, Message: "the body took too long to come", Err: err}
	case errors.Is(err, errZstd),
		encoding == "gzip" && (errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) || errors.Is(err, io.EOF)):
		return fault.Wrap(err, fault.Invalid, "the body is not %s, though %s says so: %s", encoding, header, err)
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
