package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// setUp tells headroom about the company: tenants with their plans, SLOs, and what the status page shows. Doing it again
// changes nothing. Without a status page the rest still works, so that is only logged.
func setUp(ctx context.Context, api *apiClient, c *Company, now time.Time, log *slog.Logger) error {
	for _, t := range c.Tenants {
		in := map[string]string{"name": t.Name, "plan": string(t.Plan)}
		if err := api.json(ctx, http.MethodPut, "/api/v1/tenants/"+url.PathEscape(string(t.ID)), in, nil); err != nil {
			return fmt.Errorf("cannot set tenant %q up: %w", t.ID, err)
		}
	}
	doc, err := sloDocument()
	if err != nil {
		return err
	}
	if err := api.call(ctx, http.MethodPut, "/api/v1/slos", "application/yaml", []byte(doc), nil); err != nil {
		return fmt.Errorf("cannot apply the demo's SLOs: %w", err)
	}
	if err := publish(ctx, api, now); err != nil {
		log.WarnContext(ctx, "the status page stays as it is", "error", err)
	}
	log.InfoContext(ctx, "set up", "tenants", len(c.Tenants), "products", len(c.Products))
	return nil
}
