package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// operation is one of the OpenAPI document, with values for its inputs.
type operation struct {
	method, path string
	Parameters   []parameter `json:"parameters"`
	RequestBody  struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	ID string `json:"operationId"`
}

type parameter struct {
	Name, In string
	Required bool
	Schema   schema
}

// schema is what the hunt understands of JSON Schema.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"` // a word or several
	Format               string            `json:"format"`
	Enum                 []any             `json:"enum"`
	Default              any               `json:"default"`
	Examples             []any             `json:"examples"`
	Minimum              *float64          `json:"minimum"`
	Items                *schema           `json:"items"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
}

// document is the live OpenAPI document.
type document struct {
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

// bodies are inputs that no schema describes: one for each media type that is not JSON. An operation that takes another needs
// a line here, with the tenant's word where it can stand.
var bodies = map[string]string{
	"application/yaml": "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: %s-slo}\n",
}

func readDocument(t *testing.T, v *world) (list []operation, d document) {
	t.Helper()
	a := v.do(http.MethodGet, "/openapi.json", "", "", v.owner)
	if err := json.Unmarshal(a.body, &d); err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			op := d.Paths[path][method]
			op.method, op.path = strings.ToUpper(method), path
			list = append(list, op)
		}
	}
	if len(list) < 20 {
		t.Fatalf("the OpenAPI document has %d operations only", len(list))
	}
	return list, d
}

// valueOf returns a value for a field that is of the tenant where its name or its kind lets it.
func (d *document) valueOf(name string, s schema, of string, depth int) any {
	if s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	kind, _ := s.Type.(string)
	if list, ok := s.Type.([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case kind == "boolean":
		return false
	case kind == "integer" || kind == "number":
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 1
	case kind == "array":
		if s.Items == nil || depth > 4 {
			return []any{}
		}
		return []any{d.valueOf(strings.TrimSuffix(name, "s"), *s.Items, of, depth+1)}
	case kind == "object" || len(s.Properties) > 0:
		m := map[string]any{}
		for p, ps := range s.Properties {
			if depth < 4 {
				m[p] = d.valueOf(p, ps, of, depth+1)
			}
		}
		return m
	}
	switch {
	case s.Format == "date-time" && name == "from":
		return fromTime
	case s.Format == "date-time":
		return toTime
	case s.Format == "uri":
		return "https://" + of + ".example/"
	}
	switch name {
	case "tenant", "tenants", "object", "resource", "q", "actor":
		return of
	case "email":
		return "ada@" + of + ".example"
	case "product", "service", "route":
		return map[string]string{"product": of + "-product", "service": of + "-service", "route": "/" + of + "-route"}[name]
	case "slo", "name":
		return of + "-slo"
	case "id", "after", "alert":
		return "a-" + of
	case "scope":
		return "query:read"
	case "role":
		return "viewer"
	case "plan":
		return "starter"
	}
	for _, e := range append(s.Examples, s.Default) {
		if text, ok := e.(string); ok && text != "" {
			return text
		}
	}
	return of + "-" + name
}

const (
	fromTime = "2026-01-01T00:00:00Z"
	toTime   = "2026-01-02T00:00:00Z"
)

// call is one request of an operation.
type call struct{ method, path, body, contentType string }

func (c call) String() string { return c.method + " " + c.path + " " + c.body }

// calls returns the operation's requests: all of one's own, each input in turn of the other's, and all of the other's.
func (d *document) calls(t *testing.T, op operation) []call {
	t.Helper()
	var inputs []string // of path and query; "" for the body
	for _, p := range op.Parameters {
		if p.In == "path" || p.In == "query" {
			inputs = append(inputs, p.In+" "+p.Name)
		}
	}
	contentType := ""
	for c := range op.RequestBody.Content {
		contentType = c
		inputs = append(inputs, "body")
	}
	if s := bodies[contentType]; contentType != "" && !strings.Contains(contentType, "json") && s == "" {
		t.Errorf("operation %s takes %s, for which the hunt has no input: add one to bodies in app/leak_input_test.go", op.ID, contentType)
		return nil
	}
	build := func(of func(input string) string, with func(input string) bool) call {
		c := call{method: op.method, path: op.path, contentType: contentType}
		q := url.Values{}
		for _, p := range op.Parameters {
			value := fmt.Sprint(d.valueOf(p.Name, p.Schema, of(p.In+" "+p.Name), 0))
			switch p.In {
			case "path":
				c.path = strings.ReplaceAll(c.path, "{"+p.Name+"}", url.PathEscape(value))
			case "query":
				if p.Required || with(p.In+" "+p.Name) {
					q.Set(p.Name, value)
				}
			}
		}
		if len(q) > 0 {
			c.path += "?" + q.Encode()
		}
		if contentType != "" {
			if s := bodies[contentType]; s != "" {
				c.body = fmt.Sprintf(s, of("body"))
			} else {
				b, err := json.Marshal(d.valueOf("", op.RequestBody.Content[contentType].Schema, of("body"), 0))
				if err != nil {
					t.Fatal(err)
				}
				c.body = string(b)
			}
		}
		return c
	}
	none := func(string) bool { return false }
	list := []call{build(func(string) string { return mine }, none), build(func(string) string { return theirs }, none)}
	for _, in := range inputs {
		only := func(input string) string {
			if input == in {
				return theirs
			}
			return mine
		}
		list = append(list, build(only, func(input string) bool { return input == in }),
			build(func(string) string { return mine }, func(input string) bool { return input == in || input == "query tenant" || input == "query product" }),
			build(only, func(input string) bool { return input == in || input == "query tenant" || input == "query product" }))
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(c call) bool { was := seen[c.String()]; seen[c.String()] = true; return was })
}
