package alerting_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// title is the text of a message's header.
func title(t *testing.T, blocks json.RawMessage) string {
	t.Helper()
	var b []struct{ Text struct{ Text string } }
	if err := json.Unmarshal(blocks, &b); err != nil || len(b) == 0 {
		t.Fatalf("blocks %s: %v", blocks, err)
	}
	return b[0].Text.Text
}

func TestAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	other := burns("lantern", 20)
	other.Rule = "search"
	e.observe(5, burns("mossgrove", 16))
	e.observe(6, burns("mossgrove", 16), other)
	e.observe(7, burns("mossgrove", 17))

	call := func(method, path string, scopes ...tenant.Scope) (int, map[string]any) {
		t.Helper()
		r := chi.NewRouter()
		e.svc.RegisterAPI(web.NewAPI(r, "test", slog.New(slog.DiscardHandler)))
		req := httptest.NewRequest(method, path, nil)
		req = req.WithContext(tenant.WithIdentity(req.Context(), tenant.Identity{Name: "on-call", Scopes: scopes}))
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Code, body
	}
	list := func(query string, want ...string) {
		t.Helper()
		code, body := call(http.MethodGet, "/api/v1/alerts"+query, tenant.ScopeQuery)
		alerts, _ := body["alerts"].([]any)
		if code != http.StatusOK || len(alerts) != len(want) {
			t.Errorf("%s: %d %v, want %v", query, code, body, want)
			return
		}
		for i, a := range alerts {
			if got := a.(map[string]any)["slo"]; got != want[i] {
				t.Errorf("%s: alert %d is of %v, want %s", query, i, got, want[i])
			}
		}
	}
	list("", "search", "checkout-availability")
	list("?state=open", "checkout-availability")
	list("?state=resolved", "search")
	list("?tenant=mossgrove", "checkout-availability")
	list("?tenant=nobody")
	list("?slo=search", "search")
	_, page := call(http.MethodGet, "/api/v1/alerts?limit=1", tenant.ScopeQuery)
	list("?limit=1&after="+page["next"].(string), "checkout-availability")

	id := e.open()[0].ID
	code, a := call(http.MethodGet, "/api/v1/alerts/"+id, tenant.ScopeQuery)
	if code != http.StatusOK || a["state"] != "firing" || a["tenants_burning"] != 1.0 || a["sentence"] == "" {
		t.Errorf("get: %d %v", code, a)
	}
	for range 2 {
		code, a = call(http.MethodPost, "/api/v1/alerts/"+id+"/ack", tenant.ScopeAlertWrite)
		if code != http.StatusOK || a["state"] != string(alerting.Acknowledged) || a["acknowledged_by"] != "on-call" {
			t.Errorf("ack: %d %v", code, a)
		}
	}
	f := func(method, path string, scope tenant.Scope, want int) {
		t.Helper()
		if code, body := call(method, path, scope); code != want {
			t.Errorf("%s %s as %s: %d %v, want %d", method, path, scope, code, body, want)
		}
	}
	f(http.MethodGet, "/api/v1/alerts/a-nobody", tenant.ScopeQuery, http.StatusNotFound)
	f(http.MethodPost, "/api/v1/alerts/a-nobody/ack", tenant.ScopeAlertWrite, http.StatusNotFound)
	f(http.MethodPost, "/api/v1/alerts/"+id+"/ack", tenant.ScopeQuery, http.StatusForbidden)
	f(http.MethodGet, "/api/v1/alerts?state=burning", tenant.ScopeQuery, http.StatusUnprocessableEntity)
	e.observe(8)
	f(http.MethodPost, "/api/v1/alerts/"+id+"/ack", tenant.ScopeAlertWrite, http.StatusConflict)
}
