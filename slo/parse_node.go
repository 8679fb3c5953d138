package slo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// node is a value of a document with its place. The zero node stands for a field that is absent; reading from it gives
// zero values and reports nothing, so that one mistake is reported once.
type node struct {
	doc   *document
	value ast.Node
	path  string
	line  int // of the key for a field, of the value for a document or a list's member
}

// document is one YAML document of a file.
type document struct {
	file     string
	offset   int // added to every line: for YAML within a string
	pinned   int // when not 0: the line of everything
	anchors  map[string]ast.Node
	mistakes *Mistakes
}

// fail reports a mistake at the node.
func (n node) fail(value, format string, args ...any) {
	*n.doc.mistakes = append(*n.doc.mistakes, Mistake{
		File: n.doc.file, Line: n.line, Field: n.path, Value: value, Message: fmt.Sprintf(format, args...),
	})
}

// newNode returns the node of v, with anchors, aliases and tags resolved.
func newNode(doc *document, v ast.Node, path string, line int) node {
	for range 8 { // an alias of an alias of …: nobody writes more
		switch t := v.(type) {
		case *ast.AnchorNode:
			v = t.Value
		case *ast.TagNode:
			v = t.Value
		case *ast.AliasNode:
			v = doc.anchors[t.Value.GetToken().Value]
		}
	}
	if line == 0 && v != nil {
		line = v.GetToken().Position.Line + doc.offset
	}
	if doc.pinned > 0 {
		line = doc.pinned
	}
	return node{doc: doc, value: v, path: path, line: line}
}

// present reports whether the field is there and not null.
func (n node) present() bool {
	if n.value == nil {
		return false
	}
	_, null := n.value.(*ast.NullNode)
	return !null
}

// text returns the value as it was written, for error messages: scalars only.
func (n node) text() string {
	switch v := n.value.(type) {
	case *ast.LiteralNode:
		return v.Value.Value
	case *ast.MappingNode, *ast.SequenceNode, *ast.MappingValueNode, nil:
		return ""
	default:
		return v.GetToken().Value
	}
}

// what names the kind of value for error messages.
func (n node) what() string {
	switch n.value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a string"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "a boolean"
	}
	return "nothing"
}

// fields returns the values of a mapping's keys. Keys that are not known are mistakes; no known keys means any.
func (n node) fields(known ...string) map[string]node {
	if !n.present() {
		return nil
	}
	var values []*ast.MappingValueNode
	switch m := n.value.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		n.fail(n.text(), "must be a mapping, not %s", n.what())
		return nil
	}
	out := make(map[string]node, len(values))
	for _, v := range values {
		key := v.Key.GetToken().Value
		f := newNode(n.doc, v.Value, join(n.path, key), v.Key.GetToken().Position.Line+n.doc.offset)
		if len(known) > 0 && !slices.Contains(known, key) {
			f.fail("", "unknown field%s", didYouMean(key, known))
			continue
		}
		out[key] = f
	}
	return out
}

func join(path, key string) string {
	if strings.ContainsAny(key, "./ []") {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// list returns the members of a sequence.
func (n node) list() []node {
	if !n.present() {
		return nil
	}
	s, ok := n.value.(*ast.SequenceNode)
	if !ok {
		n.fail(n.text(), "must be a list, not %s", n.what())
		return nil
	}
	out := make([]node, 0, len(s.Values))
	for i, v := range s.Values {
		out = append(out, newNode(n.doc, v, fmt.Sprintf("%s[%d]", n.path, i), 0))
	}
	return out
}

// str returns a string; numbers and booleans are taken as they are written, as people forget the quotes.
func (n node) str() string {
	switch v := n.value.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return strings.TrimSuffix(v.Value.Value, "\n")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	}
	if n.present() {
		n.fail("", "must be a string, not %s", n.what())
	}
	return ""
}

// strs returns a list of strings; a single string counts as a list of one.
func (n node) strs() []string {
	switch n.value.(type) {
	case *ast.StringNode, *ast.IntegerNode:
		return []string{n.str()}
	}
	var out []string
	for _, m := range n.list() {
		if s := m.str(); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// boolean returns true or false; an absent one is def.
func (n node) boolean(def bool) bool {
	if !n.present() {
		return def
	}
	b, ok := n.value.(*ast.BoolNode)
	if !ok {
		n.fail(n.text(), "must be true or false, not %s", n.what())
		return def
	}
	return b.Value
}

// required returns the named field, or reports at the mapping that it is missing. hint says what to write.
func (n node) required(fields map[string]node, name, hint string) node {
	f, ok := fields[name]
	if fields != nil && (!ok || !f.present()) {
		at := n
		at.path = join(n.path, name)
		if ok {
			at.line = f.line
		}
		at.fail("", "is missing: %s", hint)
	}
	return f
}
