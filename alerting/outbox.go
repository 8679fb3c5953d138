package alerting

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/nexis-limited/headroom/tenant"
)

// Queue is the River queue of deliveries.
const Queue = "alerting"

// deliverArgs is the job "show this notification as the database has it now".
type deliverArgs struct {
	Notification int64 `json:"notification" river:"unique"`
}

// Kind implements river.JobArgs.
func (deliverArgs) Kind() string { return "alerting_deliver" }

// InsertOpts implements river.JobArgsWithInsertOpts. A notification has at most one job that is not over. A worker ends
// its job in the transaction that finds nothing more to tell, so a change is never lost to a job that is about to end.
func (deliverArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue: Queue,
		// Failures to send do not count as attempts; those of the database and of dying processes do.
		MaxAttempts: 10_000,
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

// priority puts pages first, and messages before what stands in their threads.
func priority(sev Severity, reply bool) int {
	p := 1
	if sev != Page {
		p += 2
	}
	if reply {
		p++
	}
	return p
}

// replies says which events are told in the thread as well.
var replies = map[event]Reply{acknowledged: ReplyAcknowledged, resolved: ReplyResolved, reopened: ReplyReopened}

// notify queues what people are to be told of the event.
func (s *Service) notify(ctx context.Context, tx pgx.Tx, a *Alert, e event, names map[tenant.ID]string) error {
	if e == nothing {
		return nil
	}
	view := NewView(a, names, s.ConsoleURL)
	for _, n := range s.Notifiers {
		r := n.Message(view)
		var id int64
		var updated *time.Time
		// The text of a message that is not there yet is kept for those who look at the log meanwhile.
		if err := tx.QueryRow(ctx, `
			INSERT INTO control.notifications AS n (alert_id, kind, event, notifier, channel, text, blocks)
			VALUES ($1, 'message', $2, $3, $4, $5, $6)
			ON CONFLICT (alert_id, notifier, channel) WHERE kind = 'message'
			DO UPDATE SET event = excluded.event, status = CASE n.status WHEN 'sent' THEN 'pending' ELSE n.status END
			RETURNING n.id, n.updated_at`,
			a.ID, e, n.Name(), n.Channel(), r.Text, r.Blocks).Scan(&id, &updated); err != nil {
			return fmt.Errorf("cannot store a notification of alert %q: %w", a.ID, err)
		}
		at := time.Now()
		if !e.urgent() && updated != nil && updated.Add(s.UpdateEvery).After(at) {
			at = updated.Add(s.UpdateEvery)
		}
		if err := s.schedule(ctx, tx, id, priority(a.Severity, false), at, e.urgent()); err != nil {
			return err
		}
		reply, ok := replies[e]
		if !ok {
			continue
		}
		r = n.Reply(view, reply)
		if err := tx.QueryRow(ctx, `
			INSERT INTO control.notifications (alert_id, kind, event, notifier, channel, text, blocks)
			VALUES ($1, 'reply', $2, $3, $4, $5, $6) RETURNING id`,
			a.ID, e, n.Name(), n.Channel(), r.Text, r.Blocks).Scan(&id); err != nil {
			return fmt.Errorf("cannot store a reply of alert %q: %w", a.ID, err)
		}
		if err := s.schedule(ctx, tx, id, priority(a.Severity, true), time.Now(), true); err != nil {
			return err
		}
	}
	return nil
}

// schedule makes sure that a job will show the notification, at the given time or, when one waits already, when that
// one runs; now brings a waiting one forward.
func (s *Service) schedule(ctx context.Context, tx pgx.Tx, id int64, prio int, at time.Time, now bool) error {
	opts := &river.InsertOpts{Priority: prio}
	if at.After(time.Now()) {
		opts.ScheduledAt = at
	}
	res, err := s.jobs.InsertTx(ctx, tx, deliverArgs{id}, opts)
	if err != nil {
		return fmt.Errorf("cannot queue notification %d: %w", id, err)
	}
	if now && res.UniqueSkippedAsDuplicate && res.Job.State != rivertype.JobStateRunning {
		if _, err := s.jobs.JobRetryTx(ctx, tx, res.Job.ID); err != nil {
			return fmt.Errorf("cannot bring notification %d forward: %w", id, err)
		}
	}
	if _, err := tx.Exec(ctx, `UPDATE control.notifications SET due_at = coalesce(due_at, $2) WHERE id = $1`, id, at); err != nil {
		return fmt.Errorf("cannot mark notification %d as due: %w", id, err)
	}
	return nil
}

// giveUpAfter is how long a notification that fails for good is tried when its alert is over.
const giveUpAfter = 24 * time.Hour

// retryFailed queues what is not shown yet: at a start the token may be a new one. It also finds what has no job any
// more, whoever deleted it.
func (s *Service) retryFailed(ctx context.Context) error {
	err := s.acrossTenants(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE control.notifications n SET not_before = CASE n.status WHEN 'failed' THEN NULL ELSE n.not_before END
			FROM control.alerts a
			WHERE a.id = n.alert_id AND n.status <> 'sent' AND (a.state <> 'resolved' OR n.due_at > now() - make_interval(secs => $1))
			RETURNING n.id, a.severity, n.kind = 'reply', n.status = 'failed'`, giveUpAfter.Seconds())
		if err != nil {
			return err
		}
		type unsent struct {
			ID            int64
			Severity      Severity
			Reply, Failed bool
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[unsent])
		if err != nil {
			return err
		}
		for _, n := range all {
			if err := s.schedule(ctx, tx, n.ID, priority(n.Severity, n.Reply), time.Now(), n.Failed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot queue what was not sent: %w", err)
	}
	return nil
}
