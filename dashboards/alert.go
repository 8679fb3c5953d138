package dashboards

import (
	"context"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

// Alerts is what the console needs of alerting; *alerting.Service is one.
type Alerts interface {
	List(ctx context.Context, f alerting.Filter) ([]*alerting.Alert, error)
	Get(ctx context.Context, id string) (*alerting.Alert, error)
	Views(ctx context.Context, list []*alerting.Alert) []*alerting.View
	Notifications(ctx context.Context, limit int) ([]alerting.Notification, error)
	NotificationsOf(ctx context.Context, alert string) ([]alerting.Notification, error)
	Ack(ctx context.Context, actor, id string) (*alerting.Alert, error)
}

// maxOpen bounds the open alerts that a page reads.
const maxOpen = 200

// openAlerts returns the alerts that have not resolved, in words.
func (c *Console) openAlerts(ctx context.Context) ([]*alerting.View, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	list, err := c.opts.Alerts.List(ctx, alerting.Filter{Open: true, Limit: maxOpen})
	if err != nil {
		return nil, err
	}
	return c.opts.Alerts.Views(ctx, list), nil
}

// tenantAlert is an open alert in which a tenant burns.
type tenantAlert struct {
	*alerting.View
	Since time.Time // when it began for this tenant; others may have burned before
}

// openAlertsOf returns the open alerts in which the tenant burns.
func (c *Console) openAlertsOf(ctx context.Context, id tenant.ID) ([]tenantAlert, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	list, err := c.opts.Alerts.List(ctx, alerting.Filter{Open: true, Tenant: &id, Limit: maxOpen})
	if err != nil {
		return nil, err
	}
	var alerts []tenantAlert
	for i, v := range c.opts.Alerts.Views(ctx, list) {
		for _, m := range list[i].Burning() {
			if m.Tenant == id {
				alerts = append(alerts, tenantAlert{v, m.StartedAt.UTC()})
			}
		}
	}
	return alerts, nil
}

// message is what was told of an alert, or would have been.
type message struct {
	Reply   bool // in the thread
	Event   string
	Where   string // channel, or why it went nowhere
	Text    string // for the lock screen
	At      time.Time
	Blocks  []block
	JSON    string // indented
	Trouble string // why it did not go out
}
