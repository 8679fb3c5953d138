package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"
)

type tenantCmd struct {
	List   tenantListCmd   `cmd:"" help:"List the tenants of the last hour."`
	Set    tenantSetCmd    `cmd:"" help:"Set a tenant's name and plan."`
	Create tenantCreateCmd `cmd:"" help:"Take a tenant on: its schema, a key for its telemetry, and what to give its services."`
	Export tenantExportCmd `cmd:"" help:"Write everything that is stored of a tenant to an archive."`
	Verify tenantVerifyCmd `cmd:"" help:"Check an archive of export; nothing is sent."`
	Delete tenantDeleteCmd `cmd:"" help:"Delete a tenant and everything that is stored of it, and prove it."`
}

type tenantListCmd struct{ clientFlags }

func (c *tenantListCmd) Run(ctx context.Context) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TENANT\tNAME\tPLAN\tREQUESTS\tERRORS %\tP99 MS")
	const page = 1000
	for offset := 0; ; offset += page {
		var out struct {
			Tenants []struct {
				Tenant     string  `json:"tenant"`
				Name       string  `json:"name"`
				Plan       string  `json:"plan"`
				Requests   uint64  `json:"requests"`
				ErrorRatio float64 `json:"error_ratio"`
				P99        float64 `json:"p99_ms"`
			} `json:"tenants"`
		}
		path := fmt.Sprintf("/tenants?sort=tenant&order=asc&limit=%d&offset=%d", page, offset)
		if err := c.call(ctx, http.MethodGet, path, "", nil, &out); err != nil {
			return err
		}
		for _, t := range out.Tenants {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.2f\t%.1f\n", cmp.Or(t.Tenant, "(untagged)"), t.Name, t.Plan, t.Requests, t.ErrorRatio*100, t.P99)
		}
		if len(out.Tenants) < page {
			return w.Flush()
		}
	}
}

type tenantSetCmd struct {
	clientFlags
	Tenant string `arg:"" help:"Its id, as telemetry has it."`
	Plan   string `env:"-" help:"starter, professional or enterprise." required:""`
	Name   string `env:"-" help:"Its name for people." required:""`
}

func (c *tenantSetCmd) Run(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"name": c.Name, "plan": c.Plan})
	if err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodPut, "/tenants/"+url.PathEscape(c.Tenant), "application/json", body, nil); err != nil {
		return err
	}
	fmt.Printf("%s: %q, on %s\n", c.Tenant, c.Name, c.Plan)
	return nil
}
