package collector

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/nexis-limited/headroom/fault"
)

// A compressed body is inflated when it is there whole: a client that sends slowly holds no decoder, how large it becomes
// can be known before its memory is taken, and API keys take turns at what is work for a processor.

// unpack reads src, which has size bytes if that is positive, and inflates it to b.buf.
func (b *body) unpack(src io.Reader, size int64, inflate func() error) (err error) {
	if err := b.readAll(&b.packed, src, size, trustAfter); err != nil {
		return err
	}
	b.c.unpacking.do(b.key, b.packed.Len(), func() {
		err = inflate()
		b.work(err)
		b.c.unpacking.charge(b.key, b.buf.Len())
	})
	if f := (*fault.Error)(nil); err != nil && !errors.As(err, &f) {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// errCorrupt marks what is wrong with the data of a compressed body.
var errCorrupt = errors.New("cannot inflate it")

// expected returns how large the body says it becomes, or 0 when that cannot be. ratio bounds how much its encoding
// compresses.
func (b *body) expected(says uint64, ratio int) int64 {
	if says > uint64(b.c.opts.MaxBody) || says > uint64(ratio)*uint64(b.packed.Len()) {
		return 0
	}
	return int64(says)
}

const (
	// maxGzipRatio is more than deflate reaches: 258 bytes in two bits.
	maxGzipRatio = 1040
	// maxZstdRatio is more than zstd reaches: 128 KiB in four bytes.
	maxZstdRatio = 33_000
)

var gzipReaders sync.Pool

// inflateGzip: the last four bytes say how large the last member becomes, and there is hardly ever another.
func (b *body) inflateGzip() error {
	src := b.packed.Bytes()
	zr, _ := gzipReaders.Get().(*gzip.Reader)
	if zr == nil {
		zr = new(gzip.Reader)
	}
	defer gzipReaders.Put(zr)
	if err := zr.Reset(bytes.NewReader(src)); err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(src[len(src)-4:]) // a header is longer
	return b.readAll(&b.buf, zr, b.expected(uint64(size), maxGzipRatio), 0)
}

// maxZstdWindow is how far back a zstd body may refer, which is memory of its decoder: RFC 9659 allows no more over HTTP.
const maxZstdWindow = 8 << 20

// zstdDecoders holds a decoder for each place to unpack: their windows are the largest piece of memory that decoding needs.
type zstdDecoders chan *zstd.Decoder // nil for one that is not made yet

func newZstdDecoders(n int) zstdDecoders {
	ds := make(zstdDecoders, n)
	for range n {
		ds <- nil
	}
	return ds
}

func (b *body) inflateZstd() error {
	src := b.packed.Bytes()
	if len(src) == 0 {
		return nil
	}
	dec := <-b.c.zstd
	defer func() { b.c.zstd <- dec }()
	if dec == nil {
		// With one goroutine, which is the caller's, nothing is decoded before it is asked for.
		var err error
		if dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)); err != nil {
			return fmt.Errorf("cannot make a zstd decoder: %w", err)
		}
	}
	var says zstd.Header
	if says.Decode(src) != nil || !says.HasFCS {
		says.FrameContentSize = 0 // what is wrong with it, the decoder will say
	}
	// A bytes.Reader: the decoder would take the whole of a bytes.Buffer at once, whatever it inflates to.
	err := dec.Reset(bytes.NewReader(src))
	if err == nil {
		err = b.readAll(&b.buf, zstdReader{dec}, b.expected(says.FrameContentSize, maxZstdRatio), 0)
	}
	_ = dec.Reset(nil) // it keeps nothing of the body
	return err
}

// zstdReader says what may be done about a window that is too large.
type zstdReader struct{ dec *zstd.Decoder }

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.dec.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fault.Wrap(err, fault.TooLarge, "the body's zstd window has more than %d bytes: compress at a lower level, or send smaller batches", maxZstdWindow)
	}
	return n, err
}
