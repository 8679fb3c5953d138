// Package slack shows alerts in a Slack channel, by Slack's Web API: one message an alert, changed in place, and replies
// in its thread.
//
// It promises package alerting to say precisely how an attempt failed, to keep to Slack's pace, and to find a message
// that an earlier attempt may have left. The token stays inside: no error and no log line holds it. It also renders for
// those who have no Slack (see Console).
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/nexis-limited/headroom/alerting"
)

// Name is the notifier's name in the log of notifications.
const Name = "slack"

// eventType marks our messages, so that they can be found again.
const eventType = "headroom_alert"

// Options are what New needs.
type Options struct {
	Token   string       // required: a bot's, xoxb-…
	Channel string       // required: its id, C0…, or its name
	Logger  *slog.Logger // required

	APIURL string        // Slack's own by default
	Client *http.Client  // one with a timeout of 10 s by default
	Pace   time.Duration // between messages to the channel; 1 s by default, as Slack asks
	Burst  int           // messages that may go out at once before the pace holds; 3 by default
}

// Notifier implements alerting.Notifier.
type Notifier struct {
	o    Options
	log  *slog.Logger
	api  *slackgo.Client
	pace *pace
	ids  channelIDs
}

// New checks the options. It does not talk to Slack.
func New(o Options) (*Notifier, error) {
	if o.Token == "" || o.Channel == "" || o.Logger == nil {
		return nil, errors.New("cannot make the Slack notifier: Token, Channel and Logger are required")
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if o.Pace == 0 {
		o.Pace = time.Second
	}
	if o.Burst == 0 {
		o.Burst = 3
	}
	opts := []slackgo.Option{slackgo.OptionHTTPClient(o.Client)}
	if o.APIURL != "" {
		opts = append(opts, slackgo.OptionAPIURL(strings.TrimSuffix(o.APIURL, "/")+"/"))
	}
	return &Notifier{o: o, log: o.Logger.With("component", "slack"), api: slackgo.New(o.Token, opts...), pace: newPace(o.Pace, o.Burst)}, nil
}

// Name implements alerting.Notifier.
func (*Notifier) Name() string { return Name }

// Channel implements alerting.Notifier.
func (n *Notifier) Channel() string { return n.o.Channel }

// Message implements alerting.Notifier.
func (*Notifier) Message(v *alerting.View) alerting.Rendered { return Message(v) }

// Reply implements alerting.Notifier.
func (*Notifier) Reply(v *alerting.View, r alerting.Reply) alerting.Rendered { return ReplyTo(v, r) }

// Send implements alerting.Notifier.
func (n *Notifier) Send(ctx context.Context, d alerting.Delivery) (alerting.Place, error) {
	if wait := n.pace.blocked(); wait > 0 {
		return alerting.Place{}, &alerting.SendError{Failure: alerting.Limited, After: wait, Err: errors.New("there were too many messages for Slack")}
	}
	opts, err := content(d)
	if err != nil {
		return alerting.Place{}, &alerting.SendError{Failure: alerting.Permanent, Err: err}
	}
	if d.Unsure && d.At.ID == "" {
		found, err := n.find(ctx, d)
		if err != nil {
			return alerting.Place{}, n.failure("look for a message that may be there", err)
		}
		if d.At = found; found.ID != "" && d.Thread.ID != "" {
			return found, nil // replies are never changed
		}
	}
	if d.At.ID != "" {
		channel, ts, _, err := n.api.UpdateMessageContext(ctx, d.At.Channel, d.At.ID, opts...)
		if err != nil {
			return alerting.Place{}, n.failure("change a message", err)
		}
		return alerting.Place{Channel: channel, ID: ts}, nil
	}
	if err := n.pace.wait(ctx); err != nil {
		return alerting.Place{}, &alerting.SendError{Failure: alerting.Refused, Err: fmt.Errorf("cannot wait for Slack's pace: %w", err)}
	}
	to := n.o.Channel
	if d.Thread.ID != "" {
		to = d.Thread.Channel
		opts = append(opts, slackgo.MsgOptionTS(d.Thread.ID))
	}
	channel, ts, err := n.api.PostMessageContext(ctx, to, opts...)
	if err != nil {
		return alerting.Place{}, n.failure("post a message", err)
	}
	n.ids.learn(n.o.Channel, channel)
	return alerting.Place{Channel: channel, ID: ts}, nil
}

// content is what a message holds, its mark included.
func content(d alerting.Delivery) ([]slackgo.MsgOption, error) {
	var blocks slackgo.Blocks
	if err := json.Unmarshal(d.Blocks, &blocks); err != nil {
		return nil, fmt.Errorf("cannot read the blocks of a notification: %w", err)
	}
	return []slackgo.MsgOption{
		slackgo.MsgOptionText(d.Text, true), // it is plain: Slack's marks in names must not work
		slackgo.MsgOptionBlocks(blocks.BlockSet...),
		slackgo.MsgOptionDisableLinkUnfurl(),
		slackgo.MsgOptionDisableMediaUnfurl(),
		slackgo.MsgOptionMetadata(slackgo.SlackMetadata{EventType: eventType, EventPayload: map[string]any{
			"alert": d.Alert, "notification": d.Key,
		}}),
	}, nil
}

// CloseIdle closes the connections that wait for the next call.
func (n *Notifier) CloseIdle() { n.o.Client.CloseIdleConnections() }
