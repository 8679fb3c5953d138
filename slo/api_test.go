package slo

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	router := chi.NewRouter()
	var readOnly atomic.Bool
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			scopes := []tenant.Scope{tenant.ScopeQuery, tenant.ScopeSLOWrite}
			if readOnly.Load() {
				scopes = scopes[:1]
			}
			next.ServeHTTP(w, r.WithContext(tenant.WithIdentity(r.Context(), tenant.Identity{Name: "ann", Scopes: scopes})))
		})
	})
	e.reader.RegisterAPI(web.NewAPI(router, "test", discard()))
	server := httptest.NewServer(router)
	defer server.Close()

	do := func(method, path, body string, wantStatus int) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/api/v1/slos"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/yaml")
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != wantStatus {
			t.Fatalf("%s %s: status %d, want %d: %s", method, path, resp.StatusCode, wantStatus, raw)
		}
		var out map[string]any
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &out); err != nil {
				t.Fatalf("%s %s: %v: %s", method, path, err, raw)
			}
		}
		return out
	}
	get := func(v any, path string) any {
		t.Helper()
		for key := range strings.SplitSeq(path, ".") {
			switch n := v.(type) {
			case map[string]any:
				v = n[key]
			case []any:
				if len(n) == 0 {
					t.Fatalf("%s: an empty list", path)
				}
				v = n[key[0]-'0']
			default:
				t.Fatalf("%s: %v has no members", path, v)
			}
		}
		return v
	}
	equal := func(v any, path string, want any) {
		t.Helper()
		if got := get(v, path); got != want {
			t.Errorf("%s is %v, want %v in %v", path, got, want, v)
		}
	}

	src := yamlSLO("pay", "99.95", "threshold: 250ms", "routes: [/a, /b*]")
	out := do("PUT", "?dry_run=true", src, 200)
	equal(out, "dry_run", true)
	equal(out, "changes.0.action", "created")
	if list := do("GET", "", "", 200); len(get(list, "slos").([]any)) != 0 {
		t.Errorf("a dry run applied: %v", list)
	}
	out = do("PUT", "", src, 200)
	equal(out, "changes.0.name", "pay")
	equal(out, "changes.0.revision", 1.0)
	equal(do("PUT", "", src, 200), "changes.0.action", "unchanged")
	out = do("PUT", "", strings.Replace(src, "99.95", "99.9", 1), 200)
	equal(out, "changes.0.fields.0.field", "target")
	equal(out, "changes.0.fields.0.new", "99.9\u202f%")
	equal(out, "changes.0.restarts", false)

	out = do("GET", "", "", 200)
	equal(out, "slos.0.target", 99.9)
	equal(out, "slos.0.kind", "latency")
	equal(out, "slos.0.threshold_ms", 250.0)
	equal(out, "slos.0.window", "30d")
	equal(out, "slos.0.selector.routes.1", "/b*")
	equal(out, "slos.0.alerts.0.factor", 14.4)
	equal(out, "slos.0.alerts.0.short", "5m")

	now := time.Now()
	e.insert(t, request{TS: now, Product: "shop", Tenant: "acme", Route: "/a", DurationNs: 1},
		request{TS: now, Product: "shop", Tenant: "acme", Route: "/b/c", DurationNs: uint64(time.Second)},
		request{TS: now, Product: "shop", Tenant: "other", Route: "/b/c", DurationNs: 1})
	out = do("GET", "/pay/status?tenant=acme", "", 200)
	equal(out, "tenant", "acme")
	equal(out, "good", 1.0)
	equal(out, "total", 2.0)
	equal(out, "burn_rates.0.long", "1h")
	equal(out, "burn_rates.0.total", 2.0)
	equal(out, "state", "exhausted")
	if b := get(out, "error_budget_remaining").(float64); b > -498 || b < -500 {
		t.Errorf("budget is %v", b)
	}
	out = do("GET", "/pay/status", "", 200)
	equal(out, "total", 3.0)
	out = do("GET", "/pay/status?tenant=nobody", "", 200)
	equal(out, "state", "no_data")
	equal(out, "error_budget_remaining", 1.0)
	do("GET", "/nope/status", "", 404)
	do("GET", "/nope/status?tenant=acme", "", 404)
	do("GET", "/pay/status?tenant=a%0Ab", "", 400)
	do("GET", "/pay/status?tenat=acme", "", 422)
	out = do("GET", "/pay/history", "", 200)
	equal(out, "revisions.0.actor", "ann")
	equal(out, "revisions.0.fields.0.old", "99.95\u202f%")
	do("GET", "/nope/history", "", 404)

	out = do("PUT", "", strings.Replace(src, "99.95", "100", 1)+"---\nkind: SLO\n", 400)
	equal(out, "errors.0.location", "spec.objectives[0].targetPercent")
	equal(out, "errors.0.value", "100")
	equal(out, "errors.0.message", "line 7: must be below 100 percent: a target of 100 % leaves no budget and any failure would alert")
	if n := len(get(out, "errors").([]any)); n != 4 {
		t.Errorf("%d mistakes are told, want 4: %v", n, out)
	}
	do("PUT", "", "", 400)

	do("DELETE", "/pay", "", 204)
	do("DELETE", "/pay", "", 404)
	do("GET", "/pay/status", "", 404)
	readOnly.Store(true)
	do("PUT", "", src, 403)
	do("DELETE", "/pay", "", 403)
	do("GET", "", "", 200)
}

func TestDays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	now := time.Now().UTC().Truncate(day).Add(10 * time.Hour)
	at := func(ago time.Duration, bad uint8) request {
		return request{TS: now.Add(-ago), Product: "shop", Tenant: "acme", Error: bad}
	}
	e.insert(t, at(0, 0), at(10*time.Hour, 1), at(10*time.Hour+1, 0), at(3*day, 1), at(7*day, 0), at(-20*time.Hour, 0))
	days, err := e.reader.days(t.Context(), "pay", 7, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []Counts{{}, {}, {}, {Total: 1}, {}, {Good: 1, Total: 1}, {Good: 1, Total: 2}}
	for i, d := range days {
		if d.Counts != want[i] || !d.Day.Equal(now.Truncate(day).Add(time.Duration(i-6)*day)) {
			t.Errorf("day %d is %v with %+v, want %+v", i, d.Day, d.Counts, want[i])
		}
	}
}

// Callers that come at once share an evaluation, and its answer serves for a while.
func TestSnapshotIsShared(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	snapshots := make(chan *Snapshot, 20)
	for range cap(snapshots) {
		go func() {
			s, err := e.reader.Snapshot(t.Context())
			if err != nil {
				t.Error(err)
			}
			snapshots <- s
		}()
	}
	first := <-snapshots
	for range cap(snapshots) - 1 {
		if s := <-snapshots; s != first {
			t.Error("two snapshots were made")
		}
	}
	e.reader.Forget()
	if s, err := e.reader.Snapshot(t.Context()); err != nil || s == first {
		t.Errorf("a forgotten snapshot came back: %v", err)
	}
}

// An evaluation that began before a change does not answer for what is true after it.
func TestForgetDuringAnEvaluation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(t, yamlSLO("pay", "99.9"))
	e.reader.o.Plans = plansFunc(func() { // read when the definitions have been
		e.apply(t, yamlSLO("search", "99.9"))
		e.reader.Forget()
		e.reader.o.Plans = e.plans
	})
	if s, err := e.reader.Snapshot(t.Context()); err != nil || len(s.SLOs) != 1 {
		t.Fatalf("the change was seen too early: %+v, %v", s, err)
	}
	if s, err := e.reader.Snapshot(t.Context()); err != nil || len(s.SLOs) != 2 {
		t.Errorf("the change was not seen: %+v, %v", s, err)
	}
}

type plansFunc func()

func (f plansFunc) Plans(context.Context) (map[tenant.ID]tenant.Plan, error) {
	f()
	return nil, nil
}
