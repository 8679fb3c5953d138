package web

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// schemaNamer names the types in the OpenAPI document. Features name their bodies as they like; where two choose the
// same name, the later one gets its operation's name before its own.
type schemaNamer struct {
	operation string // being registered
	names     map[reflect.Type]string
	taken     map[string]bool
}

func newSchemaNamer() *schemaNamer {
	return &schemaNamer{names: map[reflect.Type]string{}, taken: map[string]bool{}}
}

func (n *schemaNamer) name(t reflect.Type, hint string) string {
	if name, ok := n.names[t]; ok {
		return name
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if n.taken[name] {
		name = pascal(n.operation) + name
	}
	for i, base := 2, name; n.taken[name]; i++ {
		name = base + strconv.Itoa(i)
	}
	n.names[t], n.taken[name] = name, true
	return name
}

// pascal turns list-slos into ListSlos.
func pascal(kebab string) string {
	var b strings.Builder
	for _, word := range strings.Split(kebab, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}
