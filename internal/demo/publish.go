package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// What the status page and its API call things.
type (
	component struct {
		ID          string   `json:"id"`
		Name        string   `json:"name"`
		Description string   `json:"description,omitempty"`
		Position    int      `json:"position"`
		Product     string   `json:"product,omitempty"`
		SLOs        []string `json:"slos,omitempty"`
	}
	incident struct {
		ID        string     `json:"id,omitempty"`
		Name      string     `json:"name"`
		Impact    string     `json:"impact"`
		Status    string     `json:"status"`
		Body      string     `json:"body"`       // of the first update
		DisplayAt time.Time  `json:"display_at"` // of the first update
		StartedAt time.Time  `json:"started_at"`
		Affected  []affected `json:"components,omitempty"`
	}
	affected struct {
		Component string `json:"component"`
		Status    string `json:"status"`
	}
	update struct {
		Status    string     `json:"status"`
		Body      string     `json:"body"`
		DisplayAt time.Time  `json:"display_at"`
		Affected  []affected `json:"components,omitempty"`
	}
	entry struct {
		ID          string     `json:"id,omitempty"`
		Title       string     `json:"title"`
		Body        string     `json:"body"`
		Type        string     `json:"type"`
		Product     string     `json:"product"`
		Version     string     `json:"version,omitempty"`
		PublishedAt time.Time  `json:"published_at"`
		EffectiveAt *time.Time `json:"effective_at,omitempty"`
	}
)

// publish makes what is not there yet of the components, the changelog and the past incident.
func publish(ctx context.Context, api *apiClient, now time.Time) error {
	var have struct {
		Components []component `json:"components"`
		Incidents  []incident  `json:"incidents"`
		Entries    []entry     `json:"entries"`
	}
	for _, path := range []string{"components", "incidents", "changelog"} {
		if err := api.json(ctx, http.MethodGet, "/api/v1/"+path, nil, &have); err != nil {
			return err
		}
	}
	there := map[string]bool{}
	for _, c := range have.Components {
		there["component "+c.ID] = true
	}
	for _, i := range have.Incidents {
		there["incident "+i.Name] = true
	}
	for _, e := range have.Entries {
		there["entry "+e.Title] = true
	}
	for _, c := range components() {
		if there["component "+c.ID] {
			continue
		}
		if err := api.json(ctx, http.MethodPost, "/api/v1/components", c, nil); err != nil {
			return fmt.Errorf("cannot make component %q: %w", c.ID, err)
		}
	}
	for _, e := range changelog(now) {
		if there["entry "+e.Title] {
			continue
		}
		if err := api.json(ctx, http.MethodPost, "/api/v1/changelog", e, nil); err != nil {
			return fmt.Errorf("cannot publish changelog entry %q: %w", e.Title, err)
		}
	}
	first, updates := pastIncident(now)
	if there["incident "+first.Name] {
		return nil
	}
	var made incident
	if err := api.json(ctx, http.MethodPost, "/api/v1/incidents", first, &made); err != nil {
		return fmt.Errorf("cannot publish incident %q: %w", first.Name, err)
	}
	for _, u := range updates {
		if err := api.json(ctx, http.MethodPost, "/api/v1/incidents/"+url.PathEscape(made.ID)+"/updates", u, nil); err != nil {
			return fmt.Errorf("cannot publish update of incident %q: %w", first.Name, err)
		}
	}
	return nil
}

func components() []component {
	list := []component{
		{ID: "storefront", Name: "Storefront", Product: "commerce", SLOs: []string{"storefront-latency"}, Description: "Pages that shoppers see, search and carts"},
		{ID: "checkout", Name: "Checkout", Product: "commerce", SLOs: []string{"checkout-availability"}, Description: "Placing an order and paying for it"},
		{ID: "billing", Name: "Billing", Product: "billing", SLOs: []string{"billing-availability", "invoice-latency"}, Description: "Invoices, refunds and payouts"},
		{ID: "analytics", Name: "Analytics", Product: "analytics", SLOs: []string{"analytics-availability", "report-latency"}, Description: "Dashboards, funnels and reports"},
		{ID: "messaging", Name: "Messaging", Product: "messaging", SLOs: []string{"messaging-availability"}, Description: "Conversations, mail and webhooks"},
	}
	for i := range list {
		list[i].Position = i + 1
	}
	return list
}

func changelog(now time.Time) []entry {
	ends := now.AddDate(0, 3, 0).UTC().Truncate(24 * time.Hour)
	ago := func(d time.Duration) time.Time { return now.Add(-d).UTC().Truncate(time.Minute) }
	return []entry{
		{Type: "added", Product: "Commerce", Version: "2.108", PublishedAt: ago(50 * time.Hour), Title: "Gift cards can pay a part of an order",
			Body: "A shopper may combine **one gift card** with any other way of paying. What is left on the card stays on it.\n\nNothing has to be turned on. Receipts list both payments."},
		{Type: "changed", Product: "Analytics", Version: "0.61", PublishedAt: ago(5 * 24 * time.Hour), Title: "Funnels count sessions across devices",
			Body: "A shopper who is signed in counts once, whatever device a step is taken on. Older days are not counted anew, so numbers may step down at the change."},
		{Type: "fixed", Product: "Billing", Version: "5.27.1", PublishedAt: ago(13 * time.Hour), Title: "Invoice lists with currencies that have no cents",
			Body: "Lists that held an invoice in such a currency could fail to load. This follows from yesterday's incident."},
		{Type: "deprecated", Product: "Analytics", PublishedAt: ago(12 * 24 * time.Hour), EffectiveAt: &ends, Title: "Reports as XLS will end",
			Body: "Exports are offered as `XLSX` and `CSV`. Scheduled exports that still ask for `XLS` are listed under Settings, Exports."},
		{Type: "security", Product: "Messaging", Version: "1.19", PublishedAt: ago(20 * 24 * time.Hour), Title: "Webhook secrets can be rotated without a gap",
			Body: "For 24 hours after a rotation each delivery carries two signatures, one for the old and one for the new secret."},
	}
}

// pastIncident is what was told to customers about the broken deploy of invoices in the history.
func pastIncident(now time.Time) (incident, []update) {
	begin := now.Add(-18 * hour).UTC().Truncate(time.Minute)
	hit := []affected{{Component: "billing", Status: "partial_outage"}}
	return incident{
			Name: "Invoice lists fail for some customers", Impact: "minor", Status: "investigating", StartedAt: begin, DisplayAt: begin.Add(3 * time.Minute), Affected: hit,
			Body: "For some customers the list of invoices does not load. Single invoices can be opened by their address. We are looking into it.",
		}, []update{
			{Status: "identified", DisplayAt: begin.Add(6 * time.Minute), Affected: hit,
				Body: "A change of this afternoon cannot show invoices in some currencies. We are taking it back."},
			{Status: "resolved", DisplayAt: begin.Add(14 * time.Minute), Affected: []affected{{Component: "billing", Status: "operational"}},
				Body: "The change was taken back and all lists load again. About one in ten lists of the customers affected had failed for eight minutes. No invoice was changed."},
		}
}
