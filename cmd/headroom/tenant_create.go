package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"text/tabwriter"
)

type tenantCreateCmd struct {
	clientFlags
	Tenant  string `arg:"" help:"Its id, as telemetry has it."`
	Name    string `env:"-" help:"Its name for people."`
	Plan    string `env:"-" help:"starter, professional or enterprise." default:"starter"`
	Product string `env:"-" help:"Bind its key to this product too." placeholder:"NAME"`
}

func (c *tenantCreateCmd) Run(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"tenant": c.Tenant, "name": c.Name, "plan": c.Plan, "product": c.Product})
	if err != nil {
		return err
	}
	var out struct {
		Returned bool   `json:"returned"`
		Schema   string `json:"schema"`
		Snippet  string `json:"snippet"`
		Targets  []struct {
			SLO    string  `json:"slo"`
			Target float64 `json:"target"`
			Window string  `json:"window"`
		} `json:"targets"`
	}
	if err := c.call(ctx, http.MethodPost, "/tenants", "application/json", body, &out); err != nil {
		return err
	}
	// The snippet alone goes to standard output, so that it can be sent on as it is.
	fmt.Fprintf(os.Stderr, "%s is on %s, with schema %s for its own data\n", c.Tenant, c.Plan, out.Schema)
	if out.Returned {
		fmt.Fprintln(os.Stderr, "it had been deleted: its telemetry is recorded again, what it had is gone")
	}
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	for _, t := range out.Targets {
		_, _ = fmt.Fprintf(w, "  %s\t%g %%\tin %s\n", t.SLO, t.Target, t.Window)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "give its services this; the key in it is shown this once:")
	fmt.Print(out.Snippet)
	return nil
}
