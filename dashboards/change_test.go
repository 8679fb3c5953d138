package dashboards

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestChangesOf(t *testing.T) {
	f := func(before, after string, want ...change) {
		t.Helper()
		if got := changesOf(json.RawMessage(before), json.RawMessage(after)); !slices.Equal(got, want) {
			t.Errorf("changesOf(%s, %s) = %q, want %q", before, after, got, want)
		}
	}
	f("", "")
	f(`{"a":1}`, `{"a":1}`)
	f(`{"plan":"starter","name":"x"}`, `{"plan":"enterprise","name":"x"}`, change{"plan", "starter", "enterprise"})
	f("", `{"name":"ci","scopes":["query:read","admin"],"bound":{"tenant":"acme"}}`,
		change{"bound.tenant", "", "acme"}, change{"name", "", "ci"}, change{"scopes", "", "query:read, admin"})
	f(`{"name":"ci"}`, "", change{"name", "ci", ""})
	f(`{"ends_at":null,"on":true}`, `{"ends_at":"2026-11-24T00:00:00Z","on":false}`, change{"ends_at", "none", "2026-11-24T00:00:00Z"}, change{"on", "yes", "no"})
	f(`{"n":9007199254740993}`, `{"n":9007199254740992}`, change{"n", "9007199254740993", "9007199254740992"})
	f(`{"list":[]}`, `{"list":[{"a":"<b>"}]}`, change{"list", "none", `[{"a":"<b>"}]`})
	f(`{"o":{}}`, `{"o":{"a":""}}`, change{"o", "{}", ""}, change{"o.a", "", "empty"})
	f(`"was"`, `"is"`, change{"", "was", "is"})
	f("", "null")
	if got := changesOf(nil, json.RawMessage(`"`+strings.Repeat("é", 300)+`"`)); len(got) != 1 || !strings.HasSuffix(got[0].After, "é… (600 bytes in all)") {
		t.Errorf("a long value: %q", got)
	}
}

func FuzzChangesOf(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"x",null]}}`), []byte(`{"a":null}`))
	f.Add([]byte(`[`), []byte(`1 2`))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		if list := changesOf(before, before); len(list) != 0 {
			t.Errorf("%s is not like itself: %q", before, list)
		}
		forth, back := changesOf(before, after), changesOf(after, before)
		if len(forth) != len(back) {
			t.Errorf("%d changes of %s to %s, %d back", len(forth), before, after, len(back))
		}
	})
}
