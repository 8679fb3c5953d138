package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	slackToken   = "xoxb-e2e-only"
	slackChannel = "C0E2E0ALERTS"
)

// slackMessage is a message of the channel with all that it ever showed.
type slackMessage struct {
	TS       string
	Thread   string // ts of the message that this one replies to; empty for those of the channel itself
	Posted   time.Time
	Versions []slackVersion // the last is shown
	metadata json.RawMessage
}

type slackVersion struct {
	Text   string
	Blocks string // Block Kit JSON
}

// fakeSlack answers as Slack's Web API does, as far as headroom uses it. The first change of a message is refused as
// coming too fast.
type fakeSlack struct {
	*httptest.Server

	mu       sync.Mutex // guards what follows
	messages []*slackMessage
	limited  bool     // a change was refused already
	strange  []string // calls that Slack would not have taken
}

func newFakeSlack() *fakeSlack {
	s := &fakeSlack{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/chat.postMessage", s.post)
	mux.HandleFunc("POST /api/chat.update", s.update)
	mux.HandleFunc("/api/conversations.history", s.history)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.note("%s %s", r.Method, r.URL.Path)
		answer(w, map[string]any{"ok": false, "error": "unknown_method"})
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("token") != slackToken && r.Header.Get("Authorization") != "Bearer "+slackToken {
			answer(w, map[string]any{"ok": false, "error": "invalid_auth"})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return s
}

func answer(w http.ResponseWriter, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *fakeSlack) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strange = append(s.strange, fmt.Sprintf(format, args...))
}

func version(r *http.Request) (slackVersion, string) {
	v := slackVersion{Text: r.FormValue("text"), Blocks: r.FormValue("blocks")}
	var blocks []map[string]any
	switch {
	case r.FormValue("channel") != slackChannel:
		return v, "channel_not_found"
	case v.Text == "" && v.Blocks == "":
		return v, "no_text"
	case v.Blocks != "" && (json.Unmarshal([]byte(v.Blocks), &blocks) != nil || len(blocks) == 0 || len(blocks) > 50):
		return v, "invalid_blocks"
	}
	return v, ""
}

func (s *fakeSlack) post(w http.ResponseWriter, r *http.Request) {
	v, problem := version(r)
	if problem != "" {
		s.note("chat.postMessage: %s", problem)
		answer(w, map[string]any{"ok": false, "error": problem})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	m := &slackMessage{TS: fmt.Sprintf("%d.%06d", now.Unix(), len(s.messages)), Thread: r.FormValue("thread_ts"), Posted: now,
		Versions: []slackVersion{v}, metadata: json.RawMessage(r.FormValue("metadata"))}
	s.messages = append(s.messages, m)
	answer(w, map[string]any{"ok": true, "channel": slackChannel, "ts": m.TS})
}

func (s *fakeSlack) update(w http.ResponseWriter, r *http.Request) {
	v, problem := version(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.limited {
		s.limited = true
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	i := slices.IndexFunc(s.messages, func(m *slackMessage) bool { return m.TS == r.FormValue("ts") })
	if problem == "" && i < 0 {
		problem = "message_not_found"
	}
	if problem != "" {
		s.strange = append(s.strange, "chat.update: "+problem)
		answer(w, map[string]any{"ok": false, "error": problem})
		return
	}
	s.messages[i].Versions = append(s.messages[i].Versions, v)
	answer(w, map[string]any{"ok": true, "channel": slackChannel, "ts": s.messages[i].TS, "text": v.Text})
}

func (s *fakeSlack) history(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	for _, m := range slices.Backward(s.messages) {
		one := map[string]any{"type": "message", "ts": m.TS, "text": m.Versions[len(m.Versions)-1].Text}
		if len(m.metadata) > 0 {
			one["metadata"] = m.metadata
		}
		list = append(list, one)
	}
	answer(w, map[string]any{"ok": true, "messages": list, "has_more": false})
}

// about returns the messages of the channel itself whose first version mentions what.
func (s *fakeSlack) about(what string) []slackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []slackMessage
	for _, m := range s.messages {
		if m.Thread == "" && strings.Contains(m.Versions[0].Text+m.Versions[0].Blocks, what) {
			c := *m
			c.Versions = slices.Clone(m.Versions)
			found = append(found, c)
		}
	}
	return found
}

// problems returns the calls that Slack would not have taken.
func (s *fakeSlack) problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}
