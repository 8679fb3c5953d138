package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Secret is a text that is stored and shown nowhere by accident: as JSON, in logs and in formatted text it is "(removed)".
type Secret string

// removed stands where a secret was.
const removed = "(removed)"

// MarshalText keeps it out of JSON, and out of all that knows texts.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String keeps it out of formatted text; an empty one says nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return removed
}

// GoString keeps it out of %#v.
func (s Secret) GoString() string { return fmt.Sprintf("tenant.Secret(%q)", s.String()) }

const (
	maxAuditText  = 512      // bytes of a name, an id, a user agent
	maxAuditValue = 32 << 10 // bytes of before or after, as JSON
	maxAuditDepth = 20       // objects and arrays in one another
	longMember    = 512      // bytes of a member that is left out first when the whole is too long
)

// auditValue returns v as the audit log stores it, nil for nil. Whatever v is, PostgreSQL takes the result: what cannot be
// stored is replaced by a text that says so.
func auditValue(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return note("cannot be shown as JSON")
	}
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if d.Decode(&tree) != nil {
		return note("cannot be shown as JSON")
	}
	tree = storable(tree, maxAuditDepth)
	out := encode(tree)
	if len(out) <= maxAuditValue {
		return out
	}
	size := len(out)
	if object, ok := tree.(map[string]any); ok { // what is short tells the most: names, states, times
		for name, member := range object {
			if n := len(encode(member)); n > longMember {
				object[name] = leftOut(n)
			}
		}
		if out = encode(object); len(out) <= maxAuditValue {
			return out
		}
	}
	return note(leftOut(size))
}

func note(s string) json.RawMessage { return encode(map[string]any{"audit": s}) }

func leftOut(size int) string { return fmt.Sprintf("(%d bytes, left out)", size) }

// encode writes what storable returned, which cannot fail.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("BUG: " + err.Error())
	}
	return bytes.TrimSpace(b.Bytes())
}

// storable replaces what jsonb refuses, and, behind the type Secret, what looks like a secret all the same.
func storable(v any, depth int) any {
	switch v := v.(type) {
	case map[string]any:
		if depth == 0 {
			return "(nested too deep, left out)"
		}
		out := make(map[string]any, len(v))
		for name, member := range v {
			if text, ok := member.(string); ok && text != "" && secretNames[strings.ToLower(name)] {
				member = removed
			}
			out[plain(name)] = storable(member, depth-1)
		}
		return out
	case []any:
		if depth == 0 {
			return "(nested too deep, left out)"
		}
		for i := range v {
			v[i] = storable(v[i], depth-1)
		}
		return v
	case string:
		return keyText.ReplaceAllString(plain(v), removed)
	case json.Number: // jsonb takes no number of any size
		switch f, err := v.Float64(); {
		case err != nil || math.Abs(f) > 1e300 || len(v) > 100:
			return v.String()
		case strings.ContainsAny(v.String(), "eE"):
			return f
		}
	}
	return v
}

// secretNames and keyText are a net under the type Secret, for whoever forgets it.
var (
	secretNames = map[string]bool{"secret": true, "password": true, "token": true, "api_key": true, "authorization": true, "signing_secret": true,
		"client_secret": true}
	keyText = regexp.MustCompile(`\b` + keyMark + `_[a-z0-9]{4,16}_[A-Za-z0-9]{16,}`)
)

// plain removes what a text of PostgreSQL cannot hold.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// clip bounds a text in bytes without splitting a character.
func clip(s string, limit int) string {
	s = plain(s)
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}
