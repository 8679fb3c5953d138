package collector

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// The fleet of the fairness test: tenants that use half of their quota, and one that offers a hundred times its own.
const (
	fairTenants = 20
	fairQuota   = 200                    // spans a second
	fairSpans   = 10                     // of a request, half of them requests
	fairPause   = 100 * time.Millisecond // between a tenant's requests
	fairMetrics = 5                      // every so many of them, points of as many series follow
	floodTimes  = 100
	floodSpans  = 1000 // of a request
	floodPoints = 250  // of another; the quota of points is as much smaller, for the flood's sender needs a processor too
	floodHard   = 5
)

// phase is how long each part of the fairness test takes; "make fairness" gives it longer.
func phase(t *testing.T) time.Duration {
	text := os.Getenv("HEADROOM_FAIRNESS_PHASE")
	if text == "" {
		return 1500 * time.Millisecond
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// One tenant offers a hundred times its share, with the others' key and with its own: the others' acknowledgements take as
// long as without it. And whatever it sends, they lose nothing.
func TestFloodOfOneTenantChangesNothingForOthers(t *testing.T) {
	db := testenv.NewClickHouse(t)
	quota := tenant.Quota{SpansPerSecond: fairQuota, BurstSeconds: 1, HardLimit: floodHard, NewRoutesPerHour: 100,
		PointsPerSecond: fairQuota * floodPoints / floodSpans, NewSeriesPerHour: floodPoints}
	r := start(t, db, t.TempDir(), func(o *Options) {
		o.Linger, o.SealAfter = 0, 0 // the defaults
		o.Quotas = tenant.Quotas{Starter: quota, Professional: quota, Enterprise: quota, Unregistered: quota}
	})
	f := &fleet{t: t, url: r.url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}}
	defer f.client.CloseIdleConnections()
	long := phase(t)
	f.others(t.Context(), long/3) // connections are made, memory is pooled

	began, phases := time.Now(), 0
	measure := func(name string, attack func(ctx context.Context)) time.Duration {
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		if attack != nil {
			wg.Go(func() { attack(ctx) })
		}
		p99 := f.others(t.Context(), long)
		stop()
		wg.Wait()
		t.Logf("%-32s others' p99 %s; flood so far: %d spans taken, %d refused, %d requests sent away", name, p99,
			f.floodTaken.Load(), f.floodRefused.Load(), f.floodAway.Load())
		phases++
		return p99
	}
	// What else runs on the machine disturbs both; what the flood does shows every time. With the race detector it is the flood's
	// sender, in the same process, that the others wait for: then only delays by whole queues count.
	factor, allowance := time.Duration(2), 50*time.Millisecond
	if underRace {
		factor, allowance = 4, 400*time.Millisecond
	}
	compare := func(name string, attack func(ctx context.Context)) {
		for attempt := 1; ; attempt++ {
			calm, flooded := measure("calm", nil), measure(name, attack)
			if flooded <= factor*calm+allowance {
				return
			}
			if attempt == 6 {
				t.Errorf("%s: the others' p99 rose from %s to %s", name, calm, flooded)
				return
			}
		}
	}
	compare("flood with the same key", func(ctx context.Context) { f.floodPaced(ctx, "ingest") })
	compare("flood with its own key", func(ctx context.Context) { f.floodPaced(ctx, "other") })
	// Here who sends the flood takes the processors from all of us, so only what is stored is compared. Who is decoded next
	// is TestGateTakesKeysByTurns.
	measure("all that the machine can send", func(ctx context.Context) { f.floodAll(ctx, "other") })
	seconds := time.Since(began).Seconds()

	if f.floodRefused.Load() == 0 || f.floodTaken.Load() == 0 {
		t.Errorf("of the flood %d spans were taken and %d refused, want some of both", f.floodTaken.Load(), f.floodRefused.Load())
	}
	if f.pointsRefused.Load() == 0 || f.pointsTaken.Load() == 0 {
		t.Errorf("of the flood %d points were taken and %d refused, want some of both", f.pointsTaken.Load(), f.pointsRefused.Load())
	}
	r.awaitEmptySpool(t)
	f.checkStored(db, seconds, phases)
}

// checkStored compares the tables with what was acknowledged.
func (f *fleet) checkStored(db *testenv.ClickHouse, seconds float64, floods int) {
	t := f.t
	count := func(sql string) map[string]uint64 {
		t.Helper()
		rows, err := db.Owner.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		got := map[string]uint64{}
		for rows.Next() {
			var id string
			var n uint64
			if err := rows.Scan(&id, &n); err != nil {
				t.Fatal(err)
			}
			got[id] = n
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	requests := count("SELECT tenant, count() FROM requests GROUP BY tenant")
	minutes := count("SELECT tenant, sum(requests) FROM latency_1m GROUP BY tenant")
	spans := count("SELECT tenant, count() FROM trace_spans GROUP BY tenant")
	points := count("SELECT tenant, count() FROM metric_points GROUP BY tenant")
	for n := range fairTenants {
		id, sent := fmt.Sprintf("good-%02d", n), uint64(f.sent[n].Load())
		if requests[id] != sent*fairSpans/2 || minutes[id] != sent*fairSpans/2 || spans[id] != sent*fairSpans {
			t.Errorf("%s: %d requests acknowledged; stored are %d rows of requests, %d in latency_1m, %d spans", id, sent, requests[id], minutes[id], spans[id])
		}
		if want := uint64(f.points[n].Load()); points[id] != want || want == 0 {
			t.Errorf("%s: %d points acknowledged, %d stored", id, want, points[id])
		}
	}
	if want := uint64(f.pointsTaken.Load()); points["flood"] != want {
		t.Errorf("flood: %d points taken, %d stored", want, points["flood"])
	}
	taken := uint64(f.floodTaken.Load())
	if requests["flood"] != taken || minutes["flood"] != taken {
		t.Errorf("flood: %d spans taken, %d and %d requests counted", taken, requests["flood"], minutes["flood"])
	}
	// Its quota and burst; as much again of slow roots; and what is let through before the level has risen, at each flood.
	if most := 2*fairQuota*(seconds+1) + float64(floods*fairQuota*floodHard); float64(spans["flood"]) > most {
		t.Errorf("flood: %d spans stored in %.1f s, more than %.0f", spans["flood"], seconds, most)
	}
	t.Logf("flood: %d requests counted, %d spans stored in %.1f s; %d points stored, %d refused", taken, spans["flood"], seconds, points["flood"], f.pointsRefused.Load())
}

// Bodies that never come hold next to nothing, however many.
func TestSlowBodiesHoldLittle(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.MaxInflight, o.ReadTimeout = 16<<20, 10*time.Minute })
	const slow = 400
	for range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := fmt.Fprint(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer other\r\nContent-Type: application/x-protobuf\r\n"+
			"Content-Length: 1000000\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, func() bool { return r.memory.inUse() >= slow*(perRequest+firstStep) })
	if got := r.memory.inUse(); got != slow*(perRequest+firstStep) {
		t.Errorf("%d slow bodies hold %d bytes", slow, got)
	}
	if ps := r.send(t, server("x")); ps != nil {
		t.Errorf("another key's request: %v", ps)
	}
}
