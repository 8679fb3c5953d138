package alerting_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
)

// A message is in Slack about a second after the observation, and the numbers about it say so.
func TestMetrics(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	with := e.service(func(o *alerting.Options) { o.Registerer = e.reg })
	e.run(with)
	if err := with.Observe(t.Context(), seen(1)); err != nil { // River listens soon after its start
		t.Fatal(err)
	}
	started := time.Now()
	if err := with.Observe(t.Context(), seen(5, burns("mossgrove", 16), burns("lantern", 15))); err != nil {
		t.Fatal(err)
	}
	e.settled()
	if d := e.slack.Calls("chat.postMessage")[0].At.Sub(started); d > 5*time.Second {
		t.Errorf("the message took %s", d)
	} else {
		t.Logf("the message took %s", d)
	}
	want := `
# HELP headroom_alerting_alerts Alerts that are not resolved.
# TYPE headroom_alerting_alerts gauge
headroom_alerting_alerts{severity="page",state="acknowledged"} 0
headroom_alerting_alerts{severity="page",state="firing"} 1
headroom_alerting_alerts{severity="ticket",state="acknowledged"} 0
headroom_alerting_alerts{severity="ticket",state="firing"} 0
# HELP headroom_alerting_notifications_total Attempts to show a notification, by how they ended: sent, updated, or the failure.
# TYPE headroom_alerting_notifications_total counter
headroom_alerting_notifications_total{notifier="slack",outcome="sent"} 1
# HELP headroom_alerting_tenants Tenants that burn, in alerts that are not resolved.
# TYPE headroom_alerting_tenants gauge
headroom_alerting_tenants{severity="page"} 2
headroom_alerting_tenants{severity="ticket"} 0
`
	check := func() error {
		return testutil.GatherAndCompare(e.reg, strings.NewReader(want), "headroom_alerting_alerts", "headroom_alerting_tenants", "headroom_alerting_notifications_total")
	}
	e.eventually("the metrics agree", func() bool { return check() == nil })
	if n, err := testutil.GatherAndCount(e.reg, "headroom_alerting_delivery_seconds"); n != 1 || err != nil {
		t.Errorf("%d histograms of delivery times, %v", n, err)
	}
}

// Without Slack the log holds what Slack would show.
func TestConsoleOnly(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *alerting.Options) { o.Notifiers = []alerting.Notifier{slack.Console{}} })
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.settled()
	e.observe(9)
	e.settled()
	all, err := e.svc.NotificationsOf(t.Context(), e.alerts()[0].ID)
	if err != nil || len(all) != 2 || all[0].Reply || !all[1].Reply || all[0].Status != "sent" || all[0].Event != "resolved" {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, n := range all {
		var blocks []any
		if err := json.Unmarshal(n.Blocks, &blocks); err != nil || len(blocks) == 0 {
			t.Errorf("%s: %d blocks, %v", n.Text, len(blocks), err)
		}
	}
	if len(e.slack.Calls("")) != 0 {
		t.Error("somebody called Slack")
	}
}

func (e *env) alerts() []*alerting.Alert {
	e.t.Helper()
	a, err := e.svc.List(e.t.Context(), alerting.Filter{})
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}
