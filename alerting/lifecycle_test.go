package alerting_test

import (
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/tenant"
)

// One alert from its first message to its resolution: one message in the channel, changed in place.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(e.svc)

	e.observe(5, burns("mossgrove", 16))
	e.settled()
	first := e.only()
	want := "Page: Checkout availability burns for Mossgrove Foods since 09:14 UTC: 16×, gone about 12:53."
	if first.Text != want {
		t.Errorf("text = %q, want %q", first.Text, want)
	}

	e.observe(6, burns("mossgrove", 106), burns("lantern", 98), burns("aster", 88), burns("saltmarsh", 20))
	e.settled()
	m := e.only()
	want = "Page: Checkout availability burns for 4 tenants since 09:14 UTC. Worst: Mossgrove Foods, 106×, gone about 12:53."
	if m.TS != first.TS || m.Text != want {
		t.Errorf("the message became %+v, want %q at %s", m, want, first.TS)
	}
	if !strings.Contains(string(m.Blocks), "Aster Home") || strings.Contains(string(m.Blocks), "saltmarsh") {
		t.Errorf("the worst three are not named: %s", m.Blocks)
	}

	a := e.open()[0]
	if _, err := e.svc.Ack(t.Context(), "Priya", a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.svc.Ack(t.Context(), "Somebody else", a.ID); err != nil {
		t.Fatal(err)
	}
	e.settled()
	if got := e.only().Text; !strings.HasPrefix(got, "Acknowledged by Priya: Checkout availability burns for 4 tenants") {
		t.Errorf("text = %q", got)
	}
	if n := e.count(`SELECT count(*) FROM control.audit_log WHERE action = 'alert.acknowledge'`); n != 1 {
		t.Errorf("%d entries in the audit log, want 1", n)
	}

	e.observe(7, burns("mossgrove", 60))
	e.settled()
	if got := e.open()[0]; got.State != alerting.Acknowledged || len(got.Burning()) != 1 || len(got.Members) != 4 {
		t.Errorf("after three left: %+v", got)
	}

	e.observe(67)
	e.settled()
	if m = e.only(); m.TS != first.TS || !strings.HasPrefix(m.Text, "Resolved after 1\u202fh 7\u202fmin: Checkout availability, 4 tenants.") {
		t.Errorf("resolved: %q", m.Text)
	}
	replies := e.slack.Replies(first.TS)
	if len(replies) != 2 || !strings.HasPrefix(replies[0].Text, "Priya acknowledged after") || !strings.HasPrefix(replies[1].Text, "Resolved after") {
		t.Errorf("replies: %+v", replies)
	}
	if len(e.open()) != 0 {
		t.Error("an alert is still open")
	}
	if _, err := e.svc.Ack(t.Context(), "Priya", a.ID); err == nil {
		t.Error("a resolved alert was acknowledged")
	}
}

// The same or an older observation changes nothing; one without data freezes.
func TestLevelTriggered(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16), burns("lantern", 15))
	e.settled()
	calls := len(e.slack.Calls(""))
	for range 3 {
		e.observe(5, burns("mossgrove", 16), burns("lantern", 15))
		e.observe(4)                       // late
		e.observe(3, burns("aster", 1000)) // late
	}
	e.observe(6, burns("mossgrove", 17), burns("lantern", 15)) // the numbers alone
	if got := e.open()[0]; len(got.Members) != 2 || got.Members[0].Burn.Rate != 17 {
		t.Errorf("members: %+v", got.Members)
	}

	blind := seen(7, burns("mossgrove", 17))
	blind.Evaluated = func(k alerting.Key) bool { return k.Tenant != "lantern" }
	if err := e.svc.Observe(t.Context(), blind); err != nil {
		t.Fatal(err)
	}
	blind.At, blind.Firing = at(8), nil
	if err := e.svc.Observe(t.Context(), blind); err != nil {
		t.Fatal(err)
	}
	e.settled()
	if got := e.open(); len(got) != 1 || len(got[0].Burning()) != 1 || got[0].Burning()[0].Tenant != "lantern" {
		t.Fatalf("without data: %+v", got)
	}
	if n := len(e.slack.Calls("")); n != calls+1 {
		t.Errorf("%d calls of Slack, want 1 for the tenant that left", n-calls)
	}
	e.observe(9)
	if got := e.open(); len(got) != 0 {
		t.Errorf("still open: %+v", got)
	}
}

// What burns again soon is the same alert and the same thread; later it is a new one.
func TestFlap(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.observe(10)
	e.settled()
	first := e.only()
	e.observe(19.9, burns("mossgrove", 16), burns("lantern", 15))
	e.settled()
	m := e.only()
	if m.TS != first.TS || !strings.Contains(m.Text, "burns for 2 tenants since 09:14 UTC") {
		t.Errorf("after a flap: %+v", m)
	}
	e.observe(30)
	e.settled()
	if n := len(e.slack.Replies(first.TS)); n != 3 { // resolved, burns again, resolved
		t.Errorf("%d replies, want 3", n)
	}
	e.observe(41, burns("mossgrove", 16))
	e.settled()
	if n := len(e.slack.Messages()); n != 2 {
		t.Errorf("%d messages, want a new one after eleven minutes", n)
	}
}

// Pages and tickets, and different rules, are alerts of their own. What is not valid does not hide the rest.
func TestGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ticket := burns("mossgrove", 4)
	ticket.Severity = alerting.Ticket
	other := burns("mossgrove", 4)
	other.Rule, other.Title = "search-latency", ""
	nobody := burns(tenant.Untagged, 20)
	wrong := burns("mossgrove", 4)
	wrong.Severity = "nothing"
	e.observe(5, wrong, burns("mossgrove\x00", 5), burns("mossgrove", 3), burns("mossgrove", 16), ticket, other, nobody)
	open := e.open()
	if len(open) != 3 {
		t.Fatalf("%d alerts, want 3: %+v", len(open), open)
	}
	e.run(e.svc)
	e.settled()
	if n := len(e.slack.Messages()); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	all, err := e.svc.Notifications(t.Context(), 10)
	if err != nil || len(all) != 3 {
		t.Errorf("%d notifications, want 3 (%v)", len(all), err)
	}
}
