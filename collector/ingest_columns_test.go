package collector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

const ingested = `SELECT concat(tenant, ': ', toString(sum(spans)), ' spans, ', toString(sum(sampled_spans)), ' sampled, ', toString(sum(refused_spans)),
	' refused, ', toString(sum(points)), ' points, ', toString(sum(refused_points)), ' refused') FROM ingest_1m WHERE minute >= now() - INTERVAL 10 MINUTE GROUP BY tenant ORDER BY tenant`

// What each tenant sent is stored with what became of it, exactly: what is counted only, what is refused in a request of
// which nothing else is stored, what is sent twice, what is malformed, and what waits while ClickHouse is away.
func TestIngestIsMetered(t *testing.T) {
	db := testenv.NewClickHouse(t)
	q := tenant.DefaultQuotas()
	q.Unregistered = tenant.Quota{SpansPerSecond: 1, BytesPerSecond: 1 << 30, BurstSeconds: 100, HardLimit: 2, PointsPerSecond: 1, ActiveSeries: 5}
	dir := t.TempDir()
	r := start(t, db, dir, func(o *Options) { o.Quotas = q })
	many := func(name string, n int) []*tracepb.Span {
		var spans []*tracepb.Span
		for range n {
			spans = append(spans, server("x", text("tenant.id", name)))
		}
		return spans
	}
	body := encode(t, export(append(many("flood", 150), many("quiet", 3)...)...))
	for range 2 { // the second is the same request
		r.sendBody(t, body)
	}
	// 100 of burst, then 200 in all; those left of a hard limit of 2 a second are a few.
	for range 20 {
		r.send(t, many("flood", 20)...)
	}
	if resp := r.post(t, "/v1/traces", append(encode(t, export(many("quiet", 5)...)), 0xff)); resp.status != http.StatusBadRequest {
		t.Fatalf("malformed: status %d", resp.status)
	}
	for i := range 8 {
		r.sendMetrics(t, gauge(fmt.Sprint("m", i), double(time.Now(), 1, text("tenant.id", "quiet"))))
	}
	r.stop()
	r = start(t, db, dir, func(o *Options) { o.Quotas = q })
	r.sendBody(t, body) // still known
	r.awaitEmptySpool(t)
	var spans, sampled, refused, requests, stored, bytes, storedBytes uint64
	err := db.Owner.QueryRow(context.Background(), `SELECT sum(spans), sum(sampled_spans), sum(refused_spans), sum(bytes), sum(stored_bytes), (SELECT count() FROM requests WHERE tenant = 'flood'),
		(SELECT count() FROM trace_spans WHERE tenant = 'flood') FROM ingest_1m WHERE tenant = 'flood'`).Scan(&spans, &sampled, &refused, &bytes, &storedBytes, &requests, &stored)
	if err != nil {
		t.Fatal(err)
	}
	if spans+refused != 550 || refused == 0 || sampled == 0 || spans != requests || spans-sampled != stored {
		t.Errorf("%d spans, %d of them sampled away, %d refused; want 550 in all, %d counted and %d stored", spans, sampled, refused, requests, stored)
	}
	if one := uint64(len(encode(t, export(many("flood", 1)...)))); bytes == 0 || bytes > spans*one {
		t.Errorf("%d bytes of %d spans", bytes, spans)
	}
	if storedBytes*spans != bytes*stored { // all are of one size
		t.Errorf("%d of %d bytes are stored with %d of %d spans", storedBytes, bytes, stored, spans)
	}
	if rows := rowsOf(t, db, ingested); len(rows) != 2 || !strings.HasPrefix(rows[1], "quiet: 3 spans, 0 sampled, 0 refused, 5 points, 3 refused") {
		t.Errorf("%q", rows)
	}
}

// What is refused is stored even when nothing that is stored comes with it or after it.
func TestRefusedAloneIsMetered(t *testing.T) {
	db := testenv.NewClickHouse(t)
	q := tenant.DefaultQuotas()
	q.Unregistered = tenant.Quota{SpansPerSecond: 1, BurstSeconds: 1, HardLimit: 1}
	r := start(t, db, t.TempDir(), func(o *Options) { o.Quotas = q })
	sent, refused := uint64(0), uint64(0)
	for alone := false; !alone; sent += 20 {
		var spans []*tracepb.Span
		for range 20 {
			spans = append(spans, server("x"))
		}
		rejected := r.send(t, spans...).GetRejectedSpans()
		alone = rejected == 20
		refused += uint64(rejected)
	}
	await(t, func() bool {
		var got, counted uint64
		if err := db.Owner.QueryRow(t.Context(), "SELECT sum(refused_spans), sum(spans) FROM ingest_1m WHERE tenant = 'acme'").Scan(&got, &counted); err != nil {
			t.Fatal(err)
		}
		return got == refused && counted == sent-refused
	})
}

// await waits for a condition.
func await(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to pass")
		}
		<-tick.C
	}
}
