package collector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// mixedMetrics returns n points of each of a gauge that nobody maps, a measure of a cache, and an exponential histogram,
// over days days.
func mixedMetrics(n, days int) []*metricspb.Metric {
	var ms []*metricspb.Metric
	for i := range n {
		at := time.Now().Add(-time.Duration(i%days) * 24 * time.Hour)
		ms = append(ms,
			gauge("unmapped", double(at, float64(i), number("i", int64(i)))),
			sum("redis.keyspace.hits", true, cumulative, double(at, float64(i), text("server.address", fmt.Sprint("r", i)))),
			&metricspb.Metric{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: cumulative,
				DataPoints: []*metricspb.ExponentialHistogramDataPoint{{TimeUnixNano: uint64(at.UnixNano()), Count: 1,
					Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: []uint64{1}}}}}}},
		)
	}
	return ms
}

// wantMixedMetrics wants what n of mixedMetrics make, each once.
func wantMixedMetrics(t *testing.T, db *testenv.ClickHouse, n int) {
	t.Helper()
	wantRows(t, db, `SELECT toString(tuple((SELECT count() FROM metric_points), (SELECT count() FROM metric_histograms), (SELECT count() FROM resource_points),
			(SELECT sum(count) FROM resource_1m), (SELECT toInt64(sum(sum)) FROM resource_1m)))`,
		fmt.Sprintf("(%d,%d,%d,%d,%d)", 2*n, n, n, n, n*(n-1)/2))
	wantRows(t, db, `SELECT toString(count()) FROM metric_points AS p LEFT ANTI JOIN metric_series AS s ON s.series = p.series AND s.day = toDate(p.ts)`, "0")
}

// Whatever step of an insert fails, every point is counted once and has its name.
func TestFailureAtEachStepCountsPointsOnce(t *testing.T) {
	eachFailure(t, []table{tableSeries, tablePoints, tableHistograms, tableResources}, func(t *testing.T, db *testenv.ClickHouse, r *running) {
		r.sendMetrics(t, mixedMetrics(60, 3)...)
		r.awaitEmptySpool(t)
		wantMixedMetrics(t, db, 60)
	})
}

// The view of resource_points fails after the table has its rows: the repetition must add to the view's target only.
func TestFailingViewCountsPointsOnce(t *testing.T) {
	db := testenv.NewClickHouse(t)
	exec := func(sql string) {
		t.Helper()
		if err := db.Owner.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE sink (x UInt8) ENGINE = Null")
	exec("CREATE MATERIALIZED VIEW trap TO sink AS SELECT toUInt8(throwIf(1)) AS x FROM resource_1m")
	var once sync.Once
	r := faulty(t, db, t.TempDir(), func(tb table, insert func() error) error {
		err := insert()
		if tb == tableResources {
			once.Do(func() {
				if refused := (*refusedError)(nil); !errors.As(err, &refused) {
					t.Errorf("insert with a failing view: %v", err)
				}
				exec("DROP VIEW trap")
			})
		}
		return err
	})
	r.sendMetrics(t, mixedMetrics(40, 2)...)
	r.awaitEmptySpool(t)
	wantMixedMetrics(t, db, 40)
}

// A remote-write request that is sent again, after a restart too, is not counted and gets the same answer, with what was
// written of it, and the same refusal.
func TestRemoteWriteSentAgain(t *testing.T) {
	db := testenv.NewClickHouse(t)
	dir := t.TempDir()
	r := start(t, db, dir)
	now := time.Now()
	good := newRequest2().add(sampleAt(now, 1), "__name__", "a").add(sampleAt(now, math.Inf(-1)), "__name__", "b")
	partial := newRequest2().add(sampleAt(now, 1), "__name__", "c").add(sampleAt(now, 1), "nameless", "x")
	for i := range 3 {
		if i == 2 {
			r.stop()
			r = start(t, db, dir)
		}
		for _, req := range []*request2{good, partial} {
			resp := r.post(t, remoteWritePath, snappyOf(t, req), "Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
			status, samples, says := http.StatusNoContent, "2", ""
			if req == partial {
				status, samples, says = http.StatusBadRequest, "1", "__name__: must be there"
			}
			if got := resp.header.Get("X-Prometheus-Remote-Write-Samples-Written"); resp.status != status || got != samples || !strings.Contains(string(resp.body), says) {
				t.Errorf("time %d: %d, %s samples written, %q", i, resp.status, got, resp.body)
			}
		}
	}
	r.awaitEmptySpool(t)
	wantRows(t, db, "SELECT concat(metric, ' ', toString(value)) FROM metric_points ORDER BY metric", "a 1", "b -inf", "c 1")
}
