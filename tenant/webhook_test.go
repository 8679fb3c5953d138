package tenant_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nexis-limited/headroom/alerting"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// receiver is a billing system: it verifies with Standard Webhooks' own library, and keeps an event once.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	verify   *standardwebhooks.Webhook // nil: it takes all
	answer   func(w http.ResponseWriter, r *http.Request, n int)
	requests int
	refused  []string          // signatures that do not hold
	events   map[string]string // bodies by webhook-id
	order    []string
	secrets  int // signatures on the last request
}

// newReceiver answers as answer has it after it has looked at the signature; nil takes everything. n counts requests from 1.
func newReceiver(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n int)) *receiver {
	t.Helper()
	r := &receiver{answer: answer, events: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.requests++
	n := r.requests
	r.secrets = len(strings.Fields(req.Header.Get("webhook-signature")))
	id := req.Header.Get("webhook-id")
	if r.verify != nil {
		if err := r.verify.Verify(body, req.Header); err != nil {
			r.refused = append(r.refused, err.Error())
		}
	}
	if r.events[id] != "" && r.events[id] != string(body) {
		r.refused = append(r.refused, "another body of "+id)
	}
	r.mu.Unlock()
	code := http.StatusNoContent
	if r.answer != nil {
		rec := httptest.NewRecorder()
		rec.Code = code
		r.answer(rec, req, n)
		code = rec.Code
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
	}
	if code/100 == 2 {
		r.mu.Lock()
		if _, ok := r.events[id]; !ok {
			r.order = append(r.order, id)
		}
		r.events[id] = string(body)
		r.mu.Unlock()
	}
	w.WriteHeader(code)
}

func (r *receiver) trust(t *testing.T, secret string) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.verify = v
	r.mu.Unlock()
}

func (r *receiver) counts() (requests, events, refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests, len(r.events), len(r.refused)
}

// hooks are webhooks on a database of their own.
type hooks struct {
	*tenant.Webhooks
	pg    *testenv.Postgres
	store *tenant.Store
}

func newHooks(t *testing.T, change ...func(*tenant.WebhookOptions)) *hooks {
	t.Helper()
	pg := testenv.NewPostgres(t)
	o := webhookTestOptions(pg)
	for _, c := range change {
		c(&o)
	}
	w, err := tenant.NewWebhooks(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.CloseIdle)
	return &hooks{w, pg, tenant.NewStore(pg.Pool)}
}

func webhookTestOptions(pg *testenv.Postgres) tenant.WebhookOptions {
	return tenant.WebhookOptions{Pool: pg.Pool, Logger: slog.New(slog.DiscardHandler), AllowPrivate: true, Timeout: 3 * time.Second,
		FirstRetry: 10 * time.Millisecond, LongestRetry: 100 * time.Millisecond}
}

// send runs River until the test ends or stop is called.
func (h *hooks) send(t *testing.T) (stop func()) {
	t.Helper()
	s, err := webhookSender(h.Webhooks)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func webhookSender(w *tenant.Webhooks) (*alerting.Service, error) {
	return alerting.New(alerting.Options{Pool: w.Pool, Logger: slog.New(slog.DiscardHandler), SendTimeout: 3 * time.Second, Guests: []alerting.Guest{
		{Queue: tenant.WebhookQueue, Senders: 4, Timeout: w.Timeout, AddWorkers: w.AddWorkers}}})
}

// endpoint adds one for all events that the receiver trusts.
func (h *hooks) endpoint(t *testing.T, r *receiver) *tenant.Endpoint {
	t.Helper()
	e, secret, err := h.Create(t.Context(), "owner", tenant.NewEndpoint{URL: r.URL + "/in?token=t", Events: tenant.EventTypes(), Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	r.trust(t, secret)
	return e
}

func (h *hooks) put(t *testing.T, id tenant.ID, p tenant.Plan) {
	t.Helper()
	if err := h.store.Put(t.Context(), "owner", tenant.Tenant{ID: id, Name: "Acme", Plan: p}); err != nil {
		t.Fatal(err)
	}
}

func (h *hooks) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := h.pg.Owner.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func untilTrue(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to be that %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *hooks) settled(t *testing.T) {
	t.Helper()
	untilTrue(t, "nothing waits", func() bool {
		return h.count(t, `SELECT count(*) FROM control.webhook_deliveries WHERE status = 'pending'`) == 0
	})
}

// TestWebhookOncePerEvent changes plans while the receiver fails in every way, and finds each change there once.
func TestWebhookOncePerEvent(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	elsewhere := newReceiver(t, nil)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		switch n {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case 3:
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		case 4:
			w.WriteHeader(http.StatusBadRequest)
		case 5:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	e := h.endpoint(t, r)
	h.put(t, "acme", tenant.Starter)
	h.put(t, "acme", tenant.Enterprise)
	h.put(t, "acme", tenant.Enterprise) // nothing changed
	// What is rolled back did not happen.
	boom := fault.New(fault.Conflict, "no")
	err := postgres.InTenant(t.Context(), h.pg.Pool, tenant.ID("acme"), func(tx pgx.Tx) error { return boom })
	if !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
	h.send(t)
	h.settled(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) != 2 || r.requests < 7 || len(r.refused) != 0 {
		t.Errorf("%d events by %d requests, %v", len(r.events), r.requests, r.refused)
	}
	var changes []string
	for id, body := range r.events {
		var p struct {
			Type string
			Data struct {
				Tenant  string
				OldPlan *string `json:"old_plan"`
				NewPlan string  `json:"new_plan"`
			}
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Type != "plan.changed" || !strings.HasPrefix(id, "evt_") || p.Data.Tenant != "acme" {
			t.Errorf("%s: %s: %v", id, body, err)
		}
		old := "none"
		if p.Data.OldPlan != nil {
			old = *p.Data.OldPlan
		}
		changes = append(changes, old+" to "+p.Data.NewPlan)
	}
	slices.Sort(changes)
	if !slices.Equal(changes, []string{"none to starter", "starter to enterprise"}) {
		t.Errorf("changes: %q", changes)
	}
	if n, _, _ := elsewhere.counts(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	if e, err := h.Get(t.Context(), e.ID); err != nil || e.FailingSince != nil || !e.Enabled || e.Waiting != 0 {
		t.Errorf("endpoint: %+v, %v", e, err)
	}
}

// TestWebhookRotation verifies with the old secret, then the new one, while both sign.
func TestWebhookRotation(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	r := newReceiver(t, nil)
	e := h.endpoint(t, r)
	h.send(t)
	sends := func(signatures int) {
		t.Helper()
		_, before, _ := r.counts()
		if _, err := h.Test(t.Context(), e.ID); err != nil {
			t.Fatal(err)
		}
		untilTrue(t, "the test arrives", func() bool { _, n, _ := r.counts(); return n == before+1 })
		h.settled(t)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.refused) != 0 || r.secrets != signatures {
			t.Errorf("%d signatures, want %d; %v", r.secrets, signatures, r.refused)
		}
	}
	sends(1)
	_, secret, err := h.Rotate(t.Context(), e.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sends(2) // verified by the old secret
	r.trust(t, secret)
	sends(2) // by the new one
	if _, err := h.pg.Owner.Exec(t.Context(), `UPDATE control.webhook_endpoints SET old_secret_until = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	sends(1)
	list, err := h.Deliveries(t.Context(), e.ID, "delivered", 10)
	if err != nil || len(list) != 4 || *list[0].LastStatus != http.StatusNoContent || list[0].DueAt != nil {
		t.Fatalf("deliveries: %+v, %v", list, err)
	}
	// Once more is the same event.
	n, _, _ := r.counts()
	if _, err := h.Redeliver(t.Context(), e.ID, list[0].ID); err != nil {
		t.Fatal(err)
	}
	untilTrue(t, "it is sent once more", func() bool { m, _, _ := r.counts(); return m == n+1 })
	if _, events, refused := r.counts(); events != 4 || refused != 0 {
		t.Errorf("%d events, %d refused", events, refused)
	}
	if _, err := h.Redeliver(t.Context(), e.ID+1, list[0].ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("another webhook's delivery: %v", err)
	}
}

// TestWebhookDisabled fails for too long: the endpoint says why it is disabled, and what happened meanwhile is sent when it is enabled.
func TestWebhookDisabled(t *testing.T) {
	t.Parallel()
	h := newHooks(t, func(o *tenant.WebhookOptions) { o.DisableAfter = 50 * time.Millisecond })
	var well sync.Mutex
	isWell := false
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		well.Lock()
		defer well.Unlock()
		if !isWell {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	e := h.endpoint(t, r)
	h.send(t)
	h.put(t, "acme", tenant.Starter)
	untilTrue(t, "the endpoint is disabled", func() bool {
		got, err := h.Get(t.Context(), e.ID)
		return err == nil && !got.Enabled && strings.Contains(got.DisabledReason, "502") && got.Waiting == 1
	})
	h.put(t, "acme", tenant.Enterprise)
	if _, err := h.Test(t.Context(), e.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("a test of a disabled endpoint: %v", err)
	}
	if n := h.count(t, `SELECT count(*) FROM control.audit_log WHERE action = 'webhook.disable' AND actor_kind = 'system'`); n != 1 {
		t.Errorf("%d entries of the audit log", n)
	}
	well.Lock()
	isWell = true
	well.Unlock()
	if _, err := h.Put(t.Context(), e.ID, tenant.NewEndpoint{URL: e.URL, Events: e.Events, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	h.settled(t)
	if _, events, refused := r.counts(); events != 2 || refused != 0 {
		t.Errorf("%d events, %d refused", events, refused)
	}
}

// TestWebhookAddresses refuses what is not public, by name and by number, when it is made and when it is dialled.
func TestWebhookAddresses(t *testing.T) {
	t.Parallel()
	h := newHooks(t, func(o *tenant.WebhookOptions) { o.AllowPrivate = false })
	for _, url := range []string{"", "ftp://x.example/", "http://billing.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/latest",
		"https://[fd00::1]/", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://user:pw@billing.example.com/", "https://x.example/#f", "https:///x"} {
		if _, _, err := h.Create(t.Context(), "owner", tenant.NewEndpoint{URL: url, Events: tenant.EventTypes(), Enabled: true}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", url, err)
		}
	}
	// A name is looked up when it is dialled.
	e, _, err := h.Create(t.Context(), "owner", tenant.NewEndpoint{URL: "https://localhost:1/", Events: tenant.EventTypes(), Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	h.send(t)
	if _, err := h.Test(t.Context(), e.ID); err != nil {
		t.Fatal(err)
	}
	untilTrue(t, "the attempt is refused", func() bool {
		list, err := h.Deliveries(t.Context(), e.ID, "", 1)
		return err == nil && len(list) == 1 && strings.Contains(list[0].LastError, "not public")
	})
}
