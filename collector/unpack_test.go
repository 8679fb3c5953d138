package collector

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// readingCollector has all that reading a body needs, and one place to unpack.
func readingCollector(maxBody int, inflight int64) *Collector {
	return &Collector{
		opts: Options{MaxBody: maxBody, MaxInflight: inflight}, memory: newMemory(inflight), limiter: newLimiter(tenant.Quotas{}, nil, discard, time.Now()),
		zstd: newZstdDecoders(1), unpacking: newGate(1),
	}
}

func gzipOf(t testing.TB, src []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(src)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A large body takes its memory once, as much as it says that it becomes; what says something wrong is read all the same.
func TestUnpackedBodiesTakeTheirMemoryOnce(t *testing.T) {
	src := make([]byte, 15<<20)
	for i := range src { // compresses to about a fourth
		src[i] = byte(rand.IntN(4))
	}
	c := readingCollector(20<<20, 128<<20)
	says := func(size uint32) []byte {
		out := gzipOf(t, src)
		binary.LittleEndian.PutUint32(out[len(out)-4:], size)
		return out
	}
	f := func(name, encoding string, packed []byte, wrong string, most int) {
		t.Helper()
		b, err := c.newBody(1)
		if err != nil {
			t.Fatal(err)
		}
		b.buf = bytes.Buffer{} // not one that was larger before
		err = b.read(bytes.NewReader(packed), int64(len(packed)), "Content-Encoding", encoding)
		if wrong == "" && (err != nil || !bytes.Equal(b.buf.Bytes(), src)) || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: %d bytes, %v; want %q", name, b.buf.Len(), err, wrong)
		}
		if b.buf.Cap() > most {
			t.Errorf("%s: %d bytes of memory for %d, want %d at most", name, b.buf.Cap(), b.buf.Len(), most)
		}
		if held := c.memory.inUse(); wrong == "" && held < int64(len(src)+b.packed.Len()+perRequest) {
			t.Errorf("%s: %d bytes are held", name, held)
		}
		b.release()
		if held := c.memory.inUse(); held != 0 {
			t.Errorf("%s: %d bytes are still held", name, held)
		}
	}
	const once = 15<<20 + 64<<10
	f("plain", "", src, "", once)
	f("gzip", "gzip", gzipOf(t, src), "", once)
	f("zstd", "zstd", zstdOf(t, src), "", once)
	f("gzip of two members", "gzip", append(gzipOf(t, src[:5<<20]), gzipOf(t, src[5<<20:])...), "", 2*once+64<<10)
	f("gzip that says too little", "gzip", says(100), "not gzip", 2*once)
	f("gzip that says too much", "gzip", says(1<<31), "not gzip", 2*once)
	f("gzip that says a little too much", "gzip", says(20<<20), "not gzip", 20<<20+64<<10)
	f("a few bytes", "gzip", []byte{0x1f}, "not gzip", 64<<10)
	f("none", "gzip", nil, "not gzip", 64<<10)
}

// However many requests are under way, they are so many as have room beside their bodies.
func TestEachRequestTakesRoom(t *testing.T) {
	c := readingCollector(1<<20, 1<<20)
	var open []*body
	for {
		b, err := c.newBody(1)
		open = append(open, b)
		if err != nil {
			if !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
			break
		}
	}
	if n := len(open) - 1; n < 40 || n > 64 {
		t.Errorf("%d requests are under way in 1 MiB", n)
	}
	for _, b := range open {
		b.release()
	}
	if held := c.memory.inUse(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

// With many large bodies of one key waiting to be unpacked, another's is the next.
func TestKeysTakeTurnsAtUnpacking(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd"} {
		synctest.Test(t, func(t *testing.T) {
			c := readingCollector(20<<20, 1<<30)
			large, small := make([]byte, 1<<20), []byte("small")
			pack := gzipOf
			if encoding == "zstd" {
				pack = func(t testing.TB, b []byte) []byte { return zstdOf(t, b) }
			}
			done := make(chan int64, 100)
			read := func(key int64, packed []byte) {
				b, err := c.newBody(key)
				if err == nil {
					err = b.read(bytes.NewReader(packed), int64(len(packed)), "", encoding)
				}
				if err != nil {
					t.Error(err)
				}
				b.release()
				done <- key
			}
			c.unpacking.enter(1, 1)
			c.unpacking.charge(1, 1<<20)
			largePacked, smallPacked := pack(t, large), pack(t, small)
			for range 20 {
				go read(1, largePacked)
			}
			synctest.Wait()
			go read(2, smallPacked)
			synctest.Wait()
			c.unpacking.leave()
			if first := <-done; first != 2 {
				t.Errorf("%s: the first to be unpacked is of key %d", encoding, first)
			}
			for range 20 {
				<-done
			}
		})
	}
}

// Who sends what cannot be read pays for it as for what can.
func TestBodiesThatCannotBeReadAreCharged(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) {
		o.Quotas.Key.BytesPerSecond = 1000 // and ten times as much at once
	})
	junk := make([]byte, 30_000)
	for i := range junk {
		junk[i] = byte(rand.IntN(256))
	}
	for i, c := range []struct {
		path, contentType, encoding string
		body                        []byte
	}{
		{"/v1/traces", typeProtobuf, "zstd", junk},
		{"/v1/traces", typeProtobuf, "zstd", zstdOf(t, junk)[:20_000]},
		{"/v1/traces", typeProtobuf, "gzip", gzipOf(t, junk)[:20_000]},
		{"/v1/traces", typeJSON, "", junk},
		{"/api/v1/write", typeProtobuf, "snappy", snappy.Encode(nil, junk)[:20_000]},
	} {
		r.limiter.keys.forgetIdle(1 << 62) // all of its burst again
		if resp := r.post(t, c.path, c.body, "Content-Type", c.contentType, "Content-Encoding", c.encoding); resp.status != http.StatusBadRequest {
			t.Errorf("%d: %d %s", i, resp.status, resp.body)
		}
		resp := r.post(t, "/v1/traces", encode(t, export(server(fmt.Sprint(i)))))
		if resp.status != http.StatusServiceUnavailable || !strings.Contains(string(resp.body), "more than 1000 bytes a second") {
			t.Errorf("%d: the next request: %d %s", i, resp.status, resp.body)
		}
		if other := r.post(t, "/v1/traces", encode(t, export(server(fmt.Sprint(i)))), "Authorization", "Bearer other"); other.status != http.StatusOK {
			t.Errorf("%d: another key: %d %s", i, other.status, other.body)
		}
	}
}

// What finds no room, or does not come to its end, cost no work: it is to come again, and the key does not pay for that.
func TestBodiesThatAreNotReadCostNothing(t *testing.T) {
	src := bytes.Repeat([]byte("{},"), 100_000)
	c := readingCollector(1<<20, 256<<10)
	f := func(name string, kind fault.Kind, read func(b *body) error) {
		t.Helper()
		b, err := c.newBody(1)
		if err == nil {
			err = read(b)
		}
		b.release()
		if !fault.Is(err, kind) {
			t.Errorf("%s: %v, want it to be %s", name, err, kind)
		}
		if n := len(c.limiter.keys.keys); n != 0 {
			t.Errorf("%s: it is charged", name)
			clear(c.limiter.keys.keys)
		}
	}
	f("no room for all of it", fault.Unavailable, func(b *body) error { return b.read(bytes.NewReader(src), 0, "", "") })
	f("no room for what it inflates to", fault.Unavailable, func(b *body) error {
		packed := gzipOf(t, src)
		return b.read(bytes.NewReader(packed), int64(len(packed)), "", "gzip")
	})
	for _, encoding := range []string{"", "gzip"} {
		f("too slow", fault.Unavailable, func(b *body) error {
			return b.read(io.MultiReader(bytes.NewReader(src[:50_000]), iotest.ErrReader(os.ErrDeadlineExceeded)), 0, "", encoding)
		})
		f("torn", fault.Invalid, func(b *body) error {
			return b.read(&exactly{bytes.NewReader(src[:50_000]), 60_000}, 60_000, "", encoding)
		})
	}
	f("no room for the message", fault.Unavailable, func(b *body) error {
		if err := c.memory.reserve(2, 100<<10); err != nil {
			t.Fatal(err)
		}
		defer c.memory.release(2, 100<<10)
		packed := gzipOf(t, []byte(`{"resourceSpans":[`+strings.TrimSuffix(string(src[:1200]), ",")+`]}`))
		if err := b.read(bytes.NewReader(packed), int64(len(packed)), "", "gzip"); err != nil {
			return err
		}
		_, err := b.fromJSON(traces)
		return err
	})
}
