package demo

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

// operator is headroom's API as far as the demo calls it, kept in memory, with a collector beside it.
type operator struct {
	t         *testing.T
	collector *receiver
	mux       *http.ServeMux
	mu        sync.Mutex
	tenants   map[string]string // plan by id
	slos      []slo.Definition
	lists     map[string][]map[string]any // components, incidents, changelog
	updates   []string                    // phases of the incident's updates
	noStatus  bool
	observed  atomic.Int64 // requests with metrics
}

func newOperator(t *testing.T) *operator {
	o := &operator{t: t, collector: newReceiver(), mux: http.NewServeMux(), tenants: map[string]string{}, lists: map[string][]map[string]any{}}
	o.mux.HandleFunc("PUT /api/v1/tenants/{id}", func(_ http.ResponseWriter, r *http.Request) {
		var in struct{ Name, Plan string }
		o.read(r, &in)
		if in.Name == "" {
			t.Errorf("tenant %q has no name", r.PathValue("id"))
		}
		o.tenants[r.PathValue("id")] = in.Plan
	})
	o.mux.HandleFunc("PUT /api/v1/slos", func(_ http.ResponseWriter, r *http.Request) {
		src, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if o.slos, err = slo.Parse("", src); err != nil {
			t.Error(err)
		}
	})
	o.mux.HandleFunc("GET /api/v1/tenants/{id}/latency", o.latency)
	for path, key := range map[string]string{"components": "components", "incidents": "incidents", "changelog": "entries"} {
		o.mux.HandleFunc("GET /api/v1/"+path, func(w http.ResponseWriter, _ *http.Request) {
			if o.noStatus {
				http.Error(w, "no status page", http.StatusNotFound)
				return
			}
			o.write(w, map[string]any{key: o.lists[path]})
		})
		o.mux.HandleFunc("POST /api/v1/"+path, func(w http.ResponseWriter, r *http.Request) {
			var in map[string]any
			o.read(r, &in)
			if path == "incidents" && (in["display_at"] == nil || in["started_at"] == nil) {
				t.Errorf("an incident of the past without its times: %v", in)
			}
			if in["id"] == nil {
				in["id"] = "abcdef123456"
			}
			o.lists[path] = append(o.lists[path], in)
			w.WriteHeader(http.StatusCreated)
			o.write(w, in)
		})
	}
	o.mux.HandleFunc("POST /api/v1/incidents/{id}/updates", func(_ http.ResponseWriter, r *http.Request) {
		var in struct{ Status string }
		o.read(r, &in)
		o.updates = append(o.updates, in.Status)
	})
	return o
}

func (o *operator) latency(w http.ResponseWriter, r *http.Request) {
	from, err1 := time.Parse(time.RFC3339, r.URL.Query().Get("from"))
	to, err2 := time.Parse(time.RFC3339, r.URL.Query().Get("to"))
	if err1 != nil || err2 != nil || to.Sub(from) > 2000*time.Minute {
		o.t.Errorf("latency of %s", r.URL.RawQuery)
	}
	points := []map[string]any{}
	for m := from.Truncate(time.Minute); m.Before(to); m = m.Add(time.Minute) {
		n := 0
		if o.collector.minutes[minuteOf(m)] {
			n = 1
		}
		points = append(points, map[string]any{"at": m, "requests": n})
	}
	o.write(w, map[string]any{"points": points})
}

func (o *operator) read(r *http.Request, in any) {
	if err := json.NewDecoder(r.Body).Decode(in); err != nil {
		o.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
}

func (o *operator) write(w io.Writer, out any) {
	if err := json.NewEncoder(w).Encode(out); err != nil {
		o.t.Error(err)
	}
}

func (o *operator) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/v1/traces" {
		if r.Header.Get("Authorization") != "Bearer ingest" {
			o.t.Errorf("pushed with %q", r.Header.Get("Authorization"))
		}
		return o.collector.RoundTrip(r)
	}
	if r.URL.Path == metricsPath {
		if r.Header.Get("Authorization") != "Bearer ingest" {
			o.t.Errorf("pushed with %q", r.Header.Get("Authorization"))
		}
		o.observed.Add(1)
		return response(200, nil), nil
	}
	if r.Header.Get("Authorization") != "Bearer admin" {
		o.t.Errorf("%s with %q", r.URL.Path, r.Header.Get("Authorization"))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w := httptest.NewRecorder()
	o.mux.ServeHTTP(w, r)
	return w.Result(), nil
}

func (o *operator) run(t *testing.T, lasts, history time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	err := Run(ctx, Options{OTLP: "http://headroom:4318/", API: "http://headroom:8080/", IngestKey: "ingest", AdminKey: "admin",
		History: history, Client: &http.Client{Transport: o}})
	if err != nil {
		t.Errorf("Run returned %v when it was told to stop", err)
	}
}

// A demo that is stopped and started again sets nothing up twice and counts nothing twice.
func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t)
		o.run(t, 90*time.Second, 20*time.Minute)
		if n := o.observed.Load(); n != 3 { // the past at once, then each minute
			t.Errorf("%d requests with metrics, want 3", n)
		}
		if len(o.tenants) != 40 || len(o.slos) != 7 || len(o.lists["components"]) != 5 || len(o.lists["incidents"]) != 1 || len(o.lists["changelog"]) != 5 {
			t.Errorf("set up %d tenants, %d SLOs, %d components, %d incidents, %d entries", len(o.tenants), len(o.slos),
				len(o.lists["components"]), len(o.lists["incidents"]), len(o.lists["changelog"]))
		}
		if got := strings.Join(o.updates, " "); got != "identified resolved" {
			t.Errorf("the incident went on with %q", got)
		}
		named := map[string]bool{}
		for _, d := range o.slos {
			named[d.Name] = true
		}
		for _, c := range o.lists["components"] {
			for _, s := range c["slos"].([]any) {
				if !named[s.(string)] {
					t.Errorf("component %v follows %v, which is no SLO", c["id"], s)
				}
			}
		}
		if len(o.collector.minutes) < 21 {
			t.Errorf("traffic in %d minutes, want 21 and more", len(o.collector.minutes))
		}

		time.Sleep(10 * time.Minute)
		o.run(t, 90*time.Second, 40*time.Minute)
		if len(o.lists["components"]) != 5 || len(o.lists["incidents"]) != 1 || len(o.lists["changelog"]) != 5 || len(o.updates) != 2 {
			t.Error("the second start published again")
		}
		for id, n := range o.collector.spans {
			if n != 1 {
				t.Fatalf("span %x was pushed %d times", id, n)
			}
		}
		for m := int64(1); m < 40; m++ { // the present minute may have just begun
			if !o.collector.minutes[minuteOf(time.Now())-m] {
				t.Errorf("no traffic %d minutes ago", m)
			}
		}
	})
}

func TestRunWithoutStatusPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t)
		o.noStatus = true
		o.run(t, 10*time.Second, -1)
		if len(o.slos) == 0 || len(o.collector.spans) == 0 {
			t.Errorf("%d SLOs and %d spans: the rest must go on", len(o.slos), len(o.collector.spans))
		}
	})
}

func TestRunChecksItsOptions(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %s", err, want)
		}
	}
	full := Options{OTLP: "http://x", API: "http://x", IngestKey: "k", AdminKey: "k"}
	o := full
	o.OTLP = ""
	f(o, "OTLP is required")
	o = full
	o.AdminKey = ""
	f(o, "AdminKey is required")
	o = full
	o.Rate = -1
	f(o, "Rate")
}
