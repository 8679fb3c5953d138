package dashboards

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// What the page shows.
const (
	maxResolved      = 20
	maxNotifications = 500
)

type alertsData struct {
	*layout
	Open, Resolved []shownAlert
	Verdict        fleetVerdict
	One            bool // the page of one alert
	MayAck         bool
	AlertsPanel    panel
}

// shownAlert is an alert with what was told of it.
type shownAlert struct {
	*alerting.View
	Messages []message
}

// IsOpen reports whether the alert has not resolved.
func (a shownAlert) IsOpen() bool { return a.State != alerting.Resolved }

// Glyph is the shape of the alert's state.
func (a shownAlert) Glyph() string {
	if !a.IsOpen() {
		return "fine"
	}
	return stateGlyph(stateOf(a.Severity))
}

// Word is the alert's state.
func (a shownAlert) Word() string {
	if !a.IsOpen() {
		return "Resolved"
	}
	return a.SeverityWord()
}

// Lasted is how long it has been open, or was.
func (a shownAlert) Lasted(now time.Time) string {
	if a.ResolvedAt != nil {
		now = *a.ResolvedAt
	}
	return theme.Duration(now.Sub(a.Since))
}

func messageOf(n alerting.Notification) message {
	m := message{Reply: n.Reply, Event: n.Event, Text: n.Text, At: n.CreatedAt, Blocks: parseBlocks(n.Blocks), Trouble: n.LastError}
	if n.UpdatedAt != nil {
		m.At = *n.UpdatedAt
	}
	switch {
	case n.Notifier == "console":
		m.Where = "Shown here only: no Slack channel is set."
	case n.Status == "sent":
		m.Where, m.Trouble = "Sent to "+n.Channel+".", ""
	case n.Status == "failed":
		m.Where = "Not sent to " + n.Channel + "."
	default:
		m.Where = "On its way to " + n.Channel + "."
	}
	var b bytes.Buffer
	if json.Indent(&b, n.Blocks, "", "  ") == nil {
		m.JSON = b.String()
	}
	return m
}

func (c *Console) alertsPage(w http.ResponseWriter, r *http.Request) error {
	d, err := c.newAlerts(r)
	if err != nil {
		return err
	}
	d.Crumbs = []crumb{{Label: "Alerts"}}
	d.AlertsPanel = c.failed(r.Context(), "the alerts", c.readAlerts(r.Context(), d))
	d.Verdict = alertsVerdict(d)
	return c.render(w, "alerts", http.StatusOK, d.Partial, d)
}

func (c *Console) newAlerts(r *http.Request) (*alertsData, error) {
	l, err := c.newLayout(r, "alerts", "Alerts", false)
	if err != nil {
		return nil, err
	}
	snap, _ := c.snapshot(r.Context(), l) // for the age of the data, and the count beside Alerts
	open, err := c.openAlerts(r.Context())
	if err != nil {
		c.failed(r.Context(), "the open alerts", err)
	}
	l.countBurning(standing(snap, open))
	d := &alertsData{layout: l}
	if who, ok := tenant.IdentityFrom(r.Context()); ok {
		d.MayAck = who.Can(tenant.MayUpdate(tenant.ResourceAlerts)) && l.CSRF != ""
	}
	return d, nil
}

// readAlerts reads the open alerts and the last that resolved, each with its message.
func (c *Console) readAlerts(ctx context.Context, d *alertsData) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	open, err := c.opts.Alerts.List(ctx, alerting.Filter{Open: true, Limit: maxOpen})
	if err != nil {
		return err
	}
	resolved, err := c.opts.Alerts.List(ctx, alerting.Filter{State: alerting.Resolved, Limit: maxResolved})
	if err != nil {
		return err
	}
	notes, err := c.opts.Alerts.Notifications(ctx, maxNotifications)
	if err != nil {
		return err
	}
	messages := map[string][]message{}
	for _, n := range notes {
		if !n.Reply && len(messages[n.Alert]) == 0 { // the latest wherever it went; they say the same
			messages[n.Alert] = []message{messageOf(n)}
		}
	}
	slices.SortStableFunc(open, func(a, b *alerting.Alert) int {
		return cmp.Compare(rank(stateOf(a.Severity)), rank(stateOf(b.Severity))) // pages before tickets, the latest first
	})
	for _, v := range c.opts.Alerts.Views(ctx, append(open, resolved...)) {
		a := shownAlert{v, messages[v.Alert]}
		if a.IsOpen() {
			d.Open = append(d.Open, a)
		} else {
			d.Resolved = append(d.Resolved, a)
		}
	}
	return nil
}

// alertPage shows one alert with its thread.
func (c *Console) alertPage(w http.ResponseWriter, r *http.Request) error {
	found, err := c.opts.Alerts.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	d, err := c.newAlerts(r)
	if err != nil {
		return err
	}
	v := c.opts.Alerts.Views(r.Context(), []*alerting.Alert{found})[0]
	d.One, d.Title = true, v.Title
	d.Crumbs = []crumb{{"Alerts", "/alerts"}, {Label: v.Alert}}
	notes, err := c.opts.Alerts.NotificationsOf(r.Context(), v.Alert)
	d.AlertsPanel = c.failed(r.Context(), "the messages", err)
	a := shownAlert{View: v}
	for _, n := range notes {
		a.Messages = append(a.Messages, messageOf(n))
	}
	d.Verdict = fleetVerdict{Glyph: a.Glyph(), Word: a.Word(), Bold: v.Sentence}
	if v.Share != "" {
		d.Verdict.Context = v.Share + "; " + v.Limit + "."
	}
	if a.IsOpen() {
		d.Open = []shownAlert{a}
	} else {
		d.Resolved = []shownAlert{a}
	}
	return c.render(w, "alerts", http.StatusOK, d.Partial, d)
}

func alertsVerdict(d *alertsData) fleetVerdict {
	pages, unacked := 0, 0
	for _, a := range d.Open {
		if a.Severity == alerting.Page {
			pages++
		}
		if a.AckedBy == "" {
			unacked++
		}
	}
	switch {
	case d.AlertsPanel.Failed():
		return fleetVerdict{"nodata", "Unknown", "Whether an alert is open is not known now.", ""}
	case len(d.Open) == 0 && len(d.Resolved) == 0:
		return fleetVerdict{"fine", "Fine", "No alert is open, and none was yet.", ""}
	case len(d.Open) == 0:
		last := d.Resolved[0]
		return fleetVerdict{"fine", "Fine", "No alert is open.", "The last one was over " + theme.Ago(last.At, d.Now) + ". " + last.Sentence}
	}
	v := fleetVerdict{"ticket", "Ticket", theme.Count(len(d.Open), "alert is", "alerts are") + " open.", ""}
	if pages > 0 {
		v.Glyph, v.Word = "page", "Page"
	}
	switch {
	case unacked == 0:
		v.Context = "Somebody takes care of each."
	case unacked == 1 && len(d.Open) == 1:
		v.Context = "Nobody has acknowledged it."
	default:
		v.Context = theme.Num(unacked) + " not acknowledged."
	}
	return v
}

func (c *Console) ackAlert(w http.ResponseWriter, r *http.Request) error {
	who, _ := tenant.IdentityFrom(r.Context()) // signedIn saw it
	if _, err := c.opts.Alerts.Ack(r.Context(), who.Name, r.PathValue("id")); err != nil {
		return err
	}
	http.Redirect(w, r, "/alerts/"+url.PathEscape(r.PathValue("id")), http.StatusSeeOther)
	return nil
}
