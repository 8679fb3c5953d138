// Package slackfake stands in for Slack's Web API at its address, for tests: it keeps channels with messages and
// threads, enforces what Slack enforces of the calls that headroom makes, records every call, and fails on demand. Only
// tests import it.
package slackfake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Message is one message as it stands.
type Message struct {
	TS       string
	ThreadTS string // of its message, when it is a reply
	Text     string
	Blocks   json.RawMessage
	Metadata json.RawMessage
	Edits    int
}

// Call is one call as it came.
type Call struct {
	Method string
	Form   url.Values
	At     time.Time
}

// Fault is how one call fails.
type Fault struct {
	Status     int    // of the answer; 200 with Code set
	RetryAfter int    // seconds
	Code       string // Slack's error code
	Done       bool   // what was asked for is done all the same, only the answer is lost
	Hang       bool   // no answer comes until the caller has gone
}

// Server is the stand-in.
type Server struct {
	Token     string // that calls must bring
	ChannelID string
	Name      string // of the channel

	http *httptest.Server

	mu       sync.Mutex
	messages []*Message
	calls    []Call
	faults   map[string][]Fault
	paused   chan struct{}
	seq      int
}

// New starts a server with one channel. Close it at the end.
func New() *Server {
	s := &Server{Token: "xoxb-secret-token", ChannelID: "C0COMMERCE", Name: "commerce-oncall", faults: map[string][]Fault{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// URL is the API's address.
func (s *Server) URL() string { return s.http.URL + "/api/" }

// Close stops the server.
func (s *Server) Close() { s.http.Close() }

// Fail makes the next calls of a method fail, one after the other.
func (s *Server) Fail(method string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[method] = append(s.faults[method], faults...)
}

// Pause holds all calls back until the returned function is called.
func (s *Server) Pause() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	s.paused = ch
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.paused = nil
		s.mu.Unlock()
		close(ch)
	})
}

// Messages returns the channel's messages that are no replies, the oldest first.
func (s *Server) Messages() []Message {
	return s.filter(func(m *Message) bool { return m.ThreadTS == "" })
}

// Replies returns the replies to a message, the oldest first.
func (s *Server) Replies(ts string) []Message {
	return s.filter(func(m *Message) bool { return m.ThreadTS == ts })
}

func (s *Server) filter(f func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if f(m) {
			out = append(out, *m)
		}
	}
	return out
}

// Delete removes a message, as a person may.
func (s *Server) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool { return m.TS == ts })
}

// Calls returns the calls of a method, or of all when it is empty.
func (s *Server) Calls(method string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if method == "" || c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	paused := s.paused
	s.calls = append(s.calls, Call{method, r.Form, time.Now()})
	s.mu.Unlock()
	if paused != nil {
		select {
		case <-paused:
		case <-r.Context().Done():
			return
		}
	}
	fault, answer := s.act(method, r.Form)
	if fault != nil {
		if fault.Hang {
			<-r.Context().Done()
			return
		}
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
		}
		if fault.Status != 0 && fault.Status != http.StatusOK {
			http.Error(w, "<html>"+r.Form.Get("token")+"</html>", fault.Status)
			return
		}
		answer = map[string]any{"ok": false, "error": fault.Code}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that has gone does not matter
}

// act does what is asked for, unless it is to fail.
func (s *Server) act(method string, f url.Values) (fault *Fault, answer map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if queue := s.faults[method]; len(queue) > 0 {
		fault, s.faults[method] = &queue[0], queue[1:]
	}
	if fault == nil || fault.Done {
		answer = s.do(method, f)
	}
	return fault, answer
}

func (s *Server) do(method string, f url.Values) map[string]any {
	fail := func(code string) map[string]any { return map[string]any{"ok": false, "error": code} }
	if f.Get("token") != s.Token {
		return fail("invalid_auth")
	}
	if method == "conversations.list" {
		return map[string]any{"ok": true, "channels": []any{map[string]any{"id": s.ChannelID, "name": s.Name}}}
	}
	ch := f.Get("channel")
	byName := method == "chat.postMessage" && strings.TrimPrefix(ch, "#") == s.Name
	if ch != s.ChannelID && !byName {
		return fail("channel_not_found")
	}
	switch method {
	case "chat.postMessage":
		if code := checkContent(f); code != "" {
			return fail(code)
		}
		if t := f.Get("thread_ts"); t != "" && s.find(t) == nil {
			return fail("thread_not_found")
		}
		s.seq++
		m := &Message{TS: fmt.Sprintf("%d.%06d", time.Now().Unix(), s.seq), ThreadTS: f.Get("thread_ts"), Text: f.Get("text"),
			Blocks: json.RawMessage(f.Get("blocks")), Metadata: json.RawMessage(f.Get("metadata"))}
		s.messages = append(s.messages, m)
		return map[string]any{"ok": true, "channel": s.ChannelID, "ts": m.TS}
	case "chat.update":
		if code := checkContent(f); code != "" {
			return fail(code)
		}
		m := s.find(f.Get("ts"))
		if m == nil {
			return fail("message_not_found")
		}
		m.Text, m.Blocks, m.Metadata = f.Get("text"), json.RawMessage(f.Get("blocks")), json.RawMessage(f.Get("metadata"))
		m.Edits++
		return map[string]any{"ok": true, "channel": s.ChannelID, "ts": m.TS, "text": m.Text}
	case "conversations.history", "conversations.replies":
		return s.history(f, f.Get("ts"))
	}
	return fail("unknown_method")
}

// history pages by two, so that paging is always used.
func (s *Server) history(f url.Values, thread string) map[string]any {
	var all []any
	for _, m := range s.messages {
		if m.ThreadTS != thread && (thread == "" || m.TS != thread) {
			continue
		}
		j := map[string]any{"type": "message", "ts": m.TS, "text": m.Text}
		if f.Get("include_all_metadata") == "1" && len(m.Metadata) > 0 {
			j["metadata"] = m.Metadata
		}
		all = append(all, j)
	}
	if thread == "" {
		slices.Reverse(all) // the latest first
	}
	from, _ := strconv.Atoi(f.Get("cursor"))
	from = min(from, len(all))
	to := min(from+2, len(all))
	next := ""
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return map[string]any{"ok": true, "messages": append([]any{}, all[from:to]...), "has_more": next != "",
		"response_metadata": map[string]any{"next_cursor": next}}
}

func (s *Server) find(ts string) *Message {
	i := slices.IndexFunc(s.messages, func(m *Message) bool { return m.TS == ts })
	if i < 0 {
		return nil
	}
	return s.messages[i]
}

// checkContent enforces Slack's bounds on what headroom sends.
func checkContent(f url.Values) (code string) {
	if f.Get("text") == "" || utf8.RuneCountInString(f.Get("text")) > 40_000 {
		return "no_text"
	}
	var blocks []struct {
		Type string `json:"type"`
		Text struct {
			Type, Text string
		} `json:"text"`
		Elements []struct {
			Type string `json:"type"`
			URL  string `json:"url"`
		} `json:"elements"`
	}
	if json.Unmarshal([]byte(f.Get("blocks")), &blocks) != nil || len(blocks) == 0 || len(blocks) > 50 {
		return "invalid_blocks"
	}
	for _, b := range blocks {
		n := utf8.RuneCountInString(b.Text.Text)
		switch b.Type {
		case "header":
			if b.Text.Type != "plain_text" || n == 0 || n > 150 {
				return "invalid_blocks"
			}
		case "section":
			if n == 0 || n > 3000 {
				return "invalid_blocks"
			}
		case "actions", "context":
			if len(b.Elements) == 0 {
				return "invalid_blocks"
			}
		default:
			return "invalid_blocks"
		}
	}
	var meta struct {
		EventType    string         `json:"event_type"`
		EventPayload map[string]any `json:"event_payload"`
	}
	if json.Unmarshal([]byte(f.Get("metadata")), &meta) != nil || meta.EventType == "" || len(meta.EventPayload) == 0 {
		return "invalid_metadata_format"
	}
	return ""
}
