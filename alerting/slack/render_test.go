package slack_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/tenant"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	began = time.Date(2026, 11, 24, 9, 14, 0, 0, time.UTC)
	names = map[tenant.ID]string{"mossgrove": "Mossgrove Foods", "lantern": "Lantern Health", "aster": "Aster Home", "evil": "*Bold* <!channel> & `Sons` | ~x~"}
)

func member(id tenant.ID, rate, left float64, goneAfter time.Duration) alerting.Member {
	m := alerting.Member{Tenant: id, State: alerting.Firing, StartedAt: began, PeakRate: rate + 10, BudgetBefore: left + 0.23, Burn: alerting.Burn{
		Rate: rate, Factor: 14.4, Long: time.Hour, Short: 5 * time.Minute, Bad: uint64(rate * 1.31), Total: 1310, Target: "99.9\u202f%",
		BudgetRemaining: left, Confidence: 0.99}}
	if goneAfter > 0 {
		t := began.Add(goneAfter)
		m.Burn.ExhaustsAt = &t
	}
	return m
}

func alert(members ...alerting.Member) *alerting.Alert {
	return &alerting.Alert{ID: "a-7f3kq2", Rule: "checkout-availability", Severity: alerting.Page, Title: "Checkout availability", Product: "commerce",
		BadIs: "failed", State: alerting.Firing, StartedAt: began, OpenedAt: began.Add(291 * time.Second), ObservedAt: began.Add(291 * time.Second), Members: members}
}

func resolve(a *alerting.Alert, after time.Duration) *alerting.Alert {
	t := began.Add(after)
	a.State, a.ResolvedAt, a.ObservedAt = alerting.Resolved, &t, t
	for i := range a.Members {
		a.Members[i].State, a.Members[i].ResolvedAt = alerting.Resolved, &t
	}
	return a
}

func acknowledge(a *alerting.Alert) *alerting.Alert {
	t := a.OpenedAt.Add(90 * time.Second)
	a.State, a.AckedBy, a.AckedAt, a.ObservedAt = alerting.Acknowledged, "Priya Nair", &t, began.Add(38*time.Minute)
	return a
}

// Every message that people may see, as it is sent. Run with -update after a wanted change, and read the difference.
func TestGolden(t *testing.T) {
	many := []alerting.Member{member("mossgrove", 106, 0.59, 219*time.Minute), member("lantern", 98, 0.41, 174*time.Minute), member("aster", 88, -0.06, 0)}
	for i := range 38 {
		many = append(many, member(tenant.ID("t"+strings.Repeat("x", i+1)), 20, 0.9, 0))
	}
	mixed := []alerting.Member{member("mossgrove", 106, 0.59, 219*time.Minute), member("lantern", 7.4, 0.714, 65*time.Hour)}
	mixed[1].Burn.Long, mixed[1].Burn.Target = 6*time.Hour, "99.5\u202f%"
	ticket := alert(member("halden/marine", 3.4, 0.31, 65*time.Hour))
	ticket.Severity, ticket.Title, ticket.BadIs = alerting.Ticket, "Invoice PDF latency", "took longer than 2\u202fs"
	ticket.Members[0].Burn.Long, ticket.Members[0].Burn.Factor, ticket.Members[0].Burn.Short = 24*time.Hour, 3, 2*time.Hour
	ticket.ObservedAt = began.Add(33 * time.Hour)
	again := alert(member("mossgrove", 16, 0.75, 0))
	reopenedAt := began.Add(20 * time.Minute)
	again.ReopenedAt, again.ObservedAt = &reopenedAt, reopenedAt.Add(time.Minute)
	reply := func(a *alerting.Alert, r alerting.Reply) alerting.Rendered {
		return slack.ReplyTo(alerting.NewView(a, names, "https://headroom.example"), r)
	}
	message := func(a *alerting.Alert) alerting.Rendered {
		return slack.Message(alerting.NewView(a, names, "https://headroom.example"))
	}
	f := func(name string, got alerting.Rendered) {
		t.Helper()
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(struct {
			Text   string          `json:"text"`
			Blocks json.RawMessage `json:"blocks"`
		}{got.Text, got.Blocks}); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, b.Bytes()) {
			t.Errorf("%s is now\n%s", file, b.Bytes())
		}
		var blocks slackgo.Blocks // Slack's library reads what we write
		if err := json.Unmarshal(got.Blocks, &blocks); err != nil || len(blocks.BlockSet) == 0 {
			t.Errorf("%s: %d blocks, %v", name, len(blocks.BlockSet), err)
		}
	}
	f("one_tenant", message(alert(member("mossgrove", 16, 0.75, 193*time.Minute))))
	f("three_tenants", message(alert(member("mossgrove", 16, 0.75, 193*time.Minute), member("lantern", 15, 0.56, 137*time.Minute), member("aster", 15, 0.81, 246*time.Minute))))
	f("many_acknowledged", message(acknowledge(alert(many...))))
	f("mixed_windows", message(alert(mixed...)))
	f("ticket", message(ticket))
	f("untagged", message(alert(member(tenant.Untagged, 20, 0.5, 100*time.Minute))))
	f("hostile_name", message(alert(member("evil", 20, 0.5, 100*time.Minute))))
	f("reopened", message(again))
	f("resolved_one", message(resolve(alert(member("mossgrove", 16, 0.52, 0)), 67*time.Minute)))
	f("resolved_many", message(resolve(acknowledge(alert(many...)), 67*time.Minute)))
	f("reply_acknowledged", reply(acknowledge(alert(many...)), alerting.ReplyAcknowledged))
	f("reply_resolved", reply(resolve(alert(many...), 67*time.Minute), alerting.ReplyResolved))
	f("reply_reopened", reply(again, alerting.ReplyReopened))
}

// Names of any kind stay within Slack's bounds and make nothing of their own.
func TestLongAndHostileNames(t *testing.T) {
	f := func(name string) {
		t.Helper()
		a := alert(member("a", 20, 0.5, time.Hour), member("b", 20, 0.5, time.Hour), member("c", 20, 0.5, time.Hour), member("d", 20, 0.5, time.Hour))
		a.Title, a.Product = name, name
		v := alerting.NewView(a, map[tenant.ID]string{"a": name, "b": name, "c": name}, "https://headroom.example")
		for _, r := range []alerting.Rendered{slack.Message(v), slack.ReplyTo(v, alerting.ReplyReopened)} {
			var blocks []struct {
				Type string
				Text struct{ Text string }
			}
			if err := json.Unmarshal(r.Blocks, &blocks); err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				if n := len([]rune(b.Text.Text)); b.Type == "header" && n > 150 || n > 3000 {
					t.Errorf("%q: a %s of %d characters", name, b.Type, n)
				}
				if b.Type == "section" && strings.Contains(b.Text.Text, "<!channel") {
					t.Errorf("%q calls the channel: %s", name, b.Text.Text)
				}
			}
		}
	}
	f("")
	f("<!channel>")
	f(strings.Repeat("<", 300))
	f(strings.Repeat("界", 300))
	f("a\nb\rc")
}
