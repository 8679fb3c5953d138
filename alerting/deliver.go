package alerting

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/nexis-limited/headroom/tenant"
)

// shortWait is what River snoozes to the moment; jobs scheduled for later are looked at every 5 s only.
const shortWait = 5 * time.Second

// How long to wait before the next attempt. A failure that somebody has to mend is tried slowly.
const (
	firstRetry    = time.Second
	permanentWait = 10 * time.Minute
	turnWait      = 30 * time.Second // of a reply for what stands before it, which wakes it earlier
)

// deliverWorker shows notifications.
type deliverWorker struct {
	river.WorkerDefaults[deliverArgs]
	s *Service
}

// Timeout implements river.Worker.
func (w *deliverWorker) Timeout(*river.Job[deliverArgs]) time.Duration { return w.s.SendTimeout }

// NextRetry implements river.Worker. It is for failures of the database and for jobs of processes that died: those of
// notifiers are planned by the worker itself.
func (*deliverWorker) NextRetry(job *river.Job[deliverArgs]) time.Time {
	return time.Now().Add(min(time.Duration(job.Attempt)*time.Second, 10*time.Second))
}

// Work implements river.Worker. Between its two transactions no lock is held: the job itself is what keeps a second
// worker away.
func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	t := task{s: w.s, job: job, id: job.Args.Notification}
	over, err := t.begin(ctx)
	if over || err != nil {
		return err
	}
	place, sendErr := t.notifier.Send(ctx, t.delivery)
	// What happened must be stored even when the time is up or the process stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return t.finish(ctx, place, sendErr)
}

// task is one attempt to show a notification.
type task struct {
	s        *Service
	job      *river.Job[deliverArgs]
	id       int64
	row      outboxRow
	alert    *Alert
	notifier Notifier
	delivery Delivery
}

// outboxRow is what a delivery needs of its notification.
type outboxRow struct {
	Key         string
	Alert       string
	Reply       bool
	Notifier    string
	Channel     string
	Text        string
	Blocks      []byte
	At          Place
	Unsure      bool
	SentVersion int64
	Failures    int
	CreatedAt   time.Time
	DueAt       *time.Time
	NotBefore   *time.Time
}

// begin renders what is to be shown and notes that an attempt begins. It reports over when there is nothing to do, or
// not yet; the job is then ended or put off.
func (t *task) begin(ctx context.Context) (over bool, err error) {
	names := t.s.names(ctx)
	snooze, err := t.tx(ctx, func(tx pgx.Tx) (time.Duration, error) {
		over = false
		if err := t.load(ctx, tx); err != nil {
			return 0, err
		}
		if t.alert == nil || t.shown() { // deleted, or somebody was quicker
			over = true
			return 0, t.end(ctx, tx)
		}
		wait, err := t.mustWait(ctx, tx)
		if err != nil {
			return 0, err
		}
		if wait != 0 {
			over = true
			return t.plan(ctx, tx, wait)
		}
		return 0, t.render(ctx, tx, names)
	})
	if err != nil || snooze > 0 {
		return true, cmpErr(err, snooze)
	}
	return over, nil
}

// shown reports whether people see the notification as the database has it.
func (t *task) shown() bool {
	return t.row.At.ID != "" && (t.row.Reply || t.row.SentVersion >= t.alert.version)
}

// load locks the alert, so that it cannot change before the transaction ends, and reads the notification.
func (t *task) load(ctx context.Context, tx pgx.Tx) error {
	t.alert = nil
	alerts, err := queryAlerts(ctx, tx, `SELECT `+alertColumns+` FROM control.alerts a
		WHERE a.id = (SELECT n.alert_id FROM control.notifications n WHERE n.id = $1) FOR NO KEY UPDATE`, t.id)
	if err != nil || len(alerts) == 0 {
		return err
	}
	t.alert = alerts[0]
	r := &t.row
	if err := tx.QueryRow(ctx, `
		SELECT key::text, alert_id, kind = 'reply', notifier, channel, text, blocks, channel_id, ts, unsure, sent_version, failures,
			created_at, due_at, not_before
		FROM control.notifications WHERE id = $1 FOR UPDATE`, t.id).Scan(&r.Key, &r.Alert, &r.Reply, &r.Notifier, &r.Channel,
		&r.Text, &r.Blocks, &r.At.Channel, &r.At.ID, &r.Unsure, &r.SentVersion, &r.Failures, &r.CreatedAt, &r.DueAt, &r.NotBefore); err != nil {
		return fmt.Errorf("cannot read notification %d: %w", t.id, err)
	}
	i := slices.IndexFunc(t.s.Notifiers, func(n Notifier) bool { return n.Name() == r.Notifier && n.Channel() == r.Channel })
	if i >= 0 {
		t.notifier = t.s.Notifiers[i]
	}
	return nil
}

// mustWait returns how long the notification has to wait: for a time that the other side named, for its notifier to be
// configured again, or for what stands before it in its thread.
func (t *task) mustWait(ctx context.Context, tx pgx.Tx) (time.Duration, error) {
	if t.row.NotBefore != nil {
		if wait := time.Until(*t.row.NotBefore); wait > 0 {
			return wait, nil
		}
	}
	if t.notifier == nil {
		t.delivery.Unsure = t.row.Unsure
		return t.failed(ctx, tx, &SendError{Failure: Permanent,
			Err: fmt.Errorf("no notifier %q with channel %q is configured any more", t.row.Notifier, t.row.Channel)})
	}
	if !t.row.Reply {
		return 0, nil
	}
	// Replies whose alert's message cannot be shown wait with it; a reply that fails for good holds up no other.
	var before int
	if err := tx.QueryRow(ctx, `
		SELECT count(*) FROM control.notifications
		WHERE alert_id = $1 AND notifier = $2 AND channel = $3 AND id < $4 AND ts = '' AND (kind = 'message' OR status <> 'failed')`,
		t.row.Alert, t.row.Notifier, t.row.Channel, t.id).Scan(&before); err != nil {
		return 0, fmt.Errorf("cannot read what notification %d waits for: %w", t.id, err)
	}
	if before == 0 {
		err := tx.QueryRow(ctx, `
			SELECT channel_id, ts FROM control.notifications
			WHERE alert_id = $1 AND notifier = $2 AND channel = $3 AND kind = 'message'`,
			t.row.Alert, t.row.Notifier, t.row.Channel).Scan(&t.delivery.Thread.Channel, &t.delivery.Thread.ID)
		if err != nil {
			return 0, fmt.Errorf("cannot read the message of notification %d: %w", t.id, err)
		}
		return 0, nil
	}
	return turnWait, nil
}

// render makes the delivery and stores what is about to be shown.
func (t *task) render(ctx context.Context, tx pgx.Tx, names map[tenant.ID]string) error {
	r := Rendered{Text: t.row.Text, Blocks: t.row.Blocks}
	if !t.row.Reply {
		r = t.notifier.Message(NewView(t.alert, names, t.s.ConsoleURL))
	}
	d := &t.delivery
	d.Rendered, d.Key, d.Alert, d.At, d.Unsure, d.Created = r, t.row.Key, t.row.Alert, t.row.At, t.row.Unsure, t.row.CreatedAt
	if _, err := tx.Exec(ctx, `
		UPDATE control.notifications SET text = $2, blocks = $3, attempts = attempts + 1, unsure = unsure OR ts = '' WHERE id = $1`,
		t.id, r.Text, r.Blocks); err != nil {
		return fmt.Errorf("cannot note an attempt of notification %d: %w", t.id, err)
	}
	return nil
}
