package statuspage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// api calls the HTTP API as a key of the given scopes.
func (e *env) api(t *testing.T, scopes ...tenant.Scope) func(method, path, body string) (int, map[string]any) {
	r := chi.NewRouter()
	e.RegisterAPI(web.NewAPI(r, "test", slog.New(slog.DiscardHandler)))
	return func(method, path, body string) (int, map[string]any) {
		t.Helper()
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req = req.WithContext(tenant.WithIdentity(req.Context(), tenant.Identity{Name: "ops-key", Scopes: scopes}))
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		var out map[string]any
		if w.Body.Len() > 0 {
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
		return w.Code, out
	}
}

func TestComponentsAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	call := e.api(t, tenant.ScopeStatusWrite, tenant.ScopeQuery)
	code, c := call("POST", "/api/v1/components", `{"name":"Sign-in & SSO","group":"Platform","slos":["login"]}`)
	if code != 201 || c["id"] != "sign-in-sso" || c["visible"] != true || c["status"] != "operational" || c["manual_status"] != nil {
		t.Fatalf("create: %d %v", code, c)
	}
	if code, c = call("PUT", "/api/v1/components/sign-in-sso", `{"name":"Sign-in","manual_status":"partial_outage"}`); code != 200 || c["status"] != "partial_outage" || c["group"] != "" {
		t.Errorf("replace: %d %v", code, c)
	}
	updated := c["updated_at"]
	if _, c = call("PUT", "/api/v1/components/sign-in-sso", `{"name":"Sign-in","manual_status":"partial_outage"}`); c["updated_at"] != updated {
		t.Errorf("the same again changed it: %v, was %v", c["updated_at"], updated)
	}
	if code, c = call("PUT", "/api/v1/components/sign-in-sso", `{"name":"Sign-in","manual_status":null}`); code != 200 || c["manual_status"] != nil {
		t.Errorf("clear the manual status: %d %v", code, c)
	}
	if code, _ = call("PUT", "/api/v1/components/search", `{"name":"Search"}`); code != 200 {
		t.Errorf("put creates: %d", code)
	}
	code, list := call("GET", "/api/v1/components", "")
	if cs, _ := list["components"].([]any); code != 200 || len(cs) != 2 {
		t.Errorf("list: %d %v", code, list)
	}
	if code, _ = call("DELETE", "/api/v1/components/search", ""); code != 204 {
		t.Errorf("delete: %d", code)
	}
	if code, _ = call("GET", "/api/v1/components/search", ""); code != 404 {
		t.Errorf("get after delete: %d", code)
	}
	if code, _ = call("DELETE", "/api/v1/components/search", ""); code != 404 {
		t.Errorf("delete again: %d", code)
	}

	bad := func(code int, method, path, body string, want ...string) {
		t.Helper()
		got, out := call(method, path, body)
		text := fmt.Sprint(out)
		if got != code {
			t.Errorf("%s %s: %d %s, want %d", path, body, got, text, code)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s %s: %s does not say %q", path, body, text, w)
			}
		}
	}
	bad(409, "POST", "/api/v1/components", `{"id":"sign-in-sso","name":"Other"}`, "id", "sign-in-sso", "taken")
	bad(409, "POST", "/api/v1/components", `{"id":"other","name":"Sign-in"}`, "name", "Sign-in", "taken")
	bad(400, "POST", "/api/v1/components", `{"name":"日本"}`, "id")
	bad(400, "POST", "/api/v1/components", `{"id":"x","name":" "}`, "name", "empty")
	bad(400, "POST", "/api/v1/components", `{"id":"x","name":"a\nb","position":-1}`, "name", "position", "-1", "2 mistakes")
	bad(400, "POST", "/api/v1/components", `{"id":"../x","name":"x"}`, "id", "../x")
	bad(400, "POST", "/api/v1/components", `{"id":"x","name":"x","manual_status":"red"}`, "manual_status", "red")
	bad(400, "PUT", "/api/v1/components/x", `{"id":"y","name":"x"}`, "id", "y")
	bad(422, "POST", "/api/v1/components", `{"name":"x","colour":"red"}`, "colour")

	read := e.api(t, tenant.ScopeQuery)
	if code, _ := read("POST", "/api/v1/components", `{"name":"x"}`); code != 403 {
		t.Errorf("a reader's write: %d", code)
	}
}

func TestIncidentsAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.component(t, Component{Name: "Checkout"})
	e.component(t, Component{Name: "Import"})
	call := e.api(t, tenant.ScopeStatusWrite, tenant.ScopeQuery)
	start := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	stamp := func(minutes int) string { return start.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339) }
	must := func(code int, method, path, body string) map[string]any {
		t.Helper()
		got, out := call(method, path, body)
		if got != code {
			t.Fatalf("%s %s %s: %d %v, want %d", method, path, body, got, out, code)
		}
		return out
	}
	i := must(201, "POST", "/api/v1/incidents", `{"name":"Some checkouts fail","body":"We look into it.","started_at":"`+stamp(0)+
		`","display_at":"`+stamp(5)+`","components":[{"component":"checkout","status":"partial_outage"}]}`)
	id, _ := i["id"].(string)
	if len(id) != 12 || i["impact"] != "major" || i["status"] != "investigating" || i["origin"] != "manual" || i["resolved_at"] != nil {
		t.Fatalf("opened: %v", i)
	}
	path := "/api/v1/incidents/" + id
	i = must(201, "POST", path+"/updates", `{"status":"monitoring","body":"Better.","display_at":"`+stamp(20)+`"}`)
	if i["status"] != "monitoring" || i["monitoring_at"] != stamp(20) {
		t.Errorf("monitoring: %v", i)
	}
	if code, out := call("DELETE", "/api/v1/components/checkout", ""); code != 409 || !strings.Contains(fmt.Sprint(out), "visible") {
		t.Errorf("delete a named component: %d %v", code, out)
	}
	i = must(201, "POST", path+"/updates", `{"status":"identified","body":"Written late.","display_at":"`+stamp(10)+`"}`)
	if us := i["updates"].([]any); i["status"] != "monitoring" || us[1].(map[string]any)["body"] != "Written late." {
		t.Errorf("a backdated update changed the status or its place: %v", i)
	}
	i = must(201, "POST", path+"/updates", `{"status":"resolved","body":"Over.","display_at":"`+stamp(30)+`"}`)
	last := i["updates"].([]any)[0].(map[string]any)
	if i["resolved_at"] != stamp(30) || fmt.Sprint(last["components"]) != "[map[component:checkout status:operational]]" {
		t.Errorf("resolved: %v", i)
	}

	bad := func(code int, method, path, body string, want ...string) {
		t.Helper()
		got, out := call(method, path, body)
		if text := fmt.Sprint(out); got != code {
			t.Errorf("%s: %d %s, want %d", body, got, text, code)
		} else {
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %s does not say %q", body, text, w)
				}
			}
		}
	}
	bad(409, "POST", path+"/updates", `{"status":"investigating","body":"Again."}`, "status", "investigating", "reopen")
	must(201, "POST", path+"/updates", `{"status":"resolved","body":"What we learned."}`)
	if i := must(201, "POST", path+"/updates", `{"status":"investigating","body":"Again.","reopen":true}`); i["resolved_at"] != nil || i["status"] != "investigating" {
		t.Errorf("reopened: %v", i)
	}
	bad(400, "POST", path+"/updates", `{"status":"investigating","body":"Again.","reopen":true}`, "reopen", "not resolved")
	bad(400, "POST", path+"/updates", `{"status":"investigating","body":"  "}`, "body", "empty")
	bad(400, "POST", path+"/updates", `{"status":"fixed","body":"x"}`, "status", "fixed", "resolved")
	bad(400, "POST", path+"/updates", `{"body":"x"}`, "status")
	future := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	bad(400, "POST", path+"/updates", `{"status":"identified","body":"x","display_at":"`+future+`"}`, "display_at", future, "future")
	bad(400, "POST", path+"/updates", `{"status":"identified","body":"x","display_at":"`+stamp(-1)+`"}`, "display_at", stamp(-1), "before")
	bad(400, "POST", path+"/updates", `{"status":"identified","body":"x","components":[{"component":"checkout","status":"degraded_performance"},{"component":"nope","status":"down"}]}`,
		"components[1].component", "nope", "components[1].status", "down")
	bad(400, "POST", path+"/updates", `{"status":"identified","body":"x","components":[{"component":"import","status":"operational"},{"component":"import","status":"operational"}]}`, "twice")
	bad(400, "POST", path+"/updates", `{"status":"resolved","body":"x","components":[{"component":"import","status":"major_outage"}]}`, "components[0].status", "resolved")
	bad(404, "POST", "/api/v1/incidents/aaaaaaaaaaaa/updates", `{"status":"resolved","body":"x"}`, "aaaaaaaaaaaa")
	bad(400, "POST", "/api/v1/incidents", `{"name":"","body":"x","impact":"huge","started_at":"`+future+`"}`, "name", "impact", "huge", "started_at")
	bad(422, "POST", "/api/v1/incidents", `{"name":"x"}`, "body")
	bad(404, "GET", "/api/v1/incidents/nope", "")

	i = must(200, "PATCH", path, `{"name":"Checkouts failed","impact":"minor","started_at":"`+stamp(-4)+`"}`)
	if i["name"] != "Checkouts failed" || i["impact"] != "minor" || i["started_at"] != stamp(-4) {
		t.Errorf("changed: %v", i)
	}
	bad(400, "PATCH", path, `{"started_at":"`+stamp(6)+`"}`, "started_at", "after the first update")
	bad(400, "PATCH", path, `{"impact":"big"}`, "impact", "big")
	if list := must(200, "GET", "/api/v1/incidents?limit=1", ""); len(list["incidents"].([]any)) != 1 {
		t.Errorf("list: %v", list)
	}

	var log string
	err := postgres.AcrossTenants(t.Context(), e.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT string_agg(actor || ' ' || action, ', ' ORDER BY id) FROM control.audit_log WHERE resource_id = $1`, id).Scan(&log)
	})
	if want := "ops-key incident.open, " + strings.Repeat("ops-key incident.update, ", 5) + "ops-key incident.change"; err != nil || log != want {
		t.Errorf("audit log: %q, %v; want %q", log, err, want)
	}
}

func TestChangelogAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	call := e.api(t, tenant.ScopeStatusWrite, tenant.ScopeQuery)
	code, c := call("POST", "/api/v1/changelog", `{"title":"Carts are kept!","type":"added","body":"*Hi*"}`)
	if code != 201 || c["id"] != "carts-are-kept" {
		t.Fatalf("create: %d %v", code, c)
	}
	code, p := call("PUT", "/api/v1/changelog/carts-are-kept", `{"title":"Carts are kept","type":"changed","version":"2"}`)
	if code != 200 || p["type"] != "changed" || p["published_at"] != c["published_at"] || p["updated_at"] == c["updated_at"] {
		t.Errorf("replace: %d %v", code, p)
	}
	if _, again := call("PUT", "/api/v1/changelog/carts-are-kept", `{"title":"Carts are kept","type":"changed","version":"2"}`); again["updated_at"] != p["updated_at"] {
		t.Errorf("the same again changed it: %v", again)
	}
	for body, want := range map[string]string{
		`{"title":"x","type":"new"}`:                                         "type",
		`{"title":"","type":"fixed"}`:                                        "title",
		`{"id":"A B","title":"x","type":"fixed"}`:                            "id",
		`{"title":"x","type":"fixed","published_at":"0001-02-03T00:00:00Z"}`: "published_at",
	} {
		if code, out := call("POST", "/api/v1/changelog", body); code != 400 || !strings.Contains(fmt.Sprint(out), want) {
			t.Errorf("%s: %d %v", body, code, out)
		}
	}
	if code, out := call("POST", "/api/v1/changelog", `{"id":"carts-are-kept","title":"x","type":"fixed"}`); code != 409 {
		t.Errorf("taken id: %d %v", code, out)
	}
	if code, _ := call("DELETE", "/api/v1/changelog/carts-are-kept", ""); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	if code, _ := call("DELETE", "/api/v1/changelog/carts-are-kept", ""); code != 404 {
		t.Errorf("delete again: %d", code)
	}
}
