package alerting_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/alerting/slack/slackfake"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

func TestMain(m *testing.M) {
	if os.Getenv("ALERTING_TEST_SENDER") != "" {
		sendUntilKilled()
	}
	goleak.VerifyTestMain(m)
}

// morning is when the stories of these tests begin. It lies in the past, so that no clock gets in their way.
var morning = time.Date(2026, 3, 24, 9, 14, 0, 0, time.UTC)

func at(minutes float64) time.Time {
	return morning.Add(time.Duration(minutes * float64(time.Minute)))
}

// env is a service on a database of its own, with Slack replaced at its address.
type env struct {
	t     *testing.T
	db    *testenv.Postgres
	slack *slackfake.Server
	svc   *alerting.Service
	reg   *prometheus.Registry
	log   *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newEnv(t *testing.T, change ...func(*alerting.Options)) *env {
	t.Helper()
	e := &env{t: t, db: testenv.NewPostgres(t), slack: slackfake.New(), reg: prometheus.NewRegistry(), log: &logBuffer{}}
	t.Cleanup(e.slack.Close)
	e.svc = e.service(change...)
	return e
}

// service makes one more service on the same database and Slack, as another process would.
func (e *env) service(change ...func(*alerting.Options)) *alerting.Service {
	e.t.Helper()
	log := slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := alerting.Options{
		Pool: e.db.Pool, Logger: log, ConsoleURL: "https://headroom.example",
		Notifiers:   []alerting.Notifier{e.notifier(e.slack.ChannelID)},
		UpdateEvery: time.Millisecond, RefreshEvery: 24 * time.Hour,
		Names: func(context.Context) (map[tenant.ID]string, error) {
			return map[tenant.ID]string{"mossgrove": "Mossgrove Foods", "lantern": "Lantern Health", "aster": "Aster Home"}, nil
		},
	}
	for _, c := range change {
		c(&o)
	}
	s, err := alerting.New(o)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *env) notifier(channel string) *slack.Notifier {
	e.t.Helper()
	n, err := slack.New(slack.Options{Token: e.slack.Token, Channel: channel, APIURL: e.slack.URL(), Pace: time.Millisecond, Burst: 100,
		Logger: slog.New(slog.NewTextHandler(e.log, nil))})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(n.CloseIdle)
	return n
}

// run sends notifications until the test ends or stop is called.
func (e *env) run(s *alerting.Service) (stop func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			e.t.Errorf("Run: %v", err)
		}
	})
	e.t.Cleanup(stop)
	return stop
}

func (e *env) observe(minute float64, firing ...alerting.Condition) {
	e.t.Helper()
	if err := e.svc.Observe(e.t.Context(), seen(minute, firing...)); err != nil {
		e.t.Fatal(err)
	}
}

// seen is an observation for which there was enough data about everybody.
func seen(minute float64, firing ...alerting.Condition) alerting.Observation {
	return alerting.Observation{At: at(minute), Firing: firing, Evaluated: func(alerting.Key) bool { return true }}
}

// burns is a condition of the checkout SLO. A rate of 106 has 10.6 % of 3,930 requests failing.
func burns(id tenant.ID, rate float64) alerting.Condition {
	gone := at(219)
	return alerting.Condition{
		Rule: "checkout-availability", Title: "Checkout availability", Product: "commerce", Tenant: id, Severity: alerting.Page, Since: at(0),
		Burn: alerting.Burn{Rate: rate, Factor: 14.4, Long: time.Hour, Short: 5 * time.Minute, Bad: uint64(rate * 3.93), Total: 3930,
			Target: "99.9\u202f%", BudgetRemaining: 1 - rate/200, ExhaustsAt: &gone, Confidence: 0.99},
	}
}

// eventually polls until f says true; why is what was waited for.
func (e *env) eventually(why string, f func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			e.t.Fatalf("waited in vain: %s\n%s\nlog:\n%s", why, e.unsent(), last(e.log.String(), 3000))
		}
		<-tick.C
	}
}

// unsent tells of what is under way, for failures.
func (e *env) unsent() (s string) {
	err := e.db.Owner.QueryRow(context.Background(), `SELECT coalesce(string_agg(x, E'\n'), '') FROM (
		SELECT format('notification %s (%s %s): %s, attempts %s, job %s at %s', n.id, n.kind, n.event, n.status, n.attempts, j.state, j.scheduled_at)
		FROM control.notifications n LEFT JOIN river.river_job j ON (j.args->>'notification')::bigint = n.id AND j.state <> 'completed'
		WHERE n.status <> 'sent' ORDER BY n.id LIMIT 10) AS t (x)`).Scan(&s)
	if err != nil {
		return err.Error()
	}
	return s
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// settled waits until everything is sent.
func (e *env) settled() {
	e.t.Helper()
	e.eventually("everything is sent", func() bool { return e.count(`SELECT count(*) FROM control.notifications WHERE status <> 'sent'`) == 0 })
}

func (e *env) count(sql string, args ...any) int {
	e.t.Helper()
	var n int
	if err := e.db.Owner.QueryRow(e.t.Context(), sql, args...).Scan(&n); err != nil {
		e.t.Fatal(err)
	}
	return n
}

func (e *env) open() []*alerting.Alert {
	e.t.Helper()
	a, err := e.svc.Open(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}

// only returns the one message in the channel.
func (e *env) only() slackfake.Message {
	e.t.Helper()
	m := e.slack.Messages()
	if len(m) != 1 {
		e.t.Fatalf("%d messages in the channel, want 1: %+v", len(m), m)
	}
	return m[0]
}

var _ io.Writer = (*logBuffer)(nil)
