package collector

import (
	"math"
	"testing"
	"time"

	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"pgregory.net/rapid"
)

// However a native histogram lays out its buckets, in spans of differences or of counts, each is stored under
// OpenTelemetry's index with its count, and empty ones are not.
func TestNativeBucketsKeepTheirPlace(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		gaps := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 8).Draw(rt, "gaps")
		first := rapid.IntRange(-2000, 2000).Draw(rt, "first")
		asFloat := rapid.Bool().Draw(rt, "float")
		h := &writev2.Histogram{Schema: int32(rapid.IntRange(-4, 8).Draw(rt, "schema")), Timestamp: now.UnixMilli()}
		want := map[int32]float64{}
		index, before := first, int64(0)
		for i, gap := range gaps {
			span := &writev2.BucketSpan{Offset: int32(gap), Length: uint32(rapid.IntRange(0, 4).Draw(rt, "length"))}
			if i == 0 {
				span.Offset = int32(first)
			} else {
				index += gap
			}
			h.PositiveSpans = append(h.PositiveSpans, span)
			for range span.Length {
				n := rapid.Int64Range(0, 1<<40).Draw(rt, "count")
				if rapid.Bool().Draw(rt, "empty") {
					n = 0
				}
				if asFloat {
					h.PositiveCounts = append(h.PositiveCounts, float64(n)/8)
				} else {
					h.PositiveDeltas = append(h.PositiveDeltas, n-before)
				}
				if before = n; n > 0 {
					want[int32(index-1)] = float64(n)
					if asFloat {
						want[int32(index-1)] /= 8
					}
				}
				index++
			}
		}
		h.NegativeSpans, h.NegativeDeltas, h.NegativeCounts = h.PositiveSpans, h.PositiveDeltas, h.PositiveCounts
		req := newRequest2().add(&writev2.TimeSeries{Histograms: []*writev2.Histogram{h}}, "__name__", "h")
		out, cols, err := decodePoints(remoteWrite2, encode(t, req.build()), now)
		if err != nil || out.accepted != 1 {
			rt.Fatalf("%v %+v", err, out)
		}
		for _, c := range []*bucketColumn{&cols.metric.histograms.positive, &cols.metric.histograms.negative} {
			got := map[int32]float64{}
			for i, k := range c.keys {
				got[k] = c.counts[i]
			}
			if len(got) != len(want) {
				rt.Fatalf("got %v, want %v", got, want)
			}
			for k, n := range want {
				if got[k] != n {
					rt.Fatalf("bucket %d: got %g, want %g", k, got[k], n)
				}
			}
		}
	})
}

// Any float64 comes out of the columns as it went in, to the bit: stale markers are told from other NaNs by theirs.
func TestValuesKeepTheirBits(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		bits := rapid.OneOf(rapid.Uint64(), rapid.Just(uint64(staleBits)), rapid.Just(math.Float64bits(math.NaN()))).Draw(rt, "bits")
		req := newRequest2().add(sampleAt(now, math.Float64frombits(bits)), "__name__", "x")
		_, cols, err := decodePoints(remoteWrite2, encode(t, req.build()), now)
		if err != nil || math.Float64bits(cols.metric.points.value[0]) != bits {
			rt.Fatalf("%v: %x became %x", err, bits, math.Float64bits(cols.metric.points.value[0]))
		}
	})
}
