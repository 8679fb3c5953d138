package collector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// keysBody is a request with a span for each list of attribute keys, each with its place as value. The keys may be no
// UTF-8, which the generated code would refuse to write.
func keysBody(t testing.TB, spans [][]string) []byte {
	field := func(dst []byte, n protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(dst, n, protowire.BytesType), m)
	}
	var all []byte
	for _, keys := range spans {
		one := encode(t, server("x"))
		for i, key := range keys {
			one = field(one, 9, field(field(nil, 1, []byte(key)), 2, field(nil, 1, []byte(fmt.Sprint(i)))))
		}
		all = field(all, 2, one)
	}
	return field(nil, 1, field(nil, 2, all))
}

// Whatever keys the spans before had, whether they were remembered, forgotten or too many, each span gets its own.
func TestEachSpanKeepsItsOwnKeys(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		d := limitedDecoder(nil)
		d.opts.maxName, d.opts.maxAttributes = 20, 8
		cols := newColumns()
		key := rapid.OneOf(
			rapid.SampledFrom([]string{"a", "b", "c", "ab", "\xff", "a\xff", "b\xfe", strings.Repeat("é", 11), strings.Repeat("\x80", 30)}),
			rapid.StringN(1, 4, -1), rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 30), func(b []byte) string { return string(b) }))
		for range rapid.IntRange(1, 5).Draw(rt, "requests") {
			spans := rapid.SliceOfN(rapid.SliceOfN(key, 0, 10), 1, 20).Draw(rt, "spans")
			if rapid.Bool().Draw(rt, "forget") {
				d.shapes.size = maxShapes + 1
			}
			if _, err := d.decode(request{signal: traces, body: keysBody(t, spans)}, cols, now); err != nil {
				rt.Fatal(err)
			}
			got := attributesOf(cols)
			for i, keys := range spans {
				var want [2][]string
				for j, k := range keys[:min(len(keys), 8)] {
					kept, _ := clip([]byte(k), 20)
					want[0], want[1] = append(want[0], strings.ToValidUTF8(string(kept), replacement)), append(want[1], fmt.Sprint(j))
				}
				if !slices.Equal(got[i][0], want[0]) || !slices.Equal(got[i][1], want[1]) {
					rt.Fatalf("span %d: got %q, want %q", i, got[i], want)
				}
			}
			cols.reset()
		}
	})
}

// Keys that somebody makes up are remembered only up to a bound.
func TestShapesAreBounded(t *testing.T) {
	d := limitedDecoder(nil)
	cols := newColumns()
	largest, longest := 0, 0
	for i := range 400 {
		var spans [][]string
		for j := range 100 {
			spans = append(spans, []string{fmt.Sprint(i, j), strings.Repeat("x", 500), fmt.Sprint(j, i)})
		}
		known := max(1, len(d.shapes.all))
		if _, err := d.decode(request{signal: traces, body: keysBody(t, spans)}, cols, time.Now()); err != nil {
			t.Fatal(err)
		}
		cols.reset()
		largest, longest = max(largest, d.shapes.size), max(longest, len(d.shapes.all)-known)
	}
	if largest > maxShapes+maxNewShapes*(shapeSize+2000) {
		t.Errorf("shapes grew to %d bytes, want about %d", largest, maxShapes)
	}
	if longest > maxNewShapes {
		t.Errorf("a request added %d shapes, want at most %d", longest, maxNewShapes)
	}
	if len(d.shapes.all) == 400*maxNewShapes+1 {
		t.Error("nothing was forgotten")
	}
}
