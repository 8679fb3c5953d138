package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/time/rate"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// counts are what a load sent, or what is stored of it.
type counts struct{ spans, calls, requests, errors uint64 }

// load pushes spans from several clients that behave as an SDK should: a body that was not acknowledged is sent again,
// the same to the byte, until it is. So when it has stopped, what it sent is what was acknowledged.
type load struct {
	otlp, key, product string

	stop    chan struct{}
	clients sync.WaitGroup
	pace    *rate.Limiter

	mu       sync.Mutex // guards what follows
	sent     counts
	byTenant map[string]uint64 // requests
	bodies   int
	again    int // sendings beyond the first
	refused  map[int]int
	err      error
}

const (
	loadClients = 4
	loadBodies  = 40 // a second, all clients together
	// hurried is the share of sendings whose client goes away before the answer is sure to come: their bodies are stored
	// and sent again, or arrive twice at once.
	hurried = 0.25
	// giveUp bounds how long one body may take to be acknowledged.
	giveUp = 90 * time.Second
)

func startLoad(h *harness.Headroom, key, product string) *load {
	l := &load{otlp: h.OTLP, key: key, product: product, stop: make(chan struct{}), pace: rate.NewLimiter(loadBodies, loadClients),
		byTenant: map[string]uint64{}, refused: map[int]int{}}
	for i := range loadClients {
		l.clients.Go(func() { l.client(i) })
	}
	return l
}

func (l *load) client(n int) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		_ = l.pace.Wait(context.Background()) // its context never ends
		body, c, byTenant := l.body(n)
		if err := l.deliver(body); err != nil {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
		l.mu.Lock()
		l.bodies++
		l.sent.spans += c.spans
		l.sent.calls += c.calls
		l.sent.requests += c.requests
		l.sent.errors += c.errors
		for t, n := range byTenant {
			l.byTenant[t] += n
		}
		l.mu.Unlock()
	}
}

func (l *load) body(client int) ([]byte, counts, map[string]uint64) {
	var c counts
	var spans []*tracepb.Span
	byTenant := map[string]uint64{}
	now := time.Now()
	for range 20 + rand.IntN(180) {
		tenant := fmt.Sprintf("%s-tenant-%d", l.product, rand.IntN(7))
		status := int64(200)
		if rand.IntN(10) == 0 {
			status = 503
			c.errors++
		}
		// Some belong to minutes and hours before, so that every rollup gets several rows.
		end := now.Add(-time.Duration(rand.ExpFloat64() * float64(20*time.Minute)))
		s := requestSpan(tenant, fmt.Sprintf("/route-%d", rand.IntN(5)), end, time.Duration(1+rand.IntN(300))*time.Millisecond, status)
		spans = append(spans, s)
		c.requests++
		byTenant[tenant]++
		if rand.IntN(3) == 0 {
			spans = append(spans, callSpan(s, tenant))
			c.calls++
		}
	}
	c.spans = c.requests + c.calls
	return export(l.product, fmt.Sprintf("service-%d", client), spans), c, byTenant
}

// deliver sends a body until it is acknowledged.
func (l *load) deliver(body []byte) error {
	var last error
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for began := time.Now(); time.Since(began) < giveUp; <-retry.C {
		timeout := 10 * time.Second
		if rand.Float64() < hurried {
			timeout = time.Duration(rand.IntN(30)) * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		a, err := post(ctx, l.otlp, l.key, body)
		cancel()
		switch {
		case err != nil:
			last = err
		case a.Status == http.StatusOK && len(a.Body) == 0:
			return nil
		case a.Status == http.StatusOK || a.Status < 500:
			return fmt.Errorf("cannot push spans: %d %q", a.Status, a.Body)
		default:
			last = fmt.Errorf("%d %q", a.Status, a.Body)
		}
		l.mu.Lock()
		l.again++
		l.refused[a.Status]++
		l.mu.Unlock()
	}
	return fmt.Errorf("a body was not acknowledged within %v: %w", giveUp, last)
}

// acknowledged returns how many bodies were acknowledged so far.
func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bodies
}

// finish stops sending new bodies and returns when all are acknowledged.
func (l *load) finish(t *testing.T) counts {
	t.Helper()
	close(l.stop)
	l.clients.Wait()
	if l.err != nil {
		t.Fatal(l.err)
	}
	t.Logf("%d bodies acknowledged, %d sendings beyond the first (by status, 0 is none: %v), %+v", l.bodies, l.again, l.refused, l.sent)
	if l.bodies == 0 {
		t.Fatal("no body was acknowledged")
	}
	return l.sent
}

// wantStored checks that every table and every rollup holds exactly what was acknowledged: nothing lost, nothing twice.
func (l *load) wantStored(t *testing.T, h *harness.Headroom, ch harness.ClickHouse, slo string) {
	t.Helper()
	p, s := "product = '"+l.product+"'", "slo = '"+slo+"'"
	checks := []struct {
		what, sql string
		want      uint64
	}{
		{"requests", "count() FROM requests WHERE " + p, l.sent.requests},
		{"requests, errors", "sum(error) FROM requests WHERE " + p, l.sent.errors},
		{"spans", "count() FROM trace_spans WHERE " + p, l.sent.spans},
		{"latency_1m", "sum(requests) FROM latency_1m WHERE " + p, l.sent.requests},
		{"latency_1m, errors", "sum(errors) FROM latency_1m WHERE " + p, l.sent.errors},
		{"latency_1m, histograms", "sum(arraySum(mapValues(histogram))) FROM latency_1m WHERE " + p, l.sent.requests},
		{"latency_1h", "sum(requests) FROM latency_1h WHERE " + p, l.sent.requests},
		{"latency_1h, errors", "sum(errors) FROM latency_1h WHERE " + p, l.sent.errors},
		{"latency_1h, histograms", "sum(arraySum(mapValues(histogram))) FROM latency_1h WHERE " + p, l.sent.requests},
		{"load_1m", "sum(calls) FROM load_1m WHERE " + p, l.sent.calls},
		{"ingest_1m", "sum(spans) FROM ingest_1m WHERE startsWith(tenant, '" + l.product + "-tenant-')", l.sent.spans},
		{"sli_1m, total", "sum(total) FROM sli_1m WHERE " + s, l.sent.requests},
		{"sli_1m, good", "sum(good) FROM sli_1m WHERE " + s, l.sent.requests - l.sent.errors},
		{"sli_1h, total", "sum(total) FROM sli_1h WHERE " + s, l.sent.requests},
		{"sli_1h, good", "sum(good) FROM sli_1h WHERE " + s, l.sent.requests - l.sent.errors},
	}
	var sql []string
	for _, c := range checks {
		sql = append(sql, "SELECT toUInt64("+strings.Replace(c.sql, " FROM ", ") FROM ", 1))
	}
	query := "SELECT (" + strings.Join(sql, "), (") + ")"
	eventually(t, time.Minute, "all that was acknowledged is stored once", func() error {
		out, err := ch.Query(t.Context(), query)
		if err != nil {
			return err
		}
		var wrong []string
		for i, field := range strings.Split(out, "\t") {
			if want := fmt.Sprint(checks[i].want); field != want {
				wrong = append(wrong, fmt.Sprintf("%s: %s, acknowledged %s", checks[i].what, field, want))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%s", strings.Join(wrong, "; "))
		}
		return nil
	})
	eventually(t, 20*time.Second, "the API counts what was acknowledged", func() error {
		var out struct {
			Tenants []struct {
				Tenant   string `json:"tenant"`
				Requests uint64 `json:"requests"`
			} `json:"tenants"`
		}
		from, to := time.Now().Add(-24*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		if err := h.API().JSON(t.Context(), http.MethodGet, "/tenants?product="+l.product+"&from="+from+"&to="+to, nil, &out); err != nil {
			return err
		}
		if len(out.Tenants) != len(l.byTenant) {
			return fmt.Errorf("%d tenants, want %d", len(out.Tenants), len(l.byTenant))
		}
		for _, one := range out.Tenants {
			if one.Requests != l.byTenant[one.Tenant] {
				return fmt.Errorf("tenant %q: %d requests, acknowledged %d", one.Tenant, one.Requests, l.byTenant[one.Tenant])
			}
		}
		return nil
	})
}
