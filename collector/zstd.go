package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/nexis-limited/headroom/fault"
)

// maxZstdWindow is how far back a zstd body may refer, which is memory of its decoder: RFC 9659 allows no more over HTTP.
const maxZstdWindow = 8 << 20

// errZstd marks what is wrong with a body that should be zstd.
var errZstd = errors.New("cannot decode zstd")

// zstdDecoders lends decoders, one for each processor: their windows are the largest piece of memory that decoding needs,
// and a client that sends slowly must not hold one. So a body is there whole before it gets a decoder.
type zstdDecoders chan *zstd.Decoder // nil for one that is not made yet

func newZstdDecoders(n int) zstdDecoders {
	ds := make(zstdDecoders, n)
	for range n {
		ds <- nil
	}
	return ds
}

// readZstd reads src to its end and appends to b.buf what it inflates to. What is wrong with the data is an errZstd.
func (b *body) readZstd(src io.Reader) error {
	if err := b.readAll(&b.packed, src); err != nil {
		return err
	}
	packed := int64(b.packed.Len())
	if packed == 0 {
		return nil
	}
	defer func() {
		b.packed.Reset()
		b.unreserve(packed)
	}()
	dec := <-b.c.zstd
	defer func() { b.c.zstd <- dec }()
	if dec == nil {
		// With one goroutine, which is the caller's, nothing is decoded before it is asked for.
		var err error
		if dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)); err != nil {
			return fmt.Errorf("cannot make a zstd decoder: %w", err)
		}
	}
	// A bytes.Reader: the decoder would take the whole of a bytes.Buffer at once, whatever it inflates to.
	err := dec.Reset(bytes.NewReader(b.packed.Bytes()))
	if err == nil {
		err = b.readAll(&b.buf, zstdReader{dec})
	}
	_ = dec.Reset(nil) // it keeps nothing of the body
	return err
}

// zstdReader marks the decoder's errors.
type zstdReader struct{ dec *zstd.Decoder }

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.dec.Read(p)
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = fault.Wrap(err, fault.TooLarge, "the body's zstd window has more than %d bytes: compress at a lower level, or send smaller batches", maxZstdWindow)
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %w", errZstd, err)
	}
	return n, err
}
