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

// tenantAlert is an open alert in which a tenant burns.
type tenantAlert struct {
	*alerting.View
	Since time.Time // when it began for this tenant; others may have burned before
}

// alertsOf returns the open alerts in which the tenant burns.
func alertsOf(id tenant.ID, open []openAlert) []tenantAlert {
	var alerts []tenantAlert
	for _, a := range open {
		for _, m := range a.Members {
			if m.Tenant == id {
				alerts = append(alerts, tenantAlert{a.View, m.StartedAt.UTC()})
			}
		}
	}
	return alerts
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
