package slo

import (
	"fmt"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// Mistake is one thing that is wrong in a file of definitions.
type Mistake struct {
	File    string // as the caller named it; may be empty
	Line    int    // from 1; 0 when it concerns the file as a whole
	Field   string // path from the document's root, such as "spec.objectives[0].target"; may be empty
	Value   string // as it was written; may be empty
	Message string // what is wrong and what to do about it
}

// String returns the mistake as compilers print theirs: "file:line: field: message (got "value")".
func (m Mistake) String() string {
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File)
		b.WriteByte(':')
	}
	if m.Line > 0 {
		if m.File == "" {
			b.WriteString("line ")
		}
		fmt.Fprintf(&b, "%d:", m.Line)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(m.fault().Public())
	return b.String()
}

// fault returns the mistake without its place.
func (m Mistake) fault() *fault.Error { return fault.InvalidField(m.Field, m.Value, "%s", m.Message) }

// Mistakes are all that is wrong in what was parsed, in the order of the files. It is an error of kind fault.Invalid
// and, by errors.As, a fault.List whose messages begin with the line.
type Mistakes []Mistake

// Error returns the mistakes, one a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the same mistakes as a fault.List.
func (m Mistakes) Unwrap() error {
	list := make(fault.List, len(m))
	for i := range m {
		list[i] = m[i].fault()
		if m[i].Line > 0 {
			list[i].Message = fmt.Sprintf("line %d: %s", m[i].Line, list[i].Message)
		}
	}
	return list
}

// didYouMean returns "; did you mean X?" when one of the known words is close to word, else a list of them.
func didYouMean(word string, known []string) string {
	best, dist := "", len(word)/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known here: " + strings.Join(known, ", ")
}

// editDistance returns how many letters must be inserted, deleted, replaced or swapped with their neighbour to make b
// of a (optimal string alignment). Inputs over 64 bytes count as entirely different.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	var rows [3][65]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
