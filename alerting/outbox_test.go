package alerting_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack/slackfake"
	"github.com/nexis-limited/headroom/tenant"
)

func (e *env) exec(sql string) {
	e.t.Helper()
	if _, err := e.db.Owner.Exec(e.t.Context(), sql); err != nil {
		e.t.Fatal(err)
	}
}

// breakOn makes PostgreSQL refuse something until mend is called.
func (e *env) breakOn(trigger string) (mend func()) {
	e.t.Helper()
	e.exec(`CREATE OR REPLACE FUNCTION control.broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken for a test'; END $$`)
	e.exec(trigger + " EXECUTE FUNCTION control.broken()")
	return func() { e.exec("DROP FUNCTION control.broken CASCADE") }
}

// The change, the notification and its job are stored together or not at all, wherever it breaks.
func TestOneTransaction(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"job":    `CREATE TRIGGER broken BEFORE INSERT ON river.river_job FOR EACH ROW`,
		"log":    `CREATE TRIGGER broken BEFORE INSERT ON control.notifications FOR EACH ROW`,
		"alert":  `CREATE TRIGGER broken BEFORE INSERT ON control.alert_tenants FOR EACH ROW`,
		"commit": `CREATE CONSTRAINT TRIGGER broken AFTER INSERT OR UPDATE ON control.alert_observations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			mend := e.breakOn(trigger)
			o := seen(5, burns("mossgrove", 16))
			if err := e.svc.Observe(t.Context(), o); err == nil {
				t.Fatal("Observe hid that nothing was stored")
			}
			const all = `SELECT (SELECT count(*) FROM control.alerts) + (SELECT count(*) FROM control.alert_tenants)
				+ (SELECT count(*) FROM control.notifications) + (SELECT count(*) FROM river.river_job)`
			if n := e.count(all); n != 0 {
				t.Errorf("%d rows were stored", n)
			}
			mend()
			if err := e.svc.Observe(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if n := e.count(all); n != 4 {
				t.Errorf("%d rows were stored, want one of each", n)
			}
			e.run(e.svc)
			e.settled()
			e.only()
		})
	}
}

// Slack has the message, but we do not know: the answer was lost, or we died before it was stored. It is found again.
func TestShownOnce(t *testing.T) {
	t.Parallel()
	f := func(name string, lose func(e *env) (mend func())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.run(e.svc)
			for i := range 5 { // so that the history has pages
				c := burns("lantern", 20)
				c.Rule = fmt.Sprint("rule-", i)
				o := seen(float64(i), c)
				o.Evaluated = nil
				if err := e.svc.Observe(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			e.settled()
			mend := lose(e)
			o := seen(10, burns("mossgrove", 16))
			o.Evaluated = nil
			if err := e.svc.Observe(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			e.eventually("Slack has it", func() bool { return len(e.slack.Messages()) == 6 })
			mend()
			e.settled()
			if n := len(e.slack.Messages()); n != 6 {
				t.Errorf("%d messages, want 6", n)
			}
			if len(e.slack.Calls("conversations.history")) < 1 {
				t.Error("nobody looked")
			}
			// The reply too: it is posted, and the answer is lost.
			e.slack.Fail("chat.postMessage", slackfake.Fault{Status: http.StatusBadGateway, Done: true})
			a := e.open()[0]
			if _, err := e.svc.Ack(t.Context(), "Priya", a.ID); err != nil {
				t.Fatal(err)
			}
			e.settled()
			if n := e.count(`SELECT count(*) FROM control.notifications WHERE kind = 'reply' AND ts <> ''`); n != 1 {
				t.Errorf("%d replies stored", n)
			}
			replies := 0
			for _, m := range e.slack.Messages() {
				replies += len(e.slack.Replies(m.TS))
			}
			if replies != 1 {
				t.Errorf("%d replies, want 1", replies)
			}
		})
	}
	f("answer lost", func(e *env) func() {
		e.slack.Fail("chat.postMessage", slackfake.Fault{Status: http.StatusGatewayTimeout, Done: true})
		return func() {}
	})
	f("error after it was done", func(e *env) func() {
		e.slack.Fail("chat.postMessage", slackfake.Fault{Code: "fatal_error", Done: true})
		return func() {}
	})
	f("not stored", func(e *env) func() {
		mend := e.breakOn(`CREATE TRIGGER broken BEFORE UPDATE OF ts ON control.notifications FOR EACH ROW WHEN (NEW.ts <> '')`)
		return func() { // only once it has failed: Slack has the message a moment before its place is to be stored
			e.eventually("storing has failed", func() bool {
				return e.count(`SELECT count(*) FROM river.river_job WHERE cardinality(errors) > 0`) > 0
			})
			mend()
		}
	})
}

// Whatever Slack answers, nothing is lost, and Retry-After is honoured.
func TestSlackFails(t *testing.T) {
	t.Parallel()
	f := func(name string, wait time.Duration, faults ...slackfake.Fault) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.slack.Fail("chat.postMessage", faults...)
			e.run(e.svc)
			e.observe(5, burns("mossgrove", 16))
			e.settled()
			e.only()
			posts := e.slack.Calls("chat.postMessage")
			if len(posts) != len(faults)+1 {
				t.Errorf("%d calls, want %d", len(posts), len(faults)+1)
			}
			for i := 1; i < len(posts); i++ {
				if d := posts[i].At.Sub(posts[i-1].At); d < wait {
					t.Errorf("tried again after %s, want %s", d, wait)
				}
			}
			if n := e.count(`SELECT attempts FROM control.notifications`); n < len(posts) {
				t.Errorf("%d attempts in the log, want %d", n, len(posts))
			}
		})
	}
	f("429", 2*time.Second, slackfake.Fault{Status: http.StatusTooManyRequests, RetryAfter: 2}, slackfake.Fault{Status: http.StatusTooManyRequests, RetryAfter: 2})
	f("500", 900*time.Millisecond, slackfake.Fault{Status: http.StatusInternalServerError})
	f("unavailable", 900*time.Millisecond, slackfake.Fault{Code: "service_unavailable"}, slackfake.Fault{Status: http.StatusServiceUnavailable})
}

// What somebody has to mend is said, kept and sent after it was mended. The token is never said.
func TestPermanentFailure(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	right := e.slack.Token
	e.slack.Token = "another"
	stop := e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.eventually("the failure is recorded", func() bool { return e.count(`SELECT count(*) FROM control.notifications WHERE status = 'failed'`) == 1 })
	all, err := e.svc.Notifications(t.Context(), 10)
	if err != nil || !strings.Contains(all[0].LastError, "invalid_auth") || !strings.Contains(all[0].Text, "Mossgrove Foods") {
		t.Errorf("notifications: %+v (%v)", all, err)
	}
	e.observe(6) // nobody ever heard of it
	stop()
	e.slack.Token = right
	e.run(e.svc)
	e.settled()
	if m := e.only(); !strings.HasPrefix(m.Text, "Resolved after") {
		t.Errorf("text = %q", m.Text)
	}
	if n := len(e.slack.Replies(e.only().TS)); n != 1 {
		t.Errorf("%d replies", n)
	}
	if strings.Contains(e.log.String(), right) {
		t.Errorf("the token is in the log:\n%s", e.log)
	}
	if n := e.count(`SELECT count(*) FROM control.notifications WHERE last_error LIKE '%' || $1 || '%'`, right); n != 0 {
		t.Error("the token is in the database")
	}
}

// A job that comes late or twice says nothing; a message that somebody deleted is posted anew.
func TestLateJobsAndDeletedMessages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	stop := e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.observe(6, burns("mossgrove", 16), burns("lantern", 16))
	e.settled()
	before := len(e.slack.Calls(""))
	stop()
	e.exec(`INSERT INTO river.river_job (args, kind, max_attempts, queue, priority, metadata)
		SELECT jsonb_build_object('notification', n.id), 'alerting_deliver', 10, 'alerting', 1, '{}'::jsonb
		FROM control.notifications n, generate_series(1, 20)
		UNION ALL SELECT '{"notification": 999999}', 'alerting_deliver', 10, 'alerting', 1, '{}'`)
	e.run(e.svc)
	e.eventually("the jobs are over", func() bool { return e.count(`SELECT count(*) FROM river.river_job WHERE state <> 'completed'`) == 0 })
	if n := len(e.slack.Calls("")); n != before {
		t.Errorf("%d calls of Slack by late jobs", n-before)
	}
	e.slack.Delete(e.only().TS)
	e.observe(7, burns("mossgrove", 16))
	e.settled()
	if m := e.only(); !strings.Contains(m.Text, "burns for Mossgrove Foods") {
		t.Errorf("text = %q", m.Text)
	}
}

// Growth waits for the pace of updates and is told at once in one; what is urgent overtakes it.
func TestPaceOfUpdates(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *alerting.Options) { o.UpdateEvery = time.Hour })
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.settled()
	var firing []alerting.Condition
	for i := range 40 {
		firing = append(firing, burns(tenant.ID(fmt.Sprint("tenant-", i)), 20))
		e.observe(6+float64(i)/6, firing...)
	}
	if n := e.count(`SELECT count(*) FROM river.river_job WHERE state = 'scheduled'`); n != 1 {
		t.Errorf("%d jobs wait, want 1", n)
	}
	if n := len(e.slack.Calls("")); n != 1 {
		t.Errorf("%d calls of Slack, want the first only", n)
	}
	a := e.open()[0]
	if _, err := e.svc.Ack(t.Context(), "Priya", a.ID); err != nil {
		t.Fatal(err)
	}
	e.settled()
	if m := e.only(); m.Edits != 1 || !strings.Contains(m.Text, "burns for 40 tenants") {
		t.Errorf("message: %+v", m)
	}
}

// A change that comes while an older state is on its way is told after it.
func TestChangeWhileSending(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	resume := e.slack.Pause()
	defer resume()
	e.run(e.svc)
	e.observe(5, burns("mossgrove", 16))
	e.eventually("Slack is asked", func() bool { return len(e.slack.Calls("chat.postMessage")) == 1 })
	e.observe(6)
	resume()
	e.settled()
	if m := e.only(); !strings.HasPrefix(m.Text, "Resolved") || m.Edits != 1 {
		t.Errorf("message: %+v", m)
	}
}

// Two processes that observe and send at once are one headroom.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	other := e.service()
	e.run(e.svc)
	e.run(other)
	var wg sync.WaitGroup
	for _, s := range []*alerting.Service{e.svc, other} {
		wg.Go(func() {
			for i := range 20 {
				firing := []alerting.Condition{burns("mossgrove", 16)}
				for j := range i % 5 {
					firing = append(firing, burns(tenant.ID(fmt.Sprint("tenant-", j)), 20))
				}
				if err := s.Observe(t.Context(), seen(5+float64(i)/6, firing...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	e.settled()
	if open := e.open(); len(open) != 1 || len(open[0].Burning()) != 5 {
		t.Errorf("open: %+v", open)
	}
	e.observe(30)
	e.settled()
	if m := e.only(); !strings.HasPrefix(m.Text, "Resolved") || len(e.slack.Replies(m.TS)) != 1 {
		t.Errorf("message: %+v, replies %+v", m, e.slack.Replies(m.TS))
	}
}
