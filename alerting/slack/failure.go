package slack

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/nexis-limited/headroom/alerting"
)

// Slack's error codes by what they mean for a message. Every other code says that something has to be changed first.
// https://docs.slack.dev/reference/methods/chat.postMessage
var (
	limitedCodes = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}
	refusedCodes = []string{"service_unavailable", "team_added_to_org"}
	unsureCodes  = []string{"fatal_error", "internal_error", "request_timeout"} // "some aspect may have succeeded"
	goneCodes    = []string{"message_not_found"}
)

// limitedWait is how long to wait when Slack does not say.
const limitedWait = 5 * time.Second

// failure says what an error of the API means. What it returns does not hold the token, whatever the other side wrote.
func (n *Notifier) failure(doing string, err error) *alerting.SendError {
	e := &alerting.SendError{Failure: alerting.Unsure, Err: n.redacted(doing, err)}
	var limited *slackgo.RateLimitedError
	var code slackgo.SlackErrorResponse
	var status slackgo.StatusCodeError
	var op *net.OpError
	switch {
	case errors.As(err, &limited):
		e.Failure, e.After = alerting.Limited, max(limited.RetryAfter, time.Second)
		n.pace.block(e.After)
	case errors.As(err, &code):
		switch {
		case slices.Contains(limitedCodes, code.Err):
			e.Failure, e.After = alerting.Limited, limitedWait
			n.pace.block(e.After)
		case slices.Contains(refusedCodes, code.Err):
			e.Failure = alerting.Refused
		case slices.Contains(unsureCodes, code.Err):
		case slices.Contains(goneCodes, code.Err):
			e.Failure = alerting.Gone
		default:
			e.Failure = alerting.Permanent
		}
	case errors.As(err, &status):
		switch {
		case status.Code == http.StatusTooManyRequests:
			e.Failure, e.After = alerting.Limited, limitedWait
			n.pace.block(e.After)
		case status.Code < 500:
			e.Failure = alerting.Permanent
		}
	case errors.As(err, &op) && op.Op == "dial":
		e.Failure = alerting.Refused
	}
	return e
}

// redacted returns the error's text without the token. It does not wrap err: its parts could hold the token too.
func (n *Notifier) redacted(doing string, err error) error {
	text := err.Error()
	var code slackgo.SlackErrorResponse
	if errors.As(err, &code) && len(code.ResponseMetadata.Messages) > 0 {
		text += ": " + strings.Join(code.ResponseMetadata.Messages, "; ") // says which block is wrong
	}
	if code.Needed != "" {
		text += ": the app needs the scope " + code.Needed
	}
	return fmt.Errorf("cannot %s in Slack's channel %q: %s", doing, n.o.Channel, strings.ReplaceAll(text, n.o.Token, "…"))
}
