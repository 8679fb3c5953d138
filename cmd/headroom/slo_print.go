package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// printChanges prints what applying did, or would do, a line an SLO and one for each value that changed.
func printChanges(raw json.RawMessage, dryRun bool) error {
	var out struct {
		Changes []struct {
			Name     string `json:"name"`
			Action   string `json:"action"`
			Restarts bool   `json:"restarts"`
			Fields   []struct {
				Field string `json:"field"`
				Old   string `json:"old"`
				New   string `json:"new"`
			} `json:"fields"`
		} `json:"changes"`
		Deferred bool `json:"deferred"`
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	for _, c := range out.Changes {
		action := c.Action
		if dryRun && action != "unchanged" {
			action = "would be " + action
		}
		if c.Restarts && c.Action == "updated" {
			action += "; what is counted changes, so the budget starts afresh"
		}
		fmt.Printf("%s: %s\n", c.Name, action)
		if c.Action != "updated" {
			continue
		}
		for _, f := range c.Fields {
			fmt.Printf("  %s: %q → %q\n", f.Field, f.Old, f.New)
		}
	}
	if out.Deferred {
		fmt.Println("ClickHouse does not answer: counting begins when it does")
	}
	return nil
}

// printStatus prints how an SLO stands: the budget in one line, then its burn rates.
func printStatus(raw json.RawMessage) error {
	var s struct {
		SLO             string     `json:"slo"`
		Tenant          string     `json:"tenant"`
		State           string     `json:"state"`
		Target          float64    `json:"target"`
		Window          string     `json:"window"`
		Good            uint64     `json:"good"`
		Total           uint64     `json:"total"`
		BudgetRemaining float64    `json:"error_budget_remaining"`
		ExhaustsAt      *time.Time `json:"exhausts_at"`
		Excluded        *struct {
			Good            uint64  `json:"good"`
			Total           uint64  `json:"total"`
			BudgetRemaining float64 `json:"error_budget_remaining"`
		} `json:"excluded"`
		BurnRates []struct {
			Severity  string  `json:"severity"`
			Factor    float64 `json:"factor"`
			Long      string  `json:"long"`
			Short     string  `json:"short"`
			Rate      float64 `json:"rate"`
			ShortRate float64 `json:"short_rate"`
			Firing    bool    `json:"firing"`
		} `json:"burn_rates"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	who := s.Tenant
	if who == "" {
		who = "all tenants together"
	}
	fmt.Printf("%s for %s: %s. %d of %d good in %s, target %g %%, %.1f %% of the error budget left\n",
		s.SLO, who, s.State, s.Good, s.Total, s.Window, s.Target, s.BudgetRemaining*100)
	if x := s.Excluded; x != nil {
		fmt.Printf("  without %d of %d good that corrections exclude; with them %.1f %% would be left\n", x.Good, x.Total, x.BudgetRemaining*100)
	}
	if s.ExhaustsAt != nil {
		fmt.Printf("at this rate the budget is used up at %s\n", s.ExhaustsAt.UTC().Format(time.RFC3339))
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nSEVERITY\tWINDOWS\tFACTOR\tBURNS LONG\tSHORT\tFIRES")
	for _, b := range s.BurnRates {
		fires := "no"
		if b.Firing {
			fires = "yes"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s / %s\t%g×\t%.1f×\t%.1f×\t%s\n", b.Severity, b.Long, b.Short, b.Factor, b.Rate, b.ShortRate, fires)
	}
	return w.Flush()
}

// printBacktest prints for each SLO how many alerts there would have been, and each of them.
func printBacktest(raw json.RawMessage) error {
	var out struct {
		SLOs []struct {
			Name    string     `json:"name"`
			From    time.Time  `json:"from"`
			To      time.Time  `json:"to"`
			Since   *time.Time `json:"since"`
			Source  string     `json:"source"`
			Tenants int        `json:"tenants"`
			Pages   int        `json:"pages"`
			Tickets int        `json:"tickets"`
			Present *struct {
				Revision int `json:"revision"`
				Pages    int `json:"pages"`
				Tickets  int `json:"tickets"`
			} `json:"present"`
			Alerts []struct {
				Tenant     string     `json:"tenant"`
				Severity   string     `json:"severity"`
				OpenedAt   time.Time  `json:"opened_at"`
				ResolvedAt *time.Time `json:"resolved_at"`
				PeakRate   float64    `json:"peak_rate"`
				Window     struct {
					Long   string  `json:"long"`
					Short  string  `json:"short"`
					Factor float64 `json:"factor"`
				} `json:"window"`
			} `json:"alerts"`
		} `json:"slos"`
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	const minute = "2006-01-02 15:04"
	for _, s := range out.SLOs {
		if s.Since == nil {
			fmt.Printf("%s: no requests from %s to %s\n", s.Name, s.From.Format(minute), s.To.Format(minute))
			continue
		}
		fmt.Printf("%s: %d pages, %d tickets for %d tenants from %s to %s UTC", s.Name, s.Pages, s.Tickets, s.Tenants,
			s.From.UTC().Format(minute), s.To.UTC().Format(minute))
		if s.Present != nil {
			fmt.Printf("; as it stands (revision %d): %d pages, %d tickets", s.Present.Revision, s.Present.Pages, s.Present.Tickets)
		}
		fmt.Println()
		if s.Since.After(s.From) {
			fmt.Printf("  there are requests only since %s\n", s.Since.UTC().Format(minute))
		}
		for _, a := range s.Alerts {
			end := "still open"
			if a.ResolvedAt != nil {
				end = a.ResolvedAt.Sub(a.OpenedAt).String()
			}
			fmt.Printf("  %s  %-6s  %s  %s, up to %.1f× (over %g× in %s and %s)\n", a.OpenedAt.UTC().Format(minute), a.Severity, a.Tenant, end,
				a.PeakRate, a.Window.Factor, a.Window.Long, a.Window.Short)
		}
		if more := s.Pages + s.Tickets - len(s.Alerts); more > 0 {
			fmt.Printf("  and %d more\n", more)
		}
	}
	return nil
}
