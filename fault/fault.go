// Package fault has the kinds of error that headroom tells its callers apart by.
//
// An error of a kind carries a message for the person who made the call. Any other error is internal: its text is
// logged and never leaves the process. The package imports only the standard library and may be imported by all.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about an error.
type Kind uint8

// The kinds. Internal is the zero value: an error that nobody classified is ours to mend.
const (
	Internal        Kind = iota // ours; the caller can do nothing
	Invalid                     // the input is wrong; sending it again cannot help
	NotFound                    // there is no such thing, or the caller may not know of it
	Conflict                    // it contradicts the present state
	Unauthenticated             // no credentials, or credentials that are not valid
	Forbidden                   // valid credentials that do not allow this
	TooLarge                    // over a size limit
	Unsupported                 // a media type or encoding that is not understood
	Unavailable                 // try again later, see RetryAfter
)

var names = [...]string{"internal", "invalid", "not found", "conflict", "unauthenticated", "forbidden", "too large",
	"unsupported", "unavailable"}

// String returns the kind's name in lower case.
func (k Kind) String() string { return names[k] }

// Error is an error of a kind. Message is shown to the caller; Err, if any, stays inside.
type Error struct {
	Kind       Kind
	Message    string
	Field      string        // the input field at fault, as the caller names it; may be empty
	Value      string        // the value at fault, shortened by New; may be empty
	RetryAfter time.Duration // with Unavailable: when a retry makes sense; 0 is unknown
	Err        error
}

// Error returns the message with the field, the value and the cause: it is for logs.
func (e *Error) Error() string {
	s := e.Public()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Public returns what the caller may read: the message with the field and the value at fault.
func (e *Error) Public() string {
	switch {
	case e.Field != "" && e.Value != "":
		return fmt.Sprintf("%s: %s (got %q)", e.Field, e.Message, e.Value)
	case e.Field != "":
		return e.Field + ": " + e.Message
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of a kind with a message for the caller.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of a kind with a message for the caller; err is kept for logs and errors.Is.
func Wrap(err error, kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Err: err}
}

// maxValueLen bounds how much of a bad value an error repeats, in bytes.
const maxValueLen = 120

// InvalidField returns an Invalid error that names the field and the value at fault.
func InvalidField(field, value, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Value: shorten(value), Message: fmt.Sprintf(format, args...)}
}

func shorten(s string) string {
	if len(s) <= maxValueLen {
		return s
	}
	cut := maxValueLen
	for cut > 0 && s[cut]&0xC0 == 0x80 { // never in the middle of a rune
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}

// KindOf returns the kind of the first Error in err's chain, and Internal for all others.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the kind. A nil error is of none.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
