package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nexis-limited/headroom/postgres"
)

const (
	webhookStoreTime = 5 * time.Second // to note how an attempt ended, beyond its own time
	maxRetryAfter    = 24 * time.Hour  // that a receiver may ask for
	maxAnswer        = 16 << 10        // bytes that are read of an answer, so that its connection can be used again
	maxReceiverWait  = 5 * time.Minute // between two looks whether a receiver that is away is back
	maxErrorText     = 500             // bytes
)

var (
	webhooksDelivered = metrics.NewCounter(`headroom_webhook_attempts_total{outcome="delivered"}`)
	webhooksFailed    = metrics.NewCounter(`headroom_webhook_attempts_total{outcome="failed"}`)
	webhooksGivenUp   = metrics.NewCounter("headroom_webhook_deliveries_given_up_total")
	webhooksDisabled  = metrics.NewCounter("headroom_webhook_endpoints_disabled_total")
)

// webhookWorker sends deliveries.
type webhookWorker struct {
	river.WorkerDefaults[webhookJob]
	w *Webhooks
}

// Timeout implements river.Worker.
func (w *webhookWorker) Timeout(*river.Job[webhookJob]) time.Duration { return w.w.JobTimeout() }

// JobTimeout is how long a job may take.
func (w *Webhooks) JobTimeout() time.Duration { return w.Timeout + webhookStoreTime }

// NextRetry implements river.Worker: after failures of the database and of processes that died. Those of receivers are planned by the
// worker itself.
func (*webhookWorker) NextRetry(job *river.Job[webhookJob]) time.Time {
	return time.Now().Add(min(time.Duration(job.Attempt)*time.Second, 10*time.Second))
}

// sending is one attempt.
type sending struct {
	w        *Webhooks
	job      *river.Job[webhookJob]
	endpoint int64
	url      string
	secrets  []string // all that sign
	event    string   // its id
	kind     EventType
	payload  string
	failures int
}

// Work implements river.Worker. Between its two transactions no lock is held: the job itself keeps a second worker away. Whoever dies
// between them has sent what another sends again: with the same webhook-id, by which the receiver knows it.
func (w *webhookWorker) Work(ctx context.Context, job *river.Job[webhookJob]) error {
	s := sending{w: w.w, job: job}
	wait, over, err := s.begin(ctx)
	switch {
	case err != nil || over:
		return err
	case wait > 0:
		return river.JobSnooze(wait)
	}
	a := s.send(ctx)
	// What happened is stored even when the process stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookStoreTime)
	defer cancel()
	return s.finish(ctx, a)
}

// begin reads what is to be sent, and notes that an attempt begins. It reports over when there is nothing to do: the delivery is gone,
// or over, or its endpoint disabled, and whoever enables that queues it again.
func (s *sending) begin(ctx context.Context) (wait time.Duration, over bool, err error) {
	err = postgres.AcrossTenants(ctx, s.w.Pool, func(tx pgx.Tx) error {
		var status string
		var enabled bool
		var secret, old *string
		var notBefore *time.Time
		err := tx.QueryRow(ctx, `
			SELECT d.status, p.enabled, p.id, p.url, p.secret, CASE WHEN p.old_secret_until > now() THEN p.old_secret END, p.not_before,
				e.id, e.type, e.payload, d.failures
			FROM control.webhook_deliveries d JOIN control.webhook_events e ON e.id = d.event_id JOIN control.webhook_endpoints p ON p.id = d.endpoint_id
			WHERE d.id = $1 FOR UPDATE OF d`, s.job.Args.Delivery).Scan(&status, &enabled, &s.endpoint, &s.url, &secret, &old, &notBefore,
			&s.event, &s.kind, &s.payload, &s.failures)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && (status != deliveryPending || !enabled) {
			over = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read delivery %d: %w", s.job.Args.Delivery, err)
		}
		if notBefore != nil {
			if wait = time.Until(*notBefore); wait > 0 {
				wait = jitter(wait)
				return nil
			}
		}
		s.secrets = []string{*secret}
		if old != nil {
			s.secrets = append(s.secrets, *old)
		}
		if _, err := tx.Exec(ctx, `UPDATE control.webhook_deliveries SET attempts = attempts + 1, attempted_at = now() WHERE id = $1`, s.job.Args.Delivery); err != nil {
			return fmt.Errorf("cannot note an attempt of delivery %d: %w", s.job.Args.Delivery, err)
		}
		return nil
	})
	return wait, over, err
}

// attempt is how one ended.
type attempt struct {
	status     int // 0: nobody answered
	err        string
	retryAfter time.Duration
}

func (a *attempt) delivered() bool { return a.status >= 200 && a.status < 300 }

// away reports whether the receiver itself is in trouble, rather than what it was sent.
func (a *attempt) away() bool {
	return a.status == 0 || a.status >= 500 || a.status == http.StatusTooManyRequests || a.retryAfter > 0
}

// send posts the event, signed as of now.
func (s *sending) send(ctx context.Context) attempt {
	ctx, cancel := context.WithTimeout(ctx, s.w.Timeout)
	defer cancel()
	failed := func(err error) attempt { return attempt{err: clip(plainError(err, s.w.Timeout), maxErrorText)} }
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(s.payload))
	if err != nil {
		return failed(err)
	}
	now := time.Now()
	signatures := make([]string, len(s.secrets))
	for i, secret := range s.secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			signatures[i], err = signer.Sign(s.event, now, []byte(s.payload))
		}
		if err != nil {
			return failed(err)
		}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "headroom")
	req.Header.Set(standardwebhooks.HeaderWebhookID, s.event)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	res, err := s.w.client.Do(req)
	if err != nil {
		return failed(err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // it says nothing that matters
	_ = res.Body.Close()
	a := attempt{status: res.StatusCode}
	switch {
	case a.delivered():
	case res.StatusCode >= 300 && res.StatusCode < 400:
		a.err = "a redirect, which is not followed: name the address itself"
	default:
		a.err = "the receiver answered " + strconv.Itoa(res.StatusCode)
		a.retryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	}
	return a
}

// retryAfter reads the header of this name: seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}

// jitter adds up to a tenth, so that what failed together does not come back together.
func jitter(d time.Duration) time.Duration { return d + time.Duration(rand.Int64N(int64(d)/10+1)) }

// backoff is how long to wait after so many failures in a row.
func (w *Webhooks) backoff(failures int) time.Duration {
	return min(w.FirstRetry<<min(failures, 20), w.LongestRetry)
}

// finish stores how the attempt ended and, in the same transaction, ends the job; or returns when it goes on.
func (s *sending) finish(ctx context.Context, a attempt) error {
	var snooze time.Duration
	err := postgres.AcrossTenants(ctx, s.w.Pool, func(tx pgx.Tx) (err error) {
		if a.delivered() {
			snooze, err = 0, s.succeed(ctx, tx, a)
		} else {
			snooze, err = s.fail(ctx, tx, a)
		}
		if err != nil || snooze > 0 {
			return err
		}
		if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, s.job); err != nil {
			return fmt.Errorf("cannot end the job of delivery %d: %w", s.job.Args.Delivery, err)
		}
		return nil
	})
	if err == nil {
		if a.delivered() {
			webhooksDelivered.Inc()
		} else {
			webhooksFailed.Inc()
			s.w.log.WarnContext(ctx, "a webhook was not delivered", "webhook", s.endpoint, "event", s.event, "type", string(s.kind), "status", a.status,
				"failures", s.failures+1, "retry_in", snooze, "error", a.err)
		}
	}
	if err == nil && snooze > 0 {
		return river.JobSnooze(snooze)
	}
	return err
}

func (s *sending) succeed(ctx context.Context, tx pgx.Tx, a attempt) error {
	// The endpoint comes before the delivery, as for those who change it.
	if _, err := tx.Exec(ctx, `
		UPDATE control.webhook_endpoints SET failures = 0, failing_since = NULL, not_before = NULL WHERE id = $1 AND failing_since IS NOT NULL`, s.endpoint); err != nil {
		return fmt.Errorf("cannot note that webhook %d works: %w", s.endpoint, err)
	}
	if _, err := tx.Exec(ctx, `
		UPDATE control.webhook_deliveries SET status = 'delivered', delivered_at = now(), failures = 0, last_status = $2, last_error = '' WHERE id = $1`,
		s.job.Args.Delivery, a.status); err != nil {
		return fmt.Errorf("cannot note that delivery %d arrived: %w", s.job.Args.Delivery, err)
	}
	return nil
}

// fail stores a failure and returns when to try again; 0 is not, or not before somebody enables the endpoint.
func (s *sending) fail(ctx context.Context, tx pgx.Tx, a attempt) (wait time.Duration, err error) {
	var failures int
	var since time.Duration
	var enabled bool
	err = tx.QueryRow(ctx, `
		UPDATE control.webhook_endpoints SET failing_since = coalesce(failing_since, now()), failures = failures + CASE WHEN $2 THEN 1 ELSE 0 END
		WHERE id = $1 RETURNING failures, now() - failing_since, enabled`, s.endpoint, a.away()).Scan(&failures, &since, &enabled)
	if errors.Is(err, pgx.ErrNoRows) { // deleted meanwhile, and the delivery with it
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot note that webhook %d failed: %w", s.endpoint, err)
	}
	wait = max(jitter(s.w.backoff(s.failures)), a.retryAfter)
	var age time.Duration // since the first failure in a row: however long it waited to be sent at all
	err = tx.QueryRow(ctx, `
		UPDATE control.webhook_deliveries SET queued_at = CASE failures WHEN 0 THEN now() ELSE queued_at END, failures = failures + 1, last_status = nullif($2, 0), last_error = $3, due_at = now() + make_interval(secs => $4)
		WHERE id = $1 RETURNING now() - queued_at`, s.job.Args.Delivery, a.status, a.err, wait.Seconds()).Scan(&age)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot note that delivery %d failed: %w", s.job.Args.Delivery, err)
	}
	switch {
	case !enabled:
		return 0, nil
	case a.status == http.StatusGone:
		return 0, s.disable(ctx, tx, "the receiver answered 410: it wants nothing any more")
	case since >= s.w.DisableAfter:
		return 0, s.disable(ctx, tx, fmt.Sprintf("no attempt has succeeded for %s; the last: %s", s.w.DisableAfter, a.err))
	case age >= s.w.DisableAfter:
		webhooksGivenUp.Inc()
		if _, err := tx.Exec(ctx, `UPDATE control.webhook_deliveries SET status = 'failed' WHERE id = $1`, s.job.Args.Delivery); err != nil {
			return 0, fmt.Errorf("cannot give delivery %d up: %w", s.job.Args.Delivery, err)
		}
		return 0, nil
	}
	if a.away() { // what else waits for it need not wait for a timeout each
		pause := max(min(s.w.backoff(failures-1), maxReceiverWait), a.retryAfter)
		if _, err := tx.Exec(ctx, `UPDATE control.webhook_endpoints SET not_before = now() + make_interval(secs => $2) WHERE id = $1`, s.endpoint, pause.Seconds()); err != nil {
			return 0, fmt.Errorf("cannot put webhook %d off: %w", s.endpoint, err)
		}
	}
	return wait, nil
}

// disable stops sending to the endpoint until somebody enables it. What waits goes on waiting.
func (s *sending) disable(ctx context.Context, tx pgx.Tx, reason string) error {
	before, err := readEndpoint(ctx, tx, s.endpoint, "")
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE control.webhook_endpoints SET enabled = false, disabled_reason = $2 WHERE id = $1`, s.endpoint, reason); err != nil {
		return fmt.Errorf("cannot disable webhook %d: %w", s.endpoint, err)
	}
	after := *before
	after.Enabled, after.DisabledReason = false, reason
	webhooksDisabled.Inc()
	s.w.log.ErrorContext(ctx, "a webhook was disabled: what happens waits until somebody enables it", "webhook", s.endpoint, "reason", reason)
	return auditEndpoint(ctx, tx, "webhook.disable", s.endpoint, before, &after)
}
