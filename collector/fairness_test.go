package collector

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// The fleet of the fairness test: tenants that use half of their quota, and one that offers a hundred times its own.
const (
	fairTenants = 20
	fairQuota   = 200                    // spans a second
	fairSpans   = 10                     // of a request, half of them requests
	fairPause   = 100 * time.Millisecond // between a tenant's requests
	floodTimes  = 100
	floodSpans  = 1000 // of a request
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

// fleet pushes to a collector and keeps what it was told.
type fleet struct {
	t      *testing.T
	url    string
	client *http.Client
	sent   [fairTenants]atomic.Int64 // requests of each tenant that were acknowledged in full

	floodTaken, floodRefused, floodAway atomic.Int64 // spans, spans, requests with 503
}

func (f *fleet) push(key string, body []byte) (*collectorpb.ExportTracePartialSuccess, int, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, f.url+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, err
	}
	var out collectorpb.ExportTraceServiceResponse
	err = proto.Unmarshal(got, &out)
	return out.PartialSuccess, resp.StatusCode, err
}

// others lets the well-behaved tenants push for so long and returns the 99th percentile of their acknowledgements, each from
// the moment at which it was due.
func (f *fleet) others(ctx context.Context, long time.Duration) time.Duration {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acks  []time.Duration
		ended = time.Now().Add(long)
	)
	for n := range fairTenants {
		wg.Go(func() {
			due := time.Now().Add(fairPause * time.Duration(n) / fairTenants)
			for ; due.Before(ended) && time.Now().Before(ended) && ctx.Err() == nil; due = due.Add(fairPause) {
				<-time.After(time.Until(due))
				var spans []*tracepb.Span
				for i := range fairSpans {
					s := server("GET /a", text("http.route", "/a"), text("tenant.id", fmt.Sprintf("good-%02d", n)))
					if i%2 == 1 {
						s.Kind = tracepb.Span_SPAN_KIND_INTERNAL
					}
					spans = append(spans, s)
				}
				partial, status, err := f.push("ingest", encode(f.t, export(spans...)))
				if err != nil || status != http.StatusOK || partial != nil {
					f.t.Errorf("tenant %d: status %d, %v, %v", n, status, partial, err)
					return
				}
				f.sent[n].Add(1)
				mu.Lock()
				acks = append(acks, time.Since(due))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(acks)
	if len(acks) == 0 {
		f.t.Fatal("nothing was acknowledged")
	}
	return acks[len(acks)*99/100]
}

// flood is a body of one tenant; n makes it another one each time. Its last bytes are a field that OTLP does not have.
func flood(template []byte, n int64) []byte {
	return binary.AppendUvarint(append(bytes.Clone(template), 15<<3), uint64(n))
}

func floodTemplate(t *testing.T, spans int) []byte {
	var all []*tracepb.Span
	for range spans {
		all = append(all, server("GET /flood", text("http.route", "/flood"), text("tenant.id", "flood"), text("url.path", strings.Repeat("/x", 40))))
	}
	return encode(t, export(all...))
}

// took counts what a request of the flood was told.
func (f *fleet) took(partial *collectorpb.ExportTracePartialSuccess, status int, err error, spans int) {
	switch {
	case err != nil:
		f.t.Errorf("flood: %v", err)
	case status == http.StatusServiceUnavailable:
		f.floodAway.Add(1)
	case status != http.StatusOK:
		f.t.Errorf("flood: status %d", status)
	default:
		if partial != nil && !strings.Contains(partial.ErrorMessage, fmt.Sprintf(`tenant "flood" sends more than %d spans a second`, fairQuota*floodHard)) {
			f.t.Errorf("flood: told %q", partial.ErrorMessage)
		}
		f.floodRefused.Add(partial.GetRejectedSpans())
		f.floodTaken.Add(int64(spans) - partial.GetRejectedSpans())
	}
}

// floodPaced offers floodTimes times the quota with the key until ctx is done.
func (f *fleet) floodPaced(ctx context.Context, key string) {
	template := floodTemplate(f.t, floodSpans)
	tick := time.NewTicker(time.Second * floodSpans / (floodTimes * fairQuota))
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		wg.Go(func() {
			partial, status, err := f.push(key, flood(template, int64(spanSerial.Add(1))))
			f.took(partial, status, err, floodSpans)
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// floodAll offers as much as the collector takes, in large bodies over many connections, until ctx is done.
func (f *fleet) floodAll(ctx context.Context, key string) {
	const connections, spans = 16, 4 * floodSpans
	template := floodTemplate(f.t, spans)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				partial, status, err := f.push(key, flood(template, int64(spanSerial.Add(1))))
				f.took(partial, status, err, spans)
				if status == http.StatusServiceUnavailable {
					select {
					case <-time.After(50 * time.Millisecond): // far less than Retry-After says
					case <-ctx.Done():
					}
				}
			}
		})
	}
}

// One tenant offers a hundred times its share, with the others' key and with its own: the others' acknowledgements take as
// long as without it. And whatever it sends, they lose nothing.
func TestFloodOfOneTenantChangesNothingForOthers(t *testing.T) {
	db := testenv.NewClickHouse(t)
	quota := tenant.Quota{SpansPerSecond: fairQuota, BurstSeconds: 1, HardLimit: floodHard, NewRoutesPerHour: 100}
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
	// What else runs on the machine disturbs both; what the flood does shows every time.
	compare := func(name string, attack func(ctx context.Context)) {
		for attempt := 1; ; attempt++ {
			calm, flooded := measure("calm", nil), measure(name, attack)
			if flooded <= 2*calm+50*time.Millisecond {
				return
			}
			if attempt == 3 {
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
	r.awaitEmptySpool(t)
	f.checkStored(db, seconds, phases)
}

// checkStored compares the tables with what was acknowledged.
func (f *fleet) checkStored(db *testenv.ClickHouse, seconds float64, floods int) {
	t := f.t
	count := func(sql string) map[string]uint64 {
		t.Helper()
		rows, err := db.Conn.Query(t.Context(), sql)
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
	for n := range fairTenants {
		id, sent := fmt.Sprintf("good-%02d", n), uint64(f.sent[n].Load())
		if requests[id] != sent*fairSpans/2 || minutes[id] != sent*fairSpans/2 || spans[id] != sent*fairSpans {
			t.Errorf("%s: %d requests acknowledged; stored are %d rows of requests, %d in latency_1m, %d spans", id, sent, requests[id], minutes[id], spans[id])
		}
	}
	taken := uint64(f.floodTaken.Load())
	if requests["flood"] != taken || minutes["flood"] != taken {
		t.Errorf("flood: %d spans taken, %d and %d requests counted", taken, requests["flood"], minutes["flood"])
	}
	// Its quota and burst; as much again of slow roots; and what is let through before the level has risen, at each flood.
	if most := 2*fairQuota*(seconds+1) + float64(floods*fairQuota*floodHard); float64(spans["flood"]) > most {
		t.Errorf("flood: %d spans stored in %.1f s, more than %.0f", spans["flood"], seconds, most)
	}
	t.Logf("flood: %d requests counted, %d spans stored in %.1f s", taken, spans["flood"], seconds)
}

// Bodies that never come hold next to nothing, however many.
func TestSlowBodiesHoldLittle(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) { o.MaxInflight = 16 << 20 })
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
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.memory.inUse() < slow*(perRequest+firstStep) {
		<-tick.C
	}
	if got := r.memory.inUse(); got != slow*(perRequest+firstStep) {
		t.Errorf("%d slow bodies hold %d bytes", slow, got)
	}
	if ps := r.send(t, server("x")); ps != nil {
		t.Errorf("another key's request: %v", ps)
	}
}
