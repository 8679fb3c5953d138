package fault

import "strings"

// List is several mistakes in one input, so that a person mends them all at once. It is never empty when it is
// returned as an error. Its Kind is that of its first member.
type List []*Error

// Error joins the mistakes, one a line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}
