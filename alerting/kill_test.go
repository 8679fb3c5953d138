package alerting_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/alerting/slack"
	"github.com/nexis-limited/headroom/alerting/slack/slackfake"
	"github.com/nexis-limited/headroom/postgres"
)

// sendUntilKilled is what the child process of TestKilledWhileSending does.
func sendUntilKilled() {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := func() error {
		pool, err := postgres.OpenServing(ctx, os.Getenv("ALERTING_TEST_POSTGRES"), false)
		if err != nil {
			return err
		}
		n, err := slack.New(slack.Options{Token: os.Getenv("ALERTING_TEST_TOKEN"), Channel: os.Getenv("ALERTING_TEST_CHANNEL"),
			APIURL: os.Getenv("ALERTING_TEST_SLACK"), Logger: log})
		if err != nil {
			return err
		}
		s, err := alerting.New(alerting.Options{Pool: pool, Logger: log, Notifiers: []alerting.Notifier{n}, SendTimeout: 3 * time.Second})
		if err != nil {
			return err
		}
		return s.Run(ctx)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process is killed after Slack took its message and before it could note that. The next one finds the message and
// goes on with it; nothing is shown twice, and the thread is there.
func TestKilledWhileSending(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *alerting.Options) { o.SendTimeout = 3 * time.Second })
	e.slack.Fail("chat.postMessage", slackfake.Fault{Done: true, Hang: true})
	var stderr strings.Builder
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "ALERTING_TEST_SENDER=1", "ALERTING_TEST_POSTGRES="+e.db.DSN, "ALERTING_TEST_SLACK="+e.slack.URL(),
		"ALERTING_TEST_TOKEN="+e.slack.Token, "ALERTING_TEST_CHANNEL="+e.slack.ChannelID)
	child.Stderr = &stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	e.observe(5, burns("mossgrove", 16))
	e.eventually("Slack has the message", func() bool { return len(e.slack.Messages()) == 1 })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	first := e.only()
	e.observe(6) // meanwhile it is over
	if n := e.count(`SELECT count(*) FROM control.notifications WHERE ts <> ''`); n != 0 {
		t.Fatalf("%d notifications are noted as sent, want a crash before that; the child said %s", n, stderr.String())
	}
	e.run(e.svc)
	e.settled()
	if m := e.only(); m.TS != first.TS || !strings.HasPrefix(m.Text, "Resolved") || len(e.slack.Replies(m.TS)) != 1 {
		t.Errorf("message: %+v; replies: %+v", m, e.slack.Replies(m.TS))
	}
}
