package statuspage

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// keys returns the members of a JSON object in order.
func keys(v any) string {
	m, _ := v.(map[string]any)
	return strings.Join(slices.Sorted(maps.Keys(m)), ",")
}

// TestV2Shapes holds the documents to the shapes that Statuspage's clients read.
func TestV2Shapes(t *testing.T) {
	t.Parallel()
	e := seeded(t)
	get := func(path string) map[string]any {
		t.Helper()
		w := e.get(t, "/api/v2/"+path+".json", "Origin", "https://elsewhere.example")
		h := w.Header()
		if w.Code != 200 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("ETag") == "" || h.Get("Cache-Control") != cacheLive ||
			h.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Fatalf("%s: %d %v", path, w.Code, h)
		}
		var d map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if got := keys(d["page"]); got != "id,name,time_zone,updated_at,url" {
			t.Errorf("%s: page has %s", path, got)
		}
		return d
	}
	shape := func(what string, v any, want string) {
		t.Helper()
		if got := keys(v); got != want {
			t.Errorf("%s has\n%s, want\n%s", what, got, want)
		}
	}
	list := func(d map[string]any, key string, want int) []any {
		t.Helper()
		l, ok := d[key].([]any)
		if !ok || len(l) != want {
			t.Fatalf("%s: %v, want %d", key, d[key], want)
		}
		return l
	}
	summary := get("summary")
	shape("summary", summary, "components,incidents,page,scheduled_maintenances,status")
	shape("status", summary["status"], "description,indicator")
	if s := summary["status"].(map[string]any); s["indicator"] != "major" || s["description"] != "Partial System Outage" {
		t.Errorf("status: %v", s)
	}
	list(summary, "scheduled_maintenances", 0)
	components := list(summary, "components", 11) // eight and three groups
	const component = "created_at,description,group,group_id,id,name,only_show_if_degraded,page_id,position,showcase,start_date,status,updated_at"
	byID := map[string]map[string]any{}
	for _, c := range components {
		m := c.(map[string]any)
		byID[m["id"].(string)] = m
		want := component
		if m["group"] == true {
			want = strings.Replace(component, "created_at", "components,created_at", 1)
		}
		shape("component", c, want)
	}
	if c := byID["checkout"]; c["status"] != "partial_outage" || c["group_id"] != "group-commerce" || c["description"] != "Carts, payment, order confirmation" {
		t.Errorf("checkout: %v", c)
	}
	if g := byID["group-commerce"]; g["group"] != true || g["status"] != "partial_outage" || len(g["components"].([]any)) != 4 {
		t.Errorf("group: %v", g)
	}
	if c := byID["sign-in"]; c["group_id"] != nil || c["description"] == nil || byID["search"]["description"] != nil {
		t.Errorf("sign-in: %v", c)
	}
	open := list(summary, "incidents", 1)[0].(map[string]any)
	shape("incident", open, "created_at,id,impact,incident_updates,monitoring_at,name,page_id,resolved_at,shortlink,status,updated_at")
	if open["shortlink"] != baseURL+"/incidents/"+open["id"].(string) || open["impact"] != "major" || open["status"] != "identified" || open["resolved_at"] != nil {
		t.Errorf("incident: %v", open)
	}
	updates := open["incident_updates"].([]any)
	shape("update", updates[0], "affected_components,body,created_at,display_at,id,incident_id,status,updated_at")
	affected := updates[2].(map[string]any)["affected_components"].([]any)[0].(map[string]any)
	if affected["code"] != "checkout" || affected["old_status"] != "operational" || affected["new_status"] != "partial_outage" || affected["name"] != "Checkout" {
		t.Errorf("affected: %v", affected)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000Z", open["created_at"].(string)); err != nil || at.IsZero() {
		t.Errorf("time: %v", err)
	}
	shape("status.json", get("status"), "page,status")
	list(get("components"), "components", 11)
	all := list(get("incidents"), "incidents", 3)
	for i := 1; i < len(all); i++ {
		if all[i].(map[string]any)["created_at"].(string) > all[i-1].(map[string]any)["created_at"].(string) {
			t.Error("incidents are not newest first")
		}
	}
	list(get("incidents/unresolved"), "incidents", 1)
	for _, p := range []string{"scheduled-maintenances", "scheduled-maintenances/upcoming", "scheduled-maintenances/active"} {
		list(get(p), "scheduled_maintenances", 0)
	}

	// updated_at is when something changed, not when it was asked.
	before := e.body(t, "/api/v2/summary.json")
	e.refresh(t)
	if e.body(t, "/api/v2/summary.json") != before {
		t.Error("the summary changed without a change")
	}
}

func TestV2Indicators(t *testing.T) {
	f := func(s Status, indicator string) {
		t.Helper()
		if got := v2Overall(s); got.Indicator != indicator || got.Description == "" {
			t.Errorf("%s: %+v", s, got)
		}
	}
	f(Operational, "none")
	f(Maintenance, "none")
	f(Degraded, "minor")
	f(Partial, "major")
	f(Major, "critical")
}
