package app

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/tenant"
)

// leavesNoEntry are operations with a changing method that need no entry in the audit log when they succeed, with the reason.
var leavesNoEntry = map[string]string{
	"backtest-slos": "it reads what was and changes nothing; the method is POST for its body",
}

// writes is what an operation is called with where the hunt's inputs do not do: parameters of the path, the query, and members
// of the body, nil for those to leave out. An answer's member keep is kept for later calls, which name it as $keep.
type writes struct {
	id    string
	path  map[string]string
	query string
	body  map[string]any
	text  string // a body that is not JSON
	keep  string // a path of members, with dots, and the name: "new.prefix key"
}

// written are the operations that change something, in an order in which each has what it needs. One that is not here is
// called at the end with the hunt's inputs.
var written = []writes{
	{id: "acknowledge-alert"},
	{id: "create-branch", keep: "id branch"},
	{id: "put-branch", path: map[string]string{"id": "$branch"}, body: map[string]any{"name": "north"}},
	{id: "create-user", keep: "id user"},
	{id: "change-user", path: map[string]string{"id": "$user"}, body: map[string]any{"role": "admin", "branch": 0, "password": nil}},
	{id: "delete-user", path: map[string]string{"id": "$user"}},
	{id: "delete-branch", path: map[string]string{"id": "$branch"}},
	{id: "create-changelog-entry", body: map[string]any{"type": "added"}},
	{id: "put-changelog-entry", body: map[string]any{"type": "fixed"}},
	{id: "delete-changelog-entry"},
	{id: "create-component", body: map[string]any{"manual_status": nil}},
	{id: "put-component", body: map[string]any{"manual_status": "under_maintenance"}},
	{id: "delete-component"},
	{id: "open-incident", body: map[string]any{"impact": "minor", "status": "investigating", "components": nil}, keep: "id incident"},
	{id: "update-incident", path: map[string]string{"id": "$incident"}, body: map[string]any{"status": "identified", "components": nil, "display_at": nil}},
	{id: "change-incident", path: map[string]string{"id": "$incident"}, body: map[string]any{"impact": "major", "started_at": fromTime}},
	{id: "create-key", body: map[string]any{"expires_at": nil}, keep: "prefix key"},
	{id: "rotate-key", path: map[string]string{"prefix": "$key"}, keep: "new.prefix key"},
	{id: "revoke-key", path: map[string]string{"prefix": "$key"}},
	{id: "create-tenant", body: map[string]any{"tenant": "newcomer"}},
	{id: "put-tenant"},
	{id: "put-member"},
	{id: "remove-member"},
	{id: "update-plan", body: map[string]any{"settings": map[string]any{"members": 77}}},
	{id: "put-override", path: map[string]string{"key": "members"}, body: map[string]any{"ends_at": nil}},
	{id: "delete-override", path: map[string]string{"key": "members"}},
	{id: "put-target"},
	{id: "delete-target"},
	{id: "create-webhook", body: map[string]any{"url": "https://billing.example.com/"}, keep: "id webhook"},
	{id: "put-webhook", path: map[string]string{"id": "$webhook"}, body: map[string]any{"url": "https://billing.example.com/headroom", "enabled": true}},
	{id: "rotate-webhook-secret", path: map[string]string{"id": "$webhook"}},
	{id: "test-webhook", path: map[string]string{"id": "$webhook"}, keep: "id delivery"},
	{id: "redeliver-webhook", path: map[string]string{"id": "$webhook", "delivery": "$delivery"}},
	{id: "delete-webhook", path: map[string]string{"id": "$webhook"}},
	{id: "apply-slos", text: `{apiVersion: openslo/v1, kind: SLO, metadata: {name: written-slo}, spec: {service: x, indicator: {metadata: {name: i},
		spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: x}}}}}}, budgetingMethod: Occurrences,
		timeWindow: [{duration: 30d, isRolling: true}], objectives: [{displayName: all, targetPercent: 99}]}}`},
	{id: "create-correction", body: map[string]any{"slos": []any{"written-slo"}, "starts_at": "2026-11-01T02:00:00Z", "ends_at": "2026-11-01T03:00:00Z",
		"repeats": "FREQ=WEEKLY", "time_zone": "Europe/Berlin"}, keep: "id correction"},
	{id: "revoke-correction", path: map[string]string{"id": "$correction"}},
	{id: "delete-slo", path: map[string]string{"name": "written-slo"}},
	{id: "export-tenant"},
	{id: "export-audit"},
	{id: "delete-tenant", query: "confirm=" + mine},
}

// TestEveryChangeLeavesAnEntry calls every operation of the live document that changes something, and both exports: each that
// succeeds leaves an entry that says who and from where, and the same again leaves none.
func TestEveryChangeLeavesAnEntry(t *testing.T) {
	t.Parallel()
	v := newWorld(t, walls{first: true, second: true})
	const name = "auditor@quillstone.example"
	caller, err := json.Marshal(tenant.Identity{UserID: 77, Name: name, Role: tenant.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	ops, doc := readDocument(t, v)
	byID, todo := map[string]operation{}, written
	for _, op := range ops {
		byID[op.ID] = op
	}
	for _, w := range written {
		if _, ok := byID[w.id]; !ok {
			t.Errorf("there is no operation %s any more", w.id)
		}
		delete(byID, w.id)
	}
	for id, op := range byID {
		if op.method != http.MethodGet && leavesNoEntry[id] == "" {
			todo = append(todo, writes{id: id})
		}
	}
	for _, op := range ops {
		byID[op.ID] = op
	}
	var last int64
	entries := func() (told, all int) {
		t.Helper()
		err := v.pg.Owner.QueryRow(t.Context(), `
			SELECT count(*) FILTER (WHERE actor = $2 AND actor_kind = 'user' AND actor_id = '77' AND address <<= '127.0.0.0/8'),
				count(*) FILTER (WHERE actor_kind <> 'system'), coalesce(max(id), $1)
			FROM control.audit_log WHERE id > $1`, last, name).Scan(&told, &all, &last)
		if err != nil {
			t.Fatal(err)
		}
		return told, all
	}
	entries()
	known := map[string]string{}
	for _, w := range todo {
		op := byID[w.id]
		c := w.call(t, &doc, op, known)
		got := v.do(c.method, c.path, c.body, c.contentType, string(caller))
		told, all := entries()
		switch {
		case got.status/100 != 2:
			t.Errorf("%s: %s: got %.500s\ngive it other inputs in app/audit_test.go", w.id, c, got.text)
			continue
		case told == 0 || all != told:
			t.Errorf("%s: %s: %d entries, %d of them by its caller with address; want all, and one at least: call tenant.Audit in the transaction of the change", w.id, c, all, told)
		}
		if w.keep != "" {
			path, as, _ := strings.Cut(w.keep, " ")
			known[as] = member(t, got.body, path)
		}
		if op.method != http.MethodPut && op.method != http.MethodPatch {
			continue
		}
		again := v.do(c.method, c.path, c.body, c.contentType, string(caller))
		if _, all := entries(); again.status/100 != 2 || all != 0 {
			t.Errorf("%s: %s: the same again: got %d, and %d entries where nothing changed", w.id, c, again.status, all)
		}
	}
}

// call returns the operation's call with the hunt's inputs, but for those of w.
func (w *writes) call(t *testing.T, d *document, op operation, known map[string]string) call {
	t.Helper()
	for name, value := range w.path { // before the hunt fills in what it has
		if as, ok := strings.CutPrefix(value, "$"); ok {
			value = known[as]
		}
		op.path = strings.ReplaceAll(op.path, "{"+name+"}", url.PathEscape(value))
	}
	all := d.calls(t, op)
	if len(all) == 0 {
		t.FailNow()
	}
	c := all[0]
	if w.query != "" {
		c.path += "?" + w.query
	}
	if w.text != "" {
		c.body = w.text
	}
	if w.body == nil {
		return c
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(c.body), &body); err != nil {
		t.Fatalf("%s: %v", w.id, err)
	}
	for name, value := range w.body {
		if body[name] = value; value == nil {
			delete(body, name)
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	c.body = string(b)
	return c
}

// member returns a member of an answer as it stands in an address.
func member(t *testing.T, body []byte, path string) string {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(body, &object); err != nil {
			t.Fatalf("%s of %.200s: %v", path, body, err)
		}
		body = object[name]
	}
	return strings.Trim(string(body), `"`)
}
