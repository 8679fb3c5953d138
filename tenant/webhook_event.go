package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/nexis-limited/headroom/postgres"
)

// event is something that happened, for webhooks.
type event struct {
	kind   EventType
	tenant ID     // empty: no tenant's
	key    string // an event of a natural key happens once, whoever says so how often; empty: it is the only one of its kind
	data   any    // the member data of the payload
}

// webhookJob is the job "send this delivery". It carries no more than its number, so that a late or repeated one does no harm.
type webhookJob struct {
	Delivery int64 `json:"delivery" river:"unique"`
}

// Kind implements river.JobArgs.
func (webhookJob) Kind() string { return "webhook_deliver" }

// InsertOpts implements river.JobArgsWithInsertOpts. A delivery has at most one job that is not over.
func (webhookJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       WebhookQueue,
		MaxAttempts: 10_000, // of the database's failures and dying processes; those of receivers do not count
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

// outbox writes events and the jobs that send them.
type outbox struct{ jobs *river.Client[pgx.Tx] }

func newOutbox() *outbox {
	// Without a pool: it only inserts, in the transactions of others.
	jobs, err := river.NewClient(riverpgxv5.New(nil), &river.Config{Schema: postgres.RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &outbox{jobs}
}

// payload is the body, as Standard Webhooks recommends it.
type payload struct {
	Type      EventType `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of what happened
	Data      any       `json:"data"`
}

// put writes events in the transaction of what happens, with a delivery to each endpoint that is told of their kind, whether it is
// enabled or not. What nobody is told of is not kept.
func (o *outbox) put(ctx context.Context, tx pgx.Tx, now time.Time, events ...event) error {
	if len(events) == 0 {
		return nil
	}
	// Who writes the same events waits for who was first: in one order, so that no two wait for each other.
	events = slices.SortedFunc(slices.Values(events), func(a, b event) int { return cmp.Compare(a.key, b.key) })
	var ids, kinds, tenants, keys, bodies []string
	for _, e := range events {
		body, err := json.Marshal(payload{e.kind, now.UTC(), e.data})
		if err != nil {
			return fmt.Errorf("cannot write event %q: %w", e.kind, err)
		}
		id := newEventID()
		ids, kinds, tenants, bodies = append(ids, id), append(kinds, string(e.kind)), append(tenants, string(e.tenant)), append(bodies, string(body))
		keys = append(keys, string(e.kind)+"/"+cmp.Or(e.key, id))
	}
	rows, err := tx.Query(ctx, `
		WITH told AS (
			INSERT INTO control.webhook_events (id, type, tenant, natural_key, payload)
			SELECT e.id, e.type, nullif(e.tenant, ''), e.key, e.payload
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS e (id, type, tenant, key, payload, n)
			WHERE EXISTS (SELECT FROM control.webhook_endpoints p WHERE e.type = ANY (p.events))
			ORDER BY e.n
			ON CONFLICT (natural_key) DO NOTHING
			RETURNING id, type)
		INSERT INTO control.webhook_deliveries (event_id, endpoint_id)
		SELECT told.id, p.id FROM told JOIN control.webhook_endpoints p ON told.type = ANY (p.events)
		RETURNING id`, ids, kinds, tenants, keys, bodies)
	if err != nil {
		return fmt.Errorf("cannot write %d events of webhooks: %w", len(events), err)
	}
	deliveries, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("cannot write %d events of webhooks: %w", len(events), err)
	}
	return o.queue(ctx, tx, deliveries)
}

// putTest writes an event for one endpoint alone, without a job.
func (o *outbox) putTest(ctx context.Context, tx pgx.Tx, now time.Time, endpoint int64) (delivery int64, err error) {
	body, err := json.Marshal(payload{eventTest, now.UTC(), map[string]any{"endpoint": endpoint}})
	if err != nil {
		return 0, fmt.Errorf("cannot write event %q: %w", eventTest, err)
	}
	id := newEventID()
	err = tx.QueryRow(ctx, `
		WITH told AS (INSERT INTO control.webhook_events (id, type, natural_key, payload) VALUES ($1, $2, $3, $4) RETURNING id)
		INSERT INTO control.webhook_deliveries (event_id, endpoint_id) SELECT id, $5 FROM told RETURNING id`,
		id, eventTest, string(eventTest)+"/"+id, body, endpoint).Scan(&delivery)
	if err != nil {
		return 0, fmt.Errorf("cannot write an event for webhook %d: %w", endpoint, err)
	}
	return delivery, nil
}

// maxQueued is how many jobs one statement inserts.
const maxQueued = 1000

// queue makes sure that each delivery has a job.
func (o *outbox) queue(ctx context.Context, tx pgx.Tx, deliveries []int64) error {
	for some := range slices.Chunk(deliveries, maxQueued) {
		jobs := make([]river.InsertManyParams, len(some))
		for i, id := range some {
			jobs[i].Args = webhookJob{id}
		}
		if _, err := o.jobs.InsertManyTx(ctx, tx, jobs); err != nil {
			return fmt.Errorf("cannot queue %d deliveries of webhooks: %w", len(some), err)
		}
	}
	return nil
}

// queueNow gives one delivery a job that runs now; one that waits for its time is brought forward.
func (o *outbox) queueNow(ctx context.Context, tx pgx.Tx, delivery int64) error {
	res, err := o.jobs.InsertTx(ctx, tx, webhookJob{delivery}, nil)
	if err == nil && res.UniqueSkippedAsDuplicate && res.Job.State != rivertype.JobStateRunning {
		_, err = o.jobs.JobRetryTx(ctx, tx, res.Job.ID)
	}
	if err != nil {
		return fmt.Errorf("cannot queue delivery %d: %w", delivery, err)
	}
	return nil
}

// planChange is the data of EventPlanChanged.
type planChange struct {
	Tenant  ID     `json:"tenant"`
	Name    string `json:"name"`
	OldPlan *Plan  `json:"old_plan"` // null: it had none
	NewPlan Plan   `json:"new_plan"`
}

// planChanged is the event that a tenant has another plan than before, nil for the first; none when it is the same.
func planChanged(before *tenantAudit, t Tenant) []event {
	c := planChange{Tenant: t.ID, Name: t.Name, NewPlan: t.Plan}
	if before != nil {
		if before.Plan == t.Plan {
			return nil
		}
		c.OldPlan = &before.Plan
	}
	return []event{{kind: EventPlanChanged, tenant: t.ID, data: c}}
}
