package slack_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/alerting/slack/slackfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notifier(t *testing.T, s *slackfake.Server, channel string) *slack.Notifier {
	t.Helper()
	n, err := slack.New(slack.Options{Token: s.Token, Channel: channel, APIURL: s.URL(), Pace: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.CloseIdle)
	return n
}

func delivery() alerting.Delivery {
	v := alerting.NewView(alert(member("mossgrove", 16, 0.75, time.Hour)), names, "https://headroom.example")
	return alerting.Delivery{Rendered: slack.Message(v), Key: "key-1", Alert: v.Alert, Created: time.Now()}
}

// What an answer means for what is done next.
func TestFailures(t *testing.T) {
	f := func(fault slackfake.Fault, want alerting.Failure, after time.Duration) {
		t.Helper()
		s := slackfake.New()
		defer s.Close()
		s.Fail("chat.postMessage", fault)
		_, err := notifier(t, s, s.ChannelID).Send(t.Context(), delivery())
		var e *alerting.SendError
		if !errors.As(err, &e) || e.Failure != want || e.After != after {
			t.Errorf("%+v: %v (%+v), want %s after %s", fault, err, e, want, after)
		}
		if err != nil && strings.Contains(err.Error(), s.Token) {
			t.Errorf("the token is in %q", err)
		}
	}
	f(slackfake.Fault{Status: http.StatusTooManyRequests, RetryAfter: 7}, alerting.Limited, 7*time.Second)
	f(slackfake.Fault{Status: http.StatusTooManyRequests}, alerting.Limited, 5*time.Second)
	f(slackfake.Fault{Code: "ratelimited"}, alerting.Limited, 5*time.Second)
	f(slackfake.Fault{Status: http.StatusInternalServerError}, alerting.Unsure, 0)
	f(slackfake.Fault{Status: http.StatusBadGateway}, alerting.Unsure, 0)
	f(slackfake.Fault{Code: "internal_error"}, alerting.Unsure, 0)
	f(slackfake.Fault{Code: "service_unavailable"}, alerting.Refused, 0)
	f(slackfake.Fault{Code: "channel_not_found"}, alerting.Permanent, 0)
	f(slackfake.Fault{Code: "invalid_auth"}, alerting.Permanent, 0)
	f(slackfake.Fault{Code: "something_new"}, alerting.Permanent, 0)
	f(slackfake.Fault{Status: http.StatusForbidden}, alerting.Permanent, 0)
}

// Nobody answers: not shown when no connection came about, not known when it broke.
func TestNetwork(t *testing.T) {
	s := slackfake.New()
	n := notifier(t, s, s.ChannelID)
	var e *alerting.SendError
	resume := s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Send(ctx, delivery()); !errors.As(err, &e) || e.Failure != alerting.Unsure {
		t.Errorf("timed out: %v", err)
	}
	resume()
	s.Close()
	if _, err := n.Send(t.Context(), delivery()); !errors.As(err, &e) || e.Failure != alerting.Refused || strings.Contains(err.Error(), s.Token) {
		t.Errorf("nobody there: %v", err)
	}
}

// One 429 quietens the whole notifier until Slack wants to hear of us again.
func TestLimitHoldsForAll(t *testing.T) {
	s := slackfake.New()
	defer s.Close()
	n := notifier(t, s, s.ChannelID)
	s.Fail("chat.postMessage", slackfake.Fault{Status: http.StatusTooManyRequests, RetryAfter: 30})
	for range 3 {
		var e *alerting.SendError
		if _, err := n.Send(t.Context(), delivery()); !errors.As(err, &e) || e.Failure != alerting.Limited || e.After < 29*time.Second {
			t.Errorf("%v", err)
		}
	}
	if n := len(s.Calls("")); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// A message that an earlier attempt left is found by its mark, whether the channel is configured by id or by name.
func TestFind(t *testing.T) {
	f := func(channel string, prepare func(s *slackfake.Server), wantMessages int) {
		t.Helper()
		s := slackfake.New()
		defer s.Close()
		before := notifier(t, s, s.ChannelID)
		d := delivery()
		for _, key := range []string{"key-0", "key-1", "key-2", "key-3", "key-4"} {
			d.Key = key
			if _, err := before.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		prepare(s)
		n := notifier(t, s, channel)
		d.Key, d.Unsure = "key-1", true
		at, err := n.Send(t.Context(), d)
		if err != nil || len(s.Messages()) != wantMessages || at.Channel != s.ChannelID {
			t.Errorf("%s: %+v, %v, %d messages", channel, at, err, len(s.Messages()))
		}
	}
	f("C0COMMERCE", func(*slackfake.Server) {}, 5)
	f("#commerce-oncall", func(*slackfake.Server) {}, 5)
	f("commerce-oncall", func(*slackfake.Server) {}, 5)
	// Without the right to read we cannot know. Better twice than never.
	f("C0COMMERCE", func(s *slackfake.Server) { s.Fail("conversations.history", slackfake.Fault{Code: "missing_scope"}) }, 6)
	f("commerce-oncall", func(s *slackfake.Server) { s.Fail("conversations.list", slackfake.Fault{Code: "missing_scope"}) }, 6)
}

func TestNewChecksOptions(t *testing.T) {
	if _, err := slack.New(slack.Options{Channel: "C1"}); err == nil {
		t.Error("no token, and no error")
	}
}

func TestConsole(t *testing.T) {
	var c slack.Console
	at, err := c.Send(t.Context(), delivery())
	if err != nil || at.ID == "" || c.Name() != "console" || c.Channel() != "console" {
		t.Errorf("%+v, %v", at, err)
	}
}
