package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/nexis-limited/headroom/fault"
)

// HandlerFunc is a handler that returns its error instead of writing it.
type HandlerFunc func(w http.ResponseWriter, r *http.Request) error

// ErrorPage writes an HTML page for an error; message is what the reader may know.
type ErrorPage func(w http.ResponseWriter, r *http.Request, status int, message string)

// Handler adapts h: its error becomes a status, a log line for what is ours to mend, and an RFC 9457 problem document,
// or page when the caller is a browser and page is not nil. A panic becomes an internal error.
func Handler(log *slog.Logger, page ErrorPage, h HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is compared by identity
					panic(p)
				}
				err := fmt.Errorf("panic: %v", p)
				log.ErrorContext(r.Context(), "a handler panicked", "method", r.Method, "path", r.URL.Path, "error", err,
					"stack", string(debug.Stack()))
				writeError(w, r, page, err)
			}
		}()
		if err := h(w, r); err != nil {
			if s := Status(err); s >= 500 && r.Context().Err() == nil {
				log.ErrorContext(r.Context(), "a request failed", "method", r.Method, "path", r.URL.Path, "status", s, "error", err)
			}
			writeError(w, r, page, err)
		}
	})
}

func writeError(w http.ResponseWriter, r *http.Request, page ErrorPage, err error) {
	setErrorHeaders(w.Header(), err)
	w.Header().Set("Cache-Control", "no-store")
	if page != nil && wantsHTML(r) {
		page(w, r, Status(err), publicMessage(err))
		return
	}
	WriteProblem(w, err)
}

// Problem is an RFC 9457 problem document.
type Problem struct {
	Title  string          `json:"title"`
	Status int             `json:"status"`
	Detail string          `json:"detail"`
	Errors []ProblemDetail `json:"errors,omitempty"`
}

// ProblemDetail is one mistake: what is wrong, where, and the value.
type ProblemDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"`
	Value    any    `json:"value,omitempty"`
}

// NewProblem returns the document for err. It tells nothing of an internal error.
func NewProblem(err error) *Problem {
	s := Status(err)
	p := &Problem{Title: http.StatusText(s), Status: s, Detail: publicMessage(err)}
	var list fault.List
	if !errors.As(err, &list) {
		var e *fault.Error
		if errors.As(err, &e) && e.Field != "" {
			list = fault.List{e}
		}
	}
	for _, e := range list {
		d := ProblemDetail{Message: e.Message, Location: e.Field}
		if e.Value != "" {
			d.Value = e.Value
		}
		p.Errors = append(p.Errors, d)
	}
	return p
}

// WriteProblem writes err as a problem document.
func WriteProblem(w http.ResponseWriter, err error) {
	p := NewProblem(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller is gone
}
