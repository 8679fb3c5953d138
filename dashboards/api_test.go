package dashboards

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

// call sends a request to the API and decodes the answer into out, if it is not nil.
func (c *testConsole) call(method, path, body string, wantStatus int, out any) string {
	c.t.Helper()
	w := c.do(method, path, strings.NewReader(body), map[string]string{"Accept": "application/json", "Content-Type": "application/json"})
	if w.Code != wantStatus {
		c.t.Errorf("%s %s: %d, want %d: %s", method, path, w.Code, wantStatus, w.Body)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			c.t.Errorf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Body.String()
}

func TestAPITenants(t *testing.T) {
	c := newTestConsole(t)
	c.seed()
	c.call(http.MethodPut, "/api/v1/tenants/failing", `{"name":"Failing & Co","plan":"enterprise"}`, 200, nil)
	var got struct {
		Total   int
		Tenants []map[string]any
	}
	c.call(http.MethodGet, "/api/v1/tenants?sort=error_ratio&limit=2", "", 200, &got)
	if got.Total != 4 || len(got.Tenants) != 2 {
		t.Fatalf("got %+v", got)
	}
	first := got.Tenants[0]
	if first["tenant"] != "failing" || first["name"] != "Failing & Co" || first["plan"] != "enterprise" || first["requests"] != 1180.0 || first["errors"] != 295.0 ||
		first["error_ratio"] != 0.25 || math.Abs(first["p95_ms"].(float64)-50) > 0.55 {
		t.Errorf("got %v", first)
	}
	c.call(http.MethodGet, "/api/v1/tenants?product=books", "", 200, &got)
	if got.Total != 1 || got.Tenants[0]["requests"] != 1180.0 {
		t.Errorf("product books: %+v", got)
	}
	c.call(http.MethodGet, "/api/v1/tenants?sort=tenant&offset=3", "", 200, &got)
	if len(got.Tenants) != 1 || got.Tenants[0]["tenant"] != "well" {
		t.Errorf("the last one: %+v", got)
	}
	c.call(http.MethodGet, "/api/v1/tenants?offset=100", "", 200, &got)
	if len(got.Tenants) != 0 || got.Total != 4 {
		t.Errorf("past the end: %+v", got)
	}
	f := func(query string, wants ...string) {
		t.Helper()
		w := c.do(http.MethodGet, "/api/v1/tenants?"+query, nil, map[string]string{"Accept": "application/json"})
		for _, want := range wants {
			if w.Code < 400 || w.Code > 422 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d %s, want %q", query, w.Code, w.Body, want)
			}
		}
	}
	f("sort=size", "sort", "size")
	f("order=up", "order", "up")
	f("limit=0", "limit")
	f("limit=5000", "limit")
	f("offset=-1", "offset")
	f("from=yesterday", "from", "yesterday")
	f("from=2026-11-24T10:00:00Z&to=2026-11-24T09:00:00Z", "from", "2026-11-24T10:00:00Z", "must be before to")
	f("from=2020-01-01T00:00:00Z", "at most 400 days")
	f("colour=red", "colour")
}

func TestAPILatency(t *testing.T) {
	c := newTestConsole(t)
	end := time.Now().UTC().Truncate(time.Hour)
	id := tenant.ID("a/b %41")
	var rows []request
	for m := range 60 {
		rows = append(rows, request{end.Add(-time.Duration(m)*time.Minute - time.Second), "shop", id, "/pay", m < 6, 100 * time.Millisecond})
	}
	insert(t, c.db, rows)
	base := "/api/v1" + tenantPath(id) + "/latency?"
	var got struct {
		Tenant string
		Step   int `json:"step_seconds"`
		Points []latencyPoint
	}
	span := "from=" + end.Add(-2*time.Hour).Format(time.RFC3339) + "&to=" + end.Format(time.RFC3339)
	c.call(http.MethodGet, base+span+"&step=1h", "", 200, &got)
	if got.Tenant != string(id) || got.Step != 3600 || len(got.Points) != 2 {
		t.Fatalf("got %+v", got)
	}
	if p := got.Points[0]; p.Requests != 0 || p.P95 != nil {
		t.Errorf("the hour without requests: %+v", p)
	}
	if p := got.Points[1]; p.Requests != 60 || p.Errors != 6 || p.ErrorRatio != 0.1 || math.Abs(*p.P95-100) > 1.1 {
		t.Errorf("the hour with requests: %+v", p)
	}
	c.call(http.MethodGet, base+span+"&service=shop-svc&route=/none", "", 200, &got)
	if len(got.Points) != 120 || got.Points[119].Requests != 0 {
		t.Errorf("another route: %d points", len(got.Points))
	}
	if s := c.call(http.MethodGet, base+span+"&step=10s", "", 400, nil); !strings.Contains(s, "step") || !strings.Contains(s, "10s") {
		t.Errorf("a short step: %s", s)
	}
	c.call(http.MethodGet, "/api/v1/tenants/"+strings.Repeat("x", 129)+"/latency", "", 400, nil)
}

func TestAPIPutTenant(t *testing.T) {
	c := newTestConsole(t)
	c.call(http.MethodPut, "/api/v1/tenants/a%2Fb", `{"name":"A","plan":"professional"}`, 200, nil)
	list, err := c.tenants.List(t.Context())
	if err != nil || len(list) != 1 || list[0] != (tenant.Tenant{ID: "a/b", Name: "A", Plan: tenant.Professional}) {
		t.Errorf("stored %+v, %v", list, err)
	}
	if s := c.call(http.MethodPut, "/api/v1/tenants/a", `{"plan":"gold"}`, 422, nil); !strings.Contains(s, "gold") || !strings.Contains(s, "plan") {
		t.Errorf("an unknown plan: %s", s)
	}
	c.call(http.MethodPut, "/api/v1/tenants/a", `{"name":"A","colour":"red"}`, 422, nil)
	_, reader, err := c.keys.Create(t.Context(), "test", tenant.NewKey{Name: "reader", Scopes: []tenant.Scope{tenant.ScopeQuery}})
	if err != nil {
		t.Fatal(err)
	}
	w := c.do(http.MethodPut, "/api/v1/tenants/a", strings.NewReader(`{}`), map[string]string{"Authorization": "Bearer " + reader, "Content-Type": "application/json"})
	if w.Code != http.StatusForbidden {
		t.Errorf("a key that may only read: %d", w.Code)
	}
}
