package web

import (
	"context"
	"net/http"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

type webhookBody struct {
	URL         string   `json:"url" format:"uri" doc:"Where events are sent: https, and a public address."`
	Description string   `json:"description,omitempty" doc:"What it is for."`
	Events      []string `json:"events" enum:"usage.recorded,quota.reached,plan.changed" doc:"What it is told."`
	Enabled     *bool    `json:"enabled,omitempty" doc:"true by default."`
}

func (b *webhookBody) endpoint() tenant.NewEndpoint {
	n := tenant.NewEndpoint{URL: b.URL, Description: b.Description, Enabled: b.Enabled == nil || *b.Enabled}
	for _, e := range b.Events {
		n.Events = append(n.Events, tenant.EventType(e))
	}
	return n
}

type webhookIn struct {
	ID int64 `path:"id"`
}

type createWebhookIn struct{ Body webhookBody }

type putWebhookIn struct {
	ID   int64 `path:"id"`
	Body webhookBody
}

type rotateWebhookIn struct {
	ID   int64 `path:"id"`
	Body struct {
		Overlap string `json:"overlap,omitempty" default:"24h" example:"24h" doc:"How long the old secret goes on signing too, such as 30m or 24h; 0s ends it at once."`
	}
}

type webhookDeliveriesIn struct {
	ID     int64  `path:"id"`
	Status string `query:"status" enum:"pending,delivered,failed" doc:"Only those that have it."`
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

type webhookDeliveryIn struct {
	ID       int64 `path:"id"`
	Delivery int64 `path:"delivery"`
}

type webhookOut struct{ Body tenant.Endpoint }

type webhooksOut struct {
	Body struct {
		Webhooks []tenant.Endpoint `json:"webhooks"`
	}
}

// webhookSecretOut is an endpoint with its secret, which is in no other answer.
type webhookSecretOut struct {
	Body struct {
		tenant.Endpoint
		Secret string `json:"secret" doc:"What signs, as Standard Webhooks have it: in this answer only."`
	}
}

type webhookDeliveryOut struct{ Body tenant.Delivery }

type webhookDeliveriesOut struct {
	Body struct {
		Deliveries []tenant.Delivery `json:"deliveries"`
	}
}

type webhookAPI struct{ webhooks *tenant.Webhooks }

// RegisterWebhookAPI adds the operations on webhooks.
func RegisterWebhookAPI(api *API, webhooks *tenant.Webhooks) {
	w := webhookAPI{webhooks}
	op := func(may func(tenant.Resource) tenant.Permission, method, path, id, summary, doc string, status int) Operation {
		return Operation{Method: method, Path: "/api/v1/webhooks" + path, ID: id, Summary: summary, Doc: doc, Tag: "Webhooks",
			Permission: may(tenant.ResourceWebhooks), Status: status}
	}
	Register(api, op(tenant.MayRead, http.MethodGet, "", "list-webhooks", "List webhooks", "", http.StatusOK), w.list)
	Register(api, op(tenant.MayCreate, http.MethodPost, "", "create-webhook", "Add a webhook", "Its secret is in this answer only.", http.StatusCreated), w.create)
	Register(api, op(tenant.MayRead, http.MethodGet, "/{id}", "get-webhook", "Read a webhook", "", http.StatusOK), w.get)
	Register(api, op(tenant.MayUpdate, http.MethodPut, "/{id}", "put-webhook", "Change a webhook",
		"One that is enabled again is sent what has waited.", http.StatusOK), w.put)
	Register(api, op(tenant.MayDelete, http.MethodDelete, "/{id}", "delete-webhook", "Delete a webhook, with what waits for it", "", http.StatusNoContent), w.delete)
	Register(api, op(tenant.MayUpdate, http.MethodPost, "/{id}/rotate", "rotate-webhook-secret", "Give a webhook a new secret",
		"What is sent is signed with both for the overlap.", http.StatusOK), w.rotate)
	Register(api, op(tenant.MayUpdate, http.MethodPost, "/{id}/test", "test-webhook", "Send a webhook a test event",
		"How it ends is among the deliveries.", http.StatusAccepted), w.test)
	Register(api, op(tenant.MayRead, http.MethodGet, "/{id}/deliveries", "list-webhook-deliveries", "List what was sent to a webhook, or waits",
		"The newest first, of the last 30 days.", http.StatusOK), w.deliveries)
	Register(api, op(tenant.MayUpdate, http.MethodPost, "/{id}/deliveries/{delivery}/redeliver", "redeliver-webhook", "Send an event once more, now",
		"With its body and webhook-id as they were.", http.StatusAccepted), w.redeliver)
}

func (w webhookAPI) list(ctx context.Context, _ *struct{}) (*webhooksOut, error) {
	list, err := w.webhooks.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &webhooksOut{}
	out.Body.Webhooks = append([]tenant.Endpoint{}, list...)
	return out, nil
}

func (w webhookAPI) create(ctx context.Context, in *createWebhookIn) (*webhookSecretOut, error) {
	who, _ := tenant.IdentityFrom(ctx)
	return withSecret(w.webhooks.Create(ctx, who.Actor(), in.Body.endpoint()))
}

func (w webhookAPI) get(ctx context.Context, in *webhookIn) (*webhookOut, error) {
	return webhook(w.webhooks.Get(ctx, in.ID))
}

func (w webhookAPI) put(ctx context.Context, in *putWebhookIn) (*webhookOut, error) {
	return webhook(w.webhooks.Put(ctx, in.ID, in.Body.endpoint()))
}

func (w webhookAPI) delete(ctx context.Context, in *webhookIn) (*struct{}, error) {
	return nil, w.webhooks.Delete(ctx, in.ID)
}

func (w webhookAPI) rotate(ctx context.Context, in *rotateWebhookIn) (*webhookSecretOut, error) {
	overlap, err := time.ParseDuration(in.Body.Overlap)
	if err != nil {
		return nil, fault.InvalidField("overlap", in.Body.Overlap, "must be a duration such as 30m or 24h")
	}
	return withSecret(w.webhooks.Rotate(ctx, in.ID, overlap))
}

func (w webhookAPI) test(ctx context.Context, in *webhookIn) (*webhookDeliveryOut, error) {
	return delivery(w.webhooks.Test(ctx, in.ID))
}

func (w webhookAPI) deliveries(ctx context.Context, in *webhookDeliveriesIn) (*webhookDeliveriesOut, error) {
	list, err := w.webhooks.Deliveries(ctx, in.ID, in.Status, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &webhookDeliveriesOut{}
	out.Body.Deliveries = append([]tenant.Delivery{}, list...)
	return out, nil
}

func (w webhookAPI) redeliver(ctx context.Context, in *webhookDeliveryIn) (*webhookDeliveryOut, error) {
	return delivery(w.webhooks.Redeliver(ctx, in.ID, in.Delivery))
}

func webhook(e *tenant.Endpoint, err error) (*webhookOut, error) {
	if err != nil {
		return nil, err
	}
	return &webhookOut{*e}, nil
}

func withSecret(e *tenant.Endpoint, secret string, err error) (*webhookSecretOut, error) {
	if err != nil {
		return nil, err
	}
	out := &webhookSecretOut{}
	out.Body.Endpoint, out.Body.Secret = *e, secret
	return out, nil
}

func delivery(d *tenant.Delivery, err error) (*webhookDeliveryOut, error) {
	if err != nil {
		return nil, err
	}
	return &webhookDeliveryOut{*d}, nil
}
