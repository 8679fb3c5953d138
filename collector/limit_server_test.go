package collector

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// The plan that PostgreSQL has of a tenant sets its quota; others have theirs.
func TestPlanOfATenantSetsItsQuota(t *testing.T) {
	plans := tenant.NewStore(testenv.NewPostgres(t).Pool)
	if err := plans.Put(t.Context(), "test", tenant.Tenant{ID: "acme", Plan: tenant.Starter}); err != nil {
		t.Fatal(err)
	}
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) {
		o.Plans = plans
		o.Quotas = tenant.DefaultQuotas()
		o.Quotas.Starter = tenant.Quota{SpansPerSecond: 1, BurstSeconds: 1, HardLimit: 2}
	})
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.limiter.plans.Load().version == 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the plans were not read")
		}
	}
	ps := r.send(t, mixed(6, 1)...)
	if ps.GetRejectedSpans() != 4 || !strings.Contains(ps.GetErrorMessage(),
		`tenant "acme" sends more than 2 spans a second, the hard limit: 2 times what the plan "starter" allows; 3 more spans were refused`) {
		t.Errorf("acme: %v", ps)
	}
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		if ps := r.send(t, server("x", text("tenant.id", id)), server("y", text("tenant.id", id)), server("z", text("tenant.id", id))); ps != nil {
			t.Errorf("%s: %v", id, ps)
		}
	}
	r.awaitEmptySpool(t)
	if got := countAll(t, db); got.requests != 2+18 || got.minuteRequests != 20 {
		t.Errorf("counts: %+v", got)
	}
}

// A key over its rate is sent away for as long as it has to wait; what it was acknowledged before stays so.
func TestKeyOverItsRateIsSentAway(t *testing.T) {
	r := start(t, testenv.NewClickHouse(t), t.TempDir(), func(o *Options) {
		o.Quotas = tenant.Quotas{Key: tenant.KeyQuota{SpansPerSecond: 1}}
	})
	body := encode(t, export(mixed(32, 1)...))
	if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusOK {
		t.Fatalf("the burst: %d %q", resp.status, resp.body)
	}
	another := encode(t, export(server("x")))
	resp := r.post(t, "/v1/traces", another)
	if resp.status != http.StatusServiceUnavailable || resp.header.Get("Retry-After") == "" || !strings.Contains(string(resp.body), `the API key "ingest" sends more than 1 spans a second`) {
		t.Errorf("beyond it: %d %v %q", resp.status, resp.header, resp.body)
	}
	if resp := r.post(t, "/v1/traces", body); resp.status != http.StatusOK || len(resp.body) > 0 {
		t.Errorf("the first again: %d %q", resp.status, resp.body)
	}
	if resp := r.post(t, "/v1/traces", another, "Authorization", "Bearer other"); resp.status != http.StatusOK {
		t.Errorf("another key: %d %q", resp.status, resp.body)
	}
}

// What was only counted is durable and acknowledged like all else, also when a whole request has no row of its own.
func TestSampledAwayRequestsAreAcknowledged(t *testing.T) {
	db, dir := testenv.NewClickHouse(t), t.TempDir()
	set := func(o *Options) {
		o.Quotas = tenant.Quotas{Unregistered: tenant.Quota{SpansPerSecond: 1, BurstSeconds: 1}}
	}
	r := start(t, db, dir, set)
	const n = 400
	for range n / 8 {
		if ps := r.send(t, mixed(8, 1)...); ps != nil {
			t.Fatal(ps)
		}
	}
	inner := encode(t, export(span("inner", 1), span("inner", 1)))
	for range 2 {
		if ps := r.sendBody(t, inner); ps != nil {
			t.Fatal(ps)
		}
	}
	r.awaitEmptySpool(t)
	r.stop()
	r = start(t, db, dir, set)
	if ps := r.sendBody(t, inner); ps != nil {
		t.Fatal(ps)
	}
	r.awaitEmptySpool(t)
	got := countAll(t, db)
	wanted := wantMixed(n)
	wanted.metered += 2 // the inner ones, once
	if got.spans >= n/2 || got.spans == 0 {
		t.Errorf("%d of %d spans were stored", got.spans, n)
	}
	if wanted.spans = got.spans; got != wanted {
		t.Errorf("counts:\n got %+v\nwant %+v", got, wanted)
	}
}
