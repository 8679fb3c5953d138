package collector

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"pgregory.net/rapid"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

var discard = slog.New(slog.DiscardHandler)

// testQuotas are quotas of so many spans a second for everybody, with bursts of a second. hard is the hard limit.
func testQuotas(spans, hard int64) tenant.Quotas {
	q := tenant.Quota{SpansPerSecond: spans, BurstSeconds: 1, HardLimit: hard, NewRoutesPerHour: 10}
	return tenant.Quotas{Starter: q, Professional: q, Enterprise: q, Unregistered: q}
}

// limitedDecoder decodes with limits, at times that the test gives.
func limitedDecoder(l *limiter) *decoder {
	return &decoder{limits: spanLimits{limiter: l}, opts: decodeOptions{tenantAttributes: []string{"tenant.id"}, maxFuture: 10 * time.Minute,
		retention: 30 * 24 * time.Hour, maxValue: 4096, maxName: 512, maxAttributes: 256, maxExpansion: maxExpansion}}
}

// traceSpan returns a span of a trace; its parent is the trace's root, unless it is that.
func traceSpan(trace uint64, n int, kind tracepb.Span_SpanKind) *tracepb.Span {
	s := span("op", kind)
	binary.BigEndian.PutUint64(s.TraceId, trace|1<<63)
	binary.BigEndian.PutUint64(s.TraceId[8:], trace)
	if n > 0 {
		s.ParentSpanId = []byte{1, 2, 3, 4, 5, 6, 7, 8}
	}
	return s
}

// Over the quota every request and every call is counted, traces are kept or left out as a whole, and of what is left
// out spans with errors are kept, and some roots that are slow.
func TestWholeTracesAreSampled(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		start := time.Now()
		quota := rapid.Int64Range(50, 500).Draw(rt, "quota")
		failing := rapid.Uint64Range(10, 100).Draw(rt, "one of so many traces fails")
		l := newLimiter(testQuotas(quota, 0), nil, discard, start)
		lanes := []*decoder{limitedDecoder(l), limitedDecoder(l)}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		spans, stored, traceCount, whole := 0, 0, 0, 0
		for step := range 80 { // 300 spans each quarter of a second
			now := start.Add(time.Duration(step) * 250 * time.Millisecond)
			a := l.account("acme", l.time(now))
			a.settle(l, &usage{}, l.time(now)) // from here on the levels can only rise
			before, extraBefore := a.main.level, a.extra.level
			var all []*tracepb.Span
			failed := map[string]bool{}
			for range 100 {
				trace := random.Uint64()
				call := traceSpan(trace, 1, tracepb.Span_SPAN_KIND_CLIENT)
				call.Attributes = append(call.Attributes, text("db.system.name", "redis"))
				inner := traceSpan(trace, 2, tracepb.Span_SPAN_KIND_INTERNAL)
				all = append(all, traceSpan(trace, 0, tracepb.Span_SPAN_KIND_SERVER), call, inner)
				if trace%failing == 0 {
					inner.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
					failed[string(inner.SpanId)] = true
				}
			}
			cols := newColumns()
			out, err := lanes[step%2].decode(request{signal: traces, body: encode(t, export(all...))}, cols, now)
			if err != nil || out.accepted != len(all) || out.rejectedTotal() != 0 {
				rt.Fatalf("%+v, %v", out, err)
			}
			rows := cols.spans.kind.Rows()
			if cols.requests.status.Rows() != 100 || cols.load.calls.Rows() != 100 {
				rt.Fatalf("%d requests and %d calls of 100 each were counted", cols.requests.status.Rows(), cols.load.calls.Rows())
			}
			if attributes := cols.spans.attributeValues.rows; out.sampledAway != len(all)-rows || attributes != rows {
				rt.Fatalf("%d of %d spans sampled away, %d rows, %d rows of attributes", out.sampledAway, len(all), rows, attributes)
			}
			spans, stored = spans+len(all), stored+rows
			if before != a.main.level || extraBefore > 0 || a.extra.level > 0 {
				continue // what came before the level changed was held to another
			}
			kept := map[string]int{}
			for i := range rows {
				id, spanID := string(cols.spans.traceID.buf[16*i:16*i+16]), string(cols.spans.spanID.buf[8*i:8*i+8])
				kept[id]++
				delete(failed, spanID)
			}
			if len(failed) > 0 {
				rt.Fatalf("%d spans with errors were left out", len(failed))
			}
			for i := 0; i < len(all); i += 3 {
				n, id := kept[string(all[i].TraceId)], all[i].TraceId
				if traceCount++; n == 3 {
					whole++
				}
				if want := keeps(id, before); want != (n == 3) || !want && n > 2 {
					rt.Fatalf("of trace %x %d spans of 3 were kept at level %d", id, n, before)
				}
			}
		}
		// 20 seconds, a burst, what came before the level rose, errors and slow roots.
		if most := int(20*quota+quota) + 1200 + spans/int(failing)/3 + spans/20; stored > most {
			rt.Fatalf("%d of %d spans were stored at %d a second, want at most %d", stored, spans, quota, most)
		}
		if share := float64(whole) / float64(traceCount); share < float64(quota)/1200/4 {
			rt.Fatalf("only %d of %d traces were kept whole", whole, traceCount)
		}
	})
}

// Beyond the hard limit a tenant's spans are refused, and nobody else's.
func TestHardLimitRefusesOneTenantOnly(t *testing.T) {
	start := time.Now()
	l := newLimiter(testQuotas(10, 5), nil, discard, start)
	d := limitedDecoder(l)
	var spans []*tracepb.Span
	for i := range 300 {
		s := server("x")
		if i%3 == 0 {
			s.Attributes = append(s.Attributes, text("tenant.id", fmt.Sprint("quiet-", i)))
		}
		spans = append(spans, s)
	}
	body := encode(t, export(spans...))
	out, err := d.decode(request{signal: traces, body: body}, newColumns(), start)
	if err != nil || out.accepted != 100+50 || out.rejected[overQuota] != 150 || out.rejectedTotal() != 150 {
		t.Fatalf("%+v, %v; want 50 spans of acme and 100 of others", out, err)
	}
	want := `tenant "acme" sends more than 50 spans a second, the hard limit: 5 times what the plan "unregistered" allows; 149 more spans were refused`
	if got := out.answer(); got != (answer{150, want}) {
		t.Errorf("answer %d, %q; want %q", got.rejected, got.message, want)
	}
	l.report(start.Add(10 * time.Second))
	if over := l.worstOver(); len(over) != 1 || over[0].Tenant != "acme" || over[0].Refused != 150 || over[0].Plan != "unregistered" {
		t.Errorf("reported: %v", over)
	}
	l.report(start.Add(20 * time.Second))
	if over := l.worstOver(); len(over) != 0 || l.listed() != 0 {
		t.Errorf("still reported: %v", over)
	}
	out, err = d.decode(request{signal: traces, body: body}, newColumns(), start.Add(time.Minute))
	if err != nil || out.rejected[overQuota] != 150 {
		t.Errorf("a minute later: %+v, %v; want 50 spans of acme taken again", out, err)
	}
}

// The same for bytes: a tenant's bytes are those of its spans.
func TestHardLimitOfBytes(t *testing.T) {
	start := time.Now()
	q := testQuotas(0, 2)
	q.Unregistered.BytesPerSecond = 5000
	d := limitedDecoder(newLimiter(q, nil, discard, start))
	large := server("x", text("k", strings.Repeat("v", 3000)))
	req := export(large, server("x", text("tenant.id", "quiet")))
	for i := range 20 {
		out, err := d.decode(request{signal: traces, body: encode(t, req)}, newColumns(), start)
		if err != nil {
			t.Fatal(err)
		}
		if refused := out.rejected[overQuota]; refused != boolInt(i >= 4) {
			t.Fatalf("request %d: %d spans refused", i, refused)
		}
		if i == 4 && !strings.Contains(out.answer().message, `tenant "acme" sends more than 10000 bytes of spans a second`) {
			t.Errorf("answer %q", out.answer().message)
		}
	}
}

func boolInt(b bool) int { return int(boolean(b)) }

// A malformed body is charged nothing.
func TestMalformedBodyCostsNothing(t *testing.T) {
	start := time.Now()
	l := newLimiter(testQuotas(10, 1), nil, discard, start)
	d := limitedDecoder(l)
	good := encode(t, export(server("x")))
	for range 1000 {
		if _, err := d.decode(request{signal: traces, body: append(good[:len(good):len(good)], 0xff)}, newColumns(), start); err == nil {
			t.Fatal("a malformed body was taken")
		}
	}
	if out, err := d.decode(request{signal: traces, body: good}, newColumns(), start); err != nil || out.accepted != 1 {
		t.Errorf("%+v, %v", out, err)
	}
}

// Who invents a million tenants fills no memory, and gives the one who floods no new burst.
func TestAccountsAreBounded(t *testing.T) {
	start := time.Now()
	l := newLimiter(testQuotas(10, 1), nil, discard, start)
	l.max = 200
	flood := l.account("flood", 0)
	flood.settle(l, &usage{spent: spent{offered: amount{1000, 1}}}, 0)
	for i := range 1_000_000 {
		now := int64(i) * 1000
		l.account(tenant.ID(fmt.Sprint("invented-", i)), now)
		if i%100 == 0 && l.account("flood", now) != flood {
			t.Fatalf("after %d tenants the busy one is forgotten", i)
		}
	}
	if n := l.accounts(); n > 200*len(l.shards) {
		t.Errorf("%d accounts", n)
	}
	l.forgetIdle(int64(accountIdle) + 2_000_000_000)
	if n := l.accounts(); n != 0 {
		t.Errorf("%d accounts after an hour of quiet", n)
	}
}

// A body with more tenants than a decoder remembers is decoded all the same.
func TestBodyWithManyTenants(t *testing.T) {
	l := newLimiter(testQuotas(10, 1), nil, discard, time.Now())
	d := limitedDecoder(l)
	var spans []*tracepb.Span
	for i := range 3 * maxSeen {
		spans = append(spans, server("x", text("tenant.id", fmt.Sprint("t", i%(2*maxSeen)))))
	}
	out, err := d.decode(request{signal: traces, body: encode(t, export(spans...))}, newColumns(), time.Now())
	if err != nil || out.accepted != len(spans) || len(d.limits.seen) > maxSeen || len(d.limits.index) > maxSeen {
		t.Errorf("%+v, %v, %d remembered", out, err, len(d.limits.seen))
	}
}

// planSource is a Plans whose answer the test sets.
type planSource struct {
	mu    sync.Mutex
	plans map[tenant.ID]tenant.Plan
	err   error
}

func (p *planSource) Plans(context.Context) (map[tenant.ID]tenant.Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plans, p.err
}

func (p *planSource) set(plans map[tenant.ID]tenant.Plan, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plans, p.err = plans, err
}

// Plans are followed within seconds, and stay as they were while PostgreSQL is away.
func TestPlansAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := tenant.DefaultQuotas()
		source := &planSource{err: errors.New("away")}
		l := newLimiter(q, source, discard, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.run(ctx) })
		metricsOnly := newAccount("acme", newTerms("none yet", tenant.Quota{}), 1<<63, &l.room, 0)
		want := func(plan string, spans int64) {
			t.Helper()
			synctest.Wait()
			now := l.time(time.Now())
			spansOnly := l.account("acme", now)
			spansOnly.settle(l, &usage{}, now)
			if _, err := metricsOnly.admitSeries(l, 1, 1, now); err != nil {
				t.Error(err)
			}
			for _, a := range []*account{spansOnly, metricsOnly} {
				if a.terms.plan != plan || a.terms.quota.SpansPerSecond != spans {
					t.Errorf("got plan %q with %d spans a second, want %q with %d", a.terms.plan, a.terms.quota.SpansPerSecond, plan, spans)
				}
			}
			<-time.After(planRefresh)
		}
		want("unregistered", q.Unregistered.SpansPerSecond)
		source.set(map[tenant.ID]tenant.Plan{"acme": tenant.Starter}, nil)
		<-time.After(planRefresh)
		want("starter", q.Starter.SpansPerSecond)
		source.set(nil, errors.New("away"))
		want("starter", q.Starter.SpansPerSecond)
		want("starter", q.Starter.SpansPerSecond)
		source.set(map[tenant.ID]tenant.Plan{"acme": tenant.Professional}, nil)
		<-time.After(planRefresh)
		want("professional", q.Professional.SpansPerSecond)
		source.set(map[tenant.ID]tenant.Plan{}, nil)
		<-time.After(planRefresh)
		want("unregistered", q.Unregistered.SpansPerSecond)
		cancel()
		wg.Wait()
	})
}

// A key over its rate waits, and is told for how long; what it sends then is taken.
func TestKeyIsThrottled(t *testing.T) {
	var k keyLimits
	k.quota = tenant.KeyQuota{SpansPerSecond: 100, BytesPerSecond: 1000}
	second := int64(time.Second)
	refused := func(now int64, wait time.Duration, says string) {
		t.Helper()
		err := k.admit(1, "gateway", 10, now)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.RetryAfter != wait || !strings.Contains(f.Message, says) {
			t.Errorf("got %v, want Unavailable for %s that says %q", err, wait, says)
		}
	}
	taken := func(key int64, bytes int, now int64) {
		t.Helper()
		if err := k.admit(key, "gateway", bytes, now); err != nil {
			t.Error(err)
		}
	}
	taken(1, 9999, 0)
	taken(1, 5001, 0)
	refused(0, 5*time.Second, `"gateway" sends more than 1000 bytes a second`)
	taken(2, 10, 0)
	refused(-3*second, 5*time.Second, "bytes") // a clock that goes back
	taken(1, 10, 6*second)
	k.charge(1, 1000+250, 10*second)
	refused(10*second, 3*time.Second, "100 spans a second")
	k.charge(1, 1_000_000, 10*second)
	refused(11*second, time.Minute, "spans") // never longer
	taken(1, 10, 100*second)
	k.forgetIdle(200 * second)
	if len(k.keys) != 0 {
		t.Errorf("%d keys are remembered", len(k.keys))
	}
}

// agreedQuotas is a QuotaSource whose answer the test sets.
type agreedQuotas struct {
	quotas tenant.Quotas
	own    map[tenant.ID]tenant.Quota
	err    error
}

func (a *agreedQuotas) Quotas(context.Context) (tenant.Quotas, map[tenant.ID]tenant.Quota, error) {
	return a.quotas, a.own, a.err
}

// Quotas that are agreed on hold in place of those of the options; terms that did not change stay the same ones, so that no
// account begins anew.
func TestAgreedQuotasAreFollowed(t *testing.T) {
	q := tenant.DefaultQuotas()
	l := newLimiter(q, &planSource{plans: map[tenant.ID]tenant.Plan{"acme": tenant.Starter, "beta": tenant.Starter}}, discard, time.Now())
	agreed := &agreedQuotas{quotas: q}
	l.agreed = agreed
	terms := func(id tenant.ID) *terms {
		l.refresh(t.Context())
		return l.termsOf(l.plans.Load(), id)
	}
	before, other := terms("acme"), terms("beta")
	if before.quota != q.Starter || before != other || before != terms("acme") {
		t.Errorf("nothing was changed: %+v", before)
	}
	own := q.Starter
	own.SpansPerSecond = 7
	agreed.own = map[tenant.ID]tenant.Quota{"acme": own}
	mine := terms("acme")
	if mine.quota != own || mine.plan != "starter" || terms("acme") != mine || terms("beta") != before {
		t.Errorf("an override: %+v", mine)
	}
	agreed.err = errors.New("away")
	if terms("acme") != mine {
		t.Error("while PostgreSQL is away the quota changed")
	}
	agreed.err, agreed.own, agreed.quotas.Starter.SpansPerSecond = nil, nil, 9
	if got := terms("acme"); got.quota.SpansPerSecond != 9 || terms("beta") != got {
		t.Errorf("another plan: %+v", got)
	}
}
