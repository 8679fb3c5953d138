package slo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// File is a source of definitions: OpenSLO v1 in YAML or JSON, any number of documents.
type File struct {
	Name   string // for mistakes; may be empty
	Source []byte
}

const (
	apiVersion = "openslo/v1"
	maxFile    = 256 << 10 // bytes; the YAML parser takes seconds for more, of the kind that a foe would write
	maxLines   = 10_000
	maxShown   = 100 // mistakes
	maxNesting = 64  // brackets and indentation levels; the deepest field there is stands at 12
)

// Parse reads the definitions of one file. The error is Mistakes with everything that is wrong in it.
func Parse(file string, src []byte) ([]Definition, error) {
	return ParseFiles([]File{{Name: file, Source: src}})
}

// ParseFiles reads the definitions of several files, which may refer to each other's objects. They come in the order of
// the files. The error is Mistakes with everything that is wrong in any of them.
func ParseFiles(files []File) ([]Definition, error) {
	var mistakes Mistakes
	objects := map[objectKey]*object{}
	var slos []*object
	for _, f := range files {
		for _, n := range documents(f, &mistakes) {
			o := readObject(n)
			if o == nil {
				continue
			}
			if first, ok := objects[o.key]; ok && o.key.name != "" {
				o.name.fail(o.key.name, "is the second %s of this name: the first is at %s", o.key.kind, place(first.name))
				continue
			}
			objects[o.key] = o
			if o.key.kind == "SLO" {
				slos = append(slos, o)
			}
		}
	}
	r := &resolver{objects: objects}
	defs := make([]Definition, 0, len(slos))
	for _, o := range slos {
		defs = append(defs, r.slo(o))
	}
	for _, o := range objects {
		r.unreferred(o)
	}
	if len(mistakes) == 0 && len(defs) == 0 {
		mistakes = append(mistakes, Mistake{Message: "there is no SLO in it"})
		if len(files) > 0 {
			mistakes[0].File = files[0].Name
		}
	}
	if len(mistakes) > 0 {
		return nil, sorted(mistakes, files)
	}
	return defs, nil
}

// sorted puts mistakes in the order in which a reader meets them and drops repetitions: an object that several SLOs
// refer to is read for each of them.
func sorted(m Mistakes, files []File) Mistakes {
	order := make(map[string]int, len(files))
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(m, func(a, b Mistake) int {
		if a.File != b.File {
			return order[a.File] - order[b.File]
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Field, b.Field)
	})
	m = slices.Compact(m)
	if n := len(m) - maxShown; n > 0 {
		m = append(m[:maxShown], Mistake{Message: fmt.Sprintf("and %d more", n)})
	}
	return m
}

func place(n node) string {
	if n.doc.file == "" {
		return fmt.Sprintf("line %d", n.line)
	}
	return fmt.Sprintf("%s:%d", n.doc.file, n.line)
}

// documents returns the roots of a file's documents; a root that is a list gives its members.
func documents(f File, mistakes *Mistakes) []node {
	fail := func(line int, format string, args ...any) []node {
		*mistakes = append(*mistakes, Mistake{File: f.Name, Line: line, Message: fmt.Sprintf(format, args...)})
		return nil
	}
	if len(f.Source) > maxFile {
		return fail(0, "has %d bytes, more than the %d that a file may have", len(f.Source), maxFile)
	}
	if n := bytes.Count(f.Source, []byte("\n")); n > maxLines {
		return fail(0, "has %d lines, more than the %d that a file may have", n, maxLines)
	}
	if line := tooDeep(f.Source); line > 0 {
		return fail(line, "is nested deeper than %d levels", maxNesting)
	}
	parsed, err := parser.ParseBytes(f.Source, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			return fail(syntax.Token.Position.Line, "is not valid YAML: %s", syntax.Message)
		}
		return fail(0, "is not valid YAML: %v", err)
	}
	var roots []node
	for _, d := range parsed.Docs {
		if d.Body == nil {
			continue
		}
		doc := &document{file: f.Name, mistakes: mistakes, anchors: anchors(d.Body)}
		root := newNode(doc, d.Body, "", 0)
		switch _, list := root.value.(*ast.SequenceNode); {
		case !root.present():
		case list:
			for _, m := range root.list() {
				m.path = ""
				roots = append(roots, m)
			}
		default:
			roots = append(roots, root)
		}
	}
	return roots
}

// tooDeep returns the first line that opens more brackets, or is indented further, than any definition can be, else 0.
// It stands before the YAML parser, which recurses.
func tooDeep(src []byte) int {
	line, depth, indent, dashes, start := 1, 0, 0, 0, true
	for _, c := range src {
		switch {
		case c == '\n':
			line, indent, dashes, start = line+1, 0, 0, true
			continue
		case c == '[' || c == '{':
			depth++
		case (c == ']' || c == '}') && depth > 0:
			depth--
		}
		if start {
			switch c {
			case ' ', '\t':
				indent++
			case '-', '?':
				dashes++
			default:
				start = false
			}
		}
		if depth > maxNesting || dashes > maxNesting || indent > 8*maxNesting {
			return line
		}
	}
	return 0
}

// anchors collects the values that a document's aliases may name.
func anchors(root ast.Node) map[string]ast.Node {
	var m map[string]ast.Node
	ast.Walk(visitor(func(n ast.Node) {
		if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
			if m == nil {
				m = map[string]ast.Node{}
			}
			m[a.Name.GetToken().Value] = a.Value
		}
	}), root)
	return m
}

type visitor func(ast.Node)

// Visit calls v for the node and goes on into its children.
func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}
