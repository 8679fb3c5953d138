package alerting_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack/slackfake"
	"github.com/nexis-limited/headroom/tenant"
)

// Whatever is observed by whichever process, however Slack fails and whatever people acknowledge: in the end the
// database holds together, and Slack shows each alert once, as the database has it.
func TestSlackAgreesWithDatabase(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			// One message may meet all failures of the run, one after the other.
			quickly := func(o *alerting.Options) { o.LongestRetry = 2 * time.Second }
			e := newEnv(t, quickly)
			services := []*alerting.Service{e.svc, e.service(quickly)}
			stop := e.run(services[0])
			e.run(services[1])
			rnd := rand.New(rand.NewPCG(seed, 1))
			faults := []slackfake.Fault{{Status: 500}, {Status: 502, Done: true}, {Code: "internal_error", Done: true}, {Status: 429, RetryAfter: 1}, {Code: "service_unavailable"}}
			minute := 0.0
			for i := range 120 {
				minute += rnd.Float64() * 4
				var firing []alerting.Condition
				for r := range 3 {
					for n := range 4 {
						if rnd.IntN(3) == 0 {
							c := burns(tenant.ID(fmt.Sprint("t", n)), 1+rnd.Float64()*200)
							c.Rule = fmt.Sprint("rule-", r)
							firing = append(firing, c)
						}
					}
				}
				if rnd.IntN(3) == 0 {
					firing = nil
				}
				o := seen(minute, firing...)
				o.Evaluated = func(k alerting.Key) bool { return (int(k.Tenant[1])+i)%5 > 0 }
				if err := services[rnd.IntN(2)].Observe(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				if rnd.IntN(10) == 0 {
					method := []string{"chat.postMessage", "chat.update"}[rnd.IntN(2)]
					e.slack.Fail(method, faults[rnd.IntN(len(faults))])
				}
				if open := e.open(); len(open) > 0 && rnd.IntN(8) == 0 {
					if _, err := e.svc.Ack(t.Context(), "Priya", open[0].ID); err != nil {
						t.Fatal(err)
					}
				}
				if i == 60 {
					stop()
					stop = e.run(services[0])
				}
			}
			e.settled()

			all, err := e.svc.List(t.Context(), alerting.Filter{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			seenOpen := map[string]bool{}
			shown := map[string]int{}
			for _, m := range e.slack.Messages() {
				shown[m.TS]++
			}
			if len(shown) != len(all) {
				t.Errorf("%d messages for %d alerts", len(shown), len(all))
			}
			for _, a := range all {
				if (len(a.Burning()) == 0) != (a.State == alerting.Resolved) {
					t.Errorf("alert %s is %s with %d tenants that burn", a.ID, a.State, len(a.Burning()))
				}
				if a.State != alerting.Resolved && seenOpen[a.Rule] {
					t.Errorf("two open alerts of %s", a.Rule)
				}
				seenOpen[a.Rule] = seenOpen[a.Rule] || a.State != alerting.Resolved
				var ts string
				if err := e.db.Owner.QueryRow(t.Context(), `SELECT ts FROM control.notifications WHERE alert_id = $1 AND kind = 'message'`, a.ID).Scan(&ts); err != nil {
					t.Fatal(err)
				}
				view := e.svc.View(t.Context(), a)
				for _, m := range e.slack.Messages() {
					if m.TS != ts {
						continue
					}
					// The numbers may be older, by design; state, tenants and title are not.
					if got, want := title(t, m.Blocks), view.Title; got != want {
						t.Errorf("alert %s: Slack shows %q, the database has %q", a.ID, got, want)
					}
				}
				if replies, want := len(e.slack.Replies(ts)), e.count(`SELECT count(*) FROM control.notifications WHERE alert_id = $1 AND kind = 'reply'`, a.ID); replies != want {
					t.Errorf("alert %s: %d replies in Slack, %d in the database", a.ID, replies, want)
				}
			}
			if n := e.count(`SELECT count(*) FROM river.river_job WHERE state NOT IN ('completed')`); n != 0 {
				t.Errorf("%d jobs are left", n)
			}
		})
	}
}
