package dashboards

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nexis-limited/headroom/web/theme"
)

// change is one member of a resource, as it was and as it is.
type change struct {
	Field         string // its path, with dots; empty for a resource that has no members
	Before, After string // in words; empty where there was or is nothing
}

// maxValue is how much of a value the page shows, in bytes. The export has all.
const maxValue = 400

// changesOf compares two JSON values member by member, in the order of their names. Either may be missing: then all of the
// other is new, or gone.
func changesOf(before, after json.RawMessage) []change {
	was, is := flat(before), flat(after)
	names := slices.Concat(slices.Collect(maps.Keys(was)), slices.Collect(maps.Keys(is)))
	slices.Sort(names)
	var list []change
	for _, name := range slices.Compact(names) {
		if was[name] != is[name] {
			list = append(list, change{name, cut(was[name]), cut(is[name])})
		}
	}
	return list
}

// flat returns the members of a JSON object by their paths, each in words. Lists are one value.
func flat(raw json.RawMessage) map[string]string {
	m := map[string]string{}
	if len(raw) == 0 {
		return m
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // large numbers stay what they are
	var v any
	if d.Decode(&v) != nil {
		m[""] = string(raw)
		return m
	}
	flatten(m, "", v)
	return m
}

func flatten(m map[string]string, path string, v any) {
	o, ok := v.(map[string]any)
	if !ok || len(o) == 0 && path != "" {
		if v != nil || path != "" {
			m[path] = inWords(v)
		}
		return
	}
	for name, member := range o {
		if path != "" {
			name = path + "." + name
		}
		flatten(m, name, member)
	}
}

// inWords writes a value for people: a text as it is, a list of simple values with commas.
func inWords(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case string:
		if strings.TrimSpace(v) == "" {
			return "empty"
		}
		return v
	case json.Number:
		return v.String()
	case []any:
		words := make([]string, len(v))
		for i, e := range v {
			switch e.(type) {
			case map[string]any, []any:
				return asJSON(v)
			}
			words[i] = inWords(e)
		}
		if len(words) > 0 {
			return strings.Join(words, ", ")
		}
		return "none"
	}
	return asJSON(v)
}

func asJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it was JSON
	return strings.TrimSpace(b.String())
}

// cut shortens a long value and says by how much.
func cut(s string) string {
	if len(s) <= maxValue {
		return s
	}
	end := maxValue
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "… (" + theme.Num(len(s)) + " bytes in all)"
}
