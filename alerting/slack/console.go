package slack

import (
	"context"

	"github.com/nexis-limited/headroom/alerting"
)

// Console is the notifier of those who have no Slack: it renders what Slack would show and leaves it in the log of
// notifications, where the console shows it.
type Console struct{}

// Name implements alerting.Notifier.
func (Console) Name() string { return "console" }

// Channel implements alerting.Notifier.
func (Console) Channel() string { return "console" }

// Message implements alerting.Notifier.
func (Console) Message(v *alerting.View) alerting.Rendered { return Message(v) }

// Reply implements alerting.Notifier.
func (Console) Reply(v *alerting.View, r alerting.Reply) alerting.Rendered { return ReplyTo(v, r) }

// Send implements alerting.Notifier. The log is the place, so there is nothing left to do.
func (Console) Send(_ context.Context, d alerting.Delivery) (alerting.Place, error) {
	return alerting.Place{Channel: "console", ID: d.Key}, nil
}
