package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// finish stores how an attempt ended and, in the same transaction, ends the job or plans the next one.
func (t *task) finish(ctx context.Context, place Place, sendErr error) error {
	version, due := t.alert.version, t.row.DueAt // of what was rendered
	snooze, err := t.tx(ctx, func(tx pgx.Tx) (time.Duration, error) {
		if err := t.load(ctx, tx); err != nil {
			return 0, err
		}
		if t.alert == nil {
			return 0, t.end(ctx, tx)
		}
		if sendErr != nil {
			wait, err := t.failed(ctx, tx, sendErr)
			if err != nil {
				return 0, err
			}
			return t.plan(ctx, tx, wait)
		}
		current := t.row.Reply || t.alert.version == version
		if err := t.sent(ctx, tx, place, version, current); err != nil {
			return 0, err
		}
		switch {
		case current:
			return 0, t.end(ctx, tx)
		case t.alert.urgentVersion > version:
			return t.again(ctx, tx, 0)
		default:
			return t.again(ctx, tx, t.s.UpdateEvery)
		}
	})
	if err == nil && sendErr == nil {
		t.count(due)
	}
	return cmpErr(err, snooze)
}

// sent stores where the notification is shown, and as of which version.
func (t *task) sent(ctx context.Context, tx pgx.Tx, place Place, version int64, current bool) error {
	if _, err := tx.Exec(ctx, `
		UPDATE control.notifications SET channel_id = $2, ts = $3, sent_version = $4, unsure = false, failures = 0, last_error = '',
			not_before = NULL, sent_at = coalesce(sent_at, clock_timestamp()), updated_at = clock_timestamp(),
			status = CASE WHEN $5 THEN 'sent' ELSE 'pending' END, due_at = CASE WHEN $5 THEN NULL ELSE clock_timestamp() END
		WHERE id = $1`, t.id, place.Channel, place.ID, version, current); err != nil {
		return fmt.Errorf("cannot store that notification %d was sent: %w", t.id, err)
	}
	return t.wakeNext(ctx, tx)
}

// wakeNext brings the oldest reply forward that waited for this notification.
func (t *task) wakeNext(ctx context.Context, tx pgx.Tx) error {
	var next int64
	err := tx.QueryRow(ctx, `
		SELECT id FROM control.notifications
		WHERE alert_id = $1 AND notifier = $2 AND channel = $3 AND kind = 'reply' AND ts = '' AND status <> 'failed' AND id <> $4
		ORDER BY id LIMIT 1`, t.row.Alert, t.row.Notifier, t.row.Channel, t.id).Scan(&next)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read what waits for notification %d: %w", t.id, err)
	}
	return t.s.schedule(ctx, tx, next, priority(t.alert.Severity, true), time.Now(), true)
}

// failed stores a failure and returns when to try again; negative is never.
func (t *task) failed(ctx context.Context, tx pgx.Tx, sendErr error) (time.Duration, error) {
	se := &SendError{Failure: Unsure, Err: sendErr}
	_ = errors.As(sendErr, &se)
	t.s.metrics.delivered.WithLabelValues(t.row.Notifier, se.Failure.String()).Inc()
	wait := min(firstRetry<<min(t.row.Failures, 10), t.s.LongestRetry)
	switch se.Failure {
	case Limited:
		wait = se.After
	case Gone:
		wait = 0
	case Permanent:
		wait = permanentWait
	}
	t.s.log.WarnContext(ctx, "a notification was not shown", "notification", t.id, "alert", t.row.Alert, "notifier", t.row.Notifier,
		"channel", t.row.Channel, "failure", se.Failure.String(), "retry_in", wait, "error", sendErr)
	if se.Failure == Permanent {
		if err := t.fail(ctx, tx, sendErr); err != nil {
			return 0, err
		}
		if t.alert.State == Resolved && t.row.DueAt != nil && time.Since(*t.row.DueAt) > giveUpAfter {
			return -1, nil
		}
	} else if _, err := tx.Exec(ctx, `
		UPDATE control.notifications SET failures = failures + $2, last_error = $3, status = 'pending',
			not_before = clock_timestamp() + make_interval(secs => $4), ts = CASE WHEN $5 THEN '' ELSE ts END,
			unsure = $6 AND NOT $5 AND (ts = '')
		WHERE id = $1`,
		t.id, b2i(se.Failure != Limited), sendErr.Error(), wait.Seconds(), se.Failure == Gone, t.delivery.Unsure || se.Failure == Unsure); err != nil {
		return 0, fmt.Errorf("cannot store the failure of notification %d: %w", t.id, err)
	}
	return wait, nil
}

// fail stores a failure that somebody has to mend.
func (t *task) fail(ctx context.Context, tx pgx.Tx, cause error) error {
	if _, err := tx.Exec(ctx, `
		UPDATE control.notifications SET status = 'failed', failures = failures + 1, last_error = $2, unsure = $3 AND ts = '',
			not_before = clock_timestamp() + make_interval(secs => $4)
		WHERE id = $1`, t.id, cause.Error(), t.delivery.Unsure, permanentWait.Seconds()); err != nil {
		return fmt.Errorf("cannot store the failure of notification %d: %w", t.id, err)
	}
	return nil
}

// count measures a delivery that has been due since the given time.
func (t *task) count(due *time.Time) {
	outcome := "sent"
	if t.delivery.At.ID != "" {
		outcome = "updated"
	}
	t.s.metrics.delivered.WithLabelValues(t.row.Notifier, outcome).Inc()
	if due != nil {
		t.s.metrics.seconds.WithLabelValues(t.row.Notifier).Observe(time.Since(*due).Seconds())
	}
}

// end completes the job with the transaction.
func (t *task) end(ctx context.Context, tx pgx.Tx) error {
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, t.job); err != nil {
		return fmt.Errorf("cannot end the job of notification %d: %w", t.id, err)
	}
	return nil
}

// plan ends the job when wait is negative and plans the next attempt otherwise.
func (t *task) plan(ctx context.Context, tx pgx.Tx, wait time.Duration) (snooze time.Duration, err error) {
	if wait < 0 {
		return 0, t.end(ctx, tx)
	}
	return t.again(ctx, tx, wait)
}

// again plans the next attempt. A short wait is returned, to snooze the job; for a longer one the job ends and another
// takes its place, so that an urgent change can bring it forward from the very moment of the commit.
func (t *task) again(ctx context.Context, tx pgx.Tx, wait time.Duration) (snooze time.Duration, err error) {
	if wait < shortWait {
		return max(wait, time.Millisecond), nil
	}
	if err := t.end(ctx, tx); err != nil {
		return 0, err
	}
	_, err = t.s.jobs.InsertTx(ctx, tx, deliverArgs{t.id}, &river.InsertOpts{
		Priority: priority(t.alert.Severity, t.row.Reply), ScheduledAt: time.Now().Add(wait)})
	if err != nil {
		return 0, fmt.Errorf("cannot queue notification %d again: %w", t.id, err)
	}
	return 0, nil
}

// tx runs f in a transaction.
func (t *task) tx(ctx context.Context, f func(pgx.Tx) (time.Duration, error)) (snooze time.Duration, err error) {
	err = t.s.acrossTenants(ctx, func(tx pgx.Tx) error {
		snooze, err = f(tx)
		return err
	})
	return snooze, err
}

// cmpErr is what Work returns: the error, else the wish to be snoozed.
func cmpErr(err error, snooze time.Duration) error {
	if err != nil || snooze == 0 {
		return err
	}
	return river.JobSnooze(snooze)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
