package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Notifier shows alerts somewhere: a Slack channel, the console. It holds no state of its own that matters.
type Notifier interface {
	// Name is the kind of place, "slack", and Channel the place, as configured. Together they say whose a stored
	// notification is.
	Name() string
	Channel() string

	// Message renders an alert as it stands; Reply renders an event for the thread below it. Both are pure.
	Message(v *View) Rendered
	Reply(v *View, r Reply) Rendered

	// Send shows a delivery and says where it is. When d.At is set it changes what is there. An error is best a
	// *SendError; any other one counts as Unsure.
	Send(ctx context.Context, d Delivery) (Place, error)
}

// Rendered is what people see. Text is for lock screens and readers without blocks, Blocks is Slack's Block Kit.
type Rendered struct {
	Text   string
	Blocks json.RawMessage
}

// Place is where something was shown, as the notifier names it: Slack's channel id and ts.
type Place struct {
	Channel string
	ID      string
}

// Reply is an event in the thread of an alert's message.
type Reply string

// The replies.
const (
	ReplyAcknowledged Reply = Reply(acknowledged)
	ReplyResolved     Reply = Reply(resolved)
	ReplyReopened     Reply = Reply(reopened)
)

// Delivery is one thing to show.
type Delivery struct {
	Rendered
	Key     string    // of the notification, goes with the message so that it can be known again
	Alert   string    // its id
	At      Place     // where it is already; ID is empty when it is nowhere yet
	Thread  Place     // a reply's message; ID is empty for messages
	Unsure  bool      // an earlier attempt may have got through: look before showing it again
	Created time.Time // no message of this notification is older
}

// Failure says what a failed Send means.
type Failure uint8

// The failures.
const (
	Unsure    Failure = iota // it may have got through or not; try again, with a look first
	Limited                  // not shown: too many; try again when the other side says
	Refused                  // not shown: the other side is away; try again
	Permanent                // not shown, and not likely to be until somebody changes something; try again slowly
	Gone                     // what was to be changed is not there any more: show it anew
)

// String returns the failure's name for logs and metrics.
func (f Failure) String() string {
	return [...]string{"unsure", "limited", "refused", "permanent", "gone"}[f]
}

// SendError is how a Send failed. Its text is stored and shown, so it must hold no secret.
type SendError struct {
	Failure Failure
	After   time.Duration // of Limited: how long to wait
	Err     error
}

// Error returns the text of the cause.
func (e *SendError) Error() string {
	if e.Failure == Limited {
		return fmt.Sprintf("asked to wait for %s: %v", e.After, e.Err)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }
