package tenant

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// EventType is a kind of event that webhooks tell.
type EventType string

// The events; docs/webhooks.md has what each says.
const (
	EventUsageRecorded EventType = "usage.recorded" // a day of a tenant was closed, or revised
	EventQuotaReached  EventType = "quota.reached"  // a tenant came to a share of what it may send
	EventPlanChanged   EventType = "plan.changed"   // a tenant has another plan, or its first

	// eventTest is sent to one endpoint, when somebody asks for it.
	eventTest EventType = "webhook.test"
)

// EventTypes lists what an endpoint may be told.
func EventTypes() []EventType {
	return []EventType{EventUsageRecorded, EventQuotaReached, EventPlanChanged}
}

// Endpoint is where events are sent. Its secret is shown when it is made, and never again.
type Endpoint struct {
	ID             int64       `json:"id"`
	URL            string      `json:"url"`
	Description    string      `json:"description"`
	Events         []EventType `json:"events" doc:"What it is told."`
	Enabled        bool        `json:"enabled" doc:"false: it is sent nothing; what happens meanwhile waits for up to 30 days."`
	DisabledReason string      `json:"disabled_reason,omitempty" doc:"Why headroom disabled it; empty where a person did."`
	FailingSince   *time.Time  `json:"failing_since,omitempty" doc:"No attempt has succeeded since; not there while all is well."`
	OldSecretUntil *time.Time  `json:"old_secret_until,omitempty" doc:"Until when the secret before the last rotation signs too."`
	Waiting        int64       `json:"waiting" doc:"Deliveries that have not succeeded yet."`
	CreatedAt      time.Time   `json:"created_at"`
	CreatedBy      string      `json:"created_by"`
}

// NewEndpoint is what somebody says of an endpoint.
type NewEndpoint struct {
	URL, Description string
	Events           []EventType
	Enabled          bool
}

// Delivery is an event on its way to an endpoint, or there.
type Delivery struct {
	ID          int64      `json:"id"`
	EventID     string     `json:"event_id" doc:"The idempotency key, in the header webhook-id."`
	Event       EventType  `json:"event"`
	Tenant      ID         `json:"tenant,omitempty"`
	Status      string     `json:"status" doc:"pending, delivered or failed." enum:"pending,delivered,failed"`
	Attempts    int        `json:"attempts"`
	LastStatus  *int       `json:"last_status,omitempty" doc:"Of HTTP, of the last attempt; not there when nobody answered."`
	LastError   string     `json:"last_error,omitempty"`
	CreatedAt   time.Time  `json:"created_at" doc:"Of the event."`
	AttemptedAt *time.Time `json:"attempted_at,omitempty"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
	DueAt       *time.Time `json:"due_at,omitempty" doc:"When it is tried again; not there when it is not."`
}

// The states of a delivery.
const (
	deliveryPending   = "pending"
	deliveryDelivered = "delivered"
	deliveryFailed    = "failed"
)

// WebhookOptions are what NewWebhooks needs.
type WebhookOptions struct {
	Pool   *pgxpool.Pool // required
	Logger *slog.Logger  // required

	// AllowPrivate lets endpoints be reached by http and at addresses that are not public, which are refused else: whoever
	// may make an endpoint could ask what answers in the operator's own network.
	AllowPrivate bool

	Timeout      time.Duration // of one attempt; 10 s by default
	FirstRetry   time.Duration // after a first failure, doubled with each further one; 5 s by default
	LongestRetry time.Duration // 1 h by default
	DisableAfter time.Duration // an endpoint that has failed for so long is disabled, and an event given up; 3 days by default
}

// Webhooks keep endpoints and send them what happens: what writes an event does so in the transaction of what happens, and
// with it a job of River for each endpoint. Jobs are worked where somebody runs a River client with Guest. It is safe for concurrent
// use by several processes.
type Webhooks struct {
	WebhookOptions
	log    *slog.Logger
	outbox *outbox
	client *http.Client
}

// NewWebhooks checks the options and returns the webhooks of the pool's database.
func NewWebhooks(o WebhookOptions) (*Webhooks, error) {
	if o.Pool == nil || o.Logger == nil {
		return nil, errors.New("cannot make webhooks: Pool and Logger are required")
	}
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.FirstRetry = cmp.Or(o.FirstRetry, 5*time.Second)
	o.LongestRetry = cmp.Or(o.LongestRetry, time.Hour)
	o.DisableAfter = cmp.Or(o.DisableAfter, 72*time.Hour)
	return &Webhooks{WebhookOptions: o, log: o.Logger.With("component", "webhooks"), outbox: newOutbox(), client: webhookClient(o.AllowPrivate, o.Timeout)}, nil
}

// WebhookQueue is the River queue of deliveries.
const WebhookQueue = "webhooks"

// AddWorkers registers what works the jobs in WebhookQueue, for a River client that somebody else runs.
func (w *Webhooks) AddWorkers(to *river.Workers) { river.AddWorker(to, &webhookWorker{w: w}) }

// CloseIdle closes connections that wait for another delivery.
func (w *Webhooks) CloseIdle() { w.client.CloseIdleConnections() }

const secretPrefix = "whsec_"

// newWebhookSecret returns a secret as Standard Webhooks has them.
func newWebhookSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// newEventID returns an idempotency key.
func newEventID() string { return "evt_" + rand.Text() }
