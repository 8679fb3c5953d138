package dashboards

import (
	"context"
	"maps"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// quotaNow is over how long the list of tenants looks back for who is over its quota now: some whole minutes, and so short
// that the mark goes when the flood does.
const quotaNow = 5 * time.Minute

// overQuota returns what the collectors held back of the tenants that are over their quota now. The list stands without it.
func (c *Console) overQuota(ctx context.Context) map[tenant.ID]ingest {
	to := c.now().UTC().Truncate(time.Minute).Add(time.Minute)
	list, err := c.store.ingestAcrossTenants(ctx, window{From: to.Add(-quotaNow), To: to}, true)
	if err != nil {
		c.failed(ctx, "who is over its quota", err)
	}
	over := make(map[tenant.ID]ingest, len(list))
	for _, in := range list {
		over[in.Tenant] = in
	}
	return over
}

// withQuotas marks the rows of tenants that are over their quota. One without a row, for nothing of it is a request, gets one
// unless only those of a product are wanted.
func withQuotas(rows []tenantRow, over map[tenant.ID]ingest, product string) []tenantRow {
	left := maps.Clone(over)
	for i := range rows {
		rows[i].Ingest = left[rows[i].Tenant]
		delete(left, rows[i].Tenant)
	}
	if product == "" {
		for id, in := range left {
			r := newRow(id)
			r.Ingest = in
			rows = append(rows, *r)
		}
	}
	return rows
}

// QuotaMark is what stands beside a tenant in the list while it is over its quota: nothing while it is not.
func (i *ingest) QuotaMark() string {
	switch {
	case i.Refused > 0:
		return part(i.Refused, i.Spans+i.Refused) + " refused"
	case i.RefusedPoints > 0:
		return "metrics refused"
	case i.Sampled > 0:
		return "sampled to " + part(i.Spans-i.Sampled, i.Spans)
	}
	return ""
}

// Loses reports whether something is missing from what is counted, and not just from what is stored.
func (i *ingest) Loses() bool { return i.Refused > 0 || i.RefusedPoints > 0 }

// part is a percentage that is 100 only of the whole.
func part(some, of uint64) string {
	if share := ratio(some, of); share < 0.995 || some == of {
		return theme.Ratio(share)
	}
	return ">99" + theme.NarrowSpace + "%"
}

// quotaNote says on a tenant's page what its quota held back.
type quotaNote struct {
	Glyph, Word, Tint string
	Bold              string
	Context           []string
	Now               bool // it goes on: a larger quota would help
}

// noteOn returns the note on what was sent in the range that words name; nil when all of it was taken and stored.
func noteOn(in ingest, words string, now time.Time) *quotaNote {
	if !in.Over() {
		return nil
	}
	n := &quotaNote{Glyph: "watching", Word: "Sampled", Now: now.Sub(in.OverUntil) < time.Minute}
	over := "Over its quota: "
	if !n.Now {
		over = "Over its quota until " + theme.Stamp(in.OverUntil, now) + ": "
	}
	spans := func(some, of uint64, what string) string {
		return part(some, of) + " of its spans were " + what + " in " + words + ", " + theme.Num(some) + " of " + theme.Num(of) + "."
	}
	points := theme.Num(in.RefusedPoints) + " points of its metrics were refused"
	switch {
	case in.Refused > 0:
		n.Bold = over + spans(in.Refused, in.Spans+in.Refused, "refused")
		n.Context = append(n.Context, "They are not counted, so the numbers here are too low.")
		if in.Sampled > 0 {
			n.Context = append(n.Context, "Of the others "+theme.Num(in.Spans-in.Sampled)+" of "+theme.Num(in.Spans)+" are stored.")
		}
		if in.RefusedPoints > 0 {
			n.Context = append(n.Context, points+".")
		}
	case in.Sampled > 0:
		n.Bold = over + spans(in.Spans-in.Sampled, in.Spans, "stored")
		n.Context = append(n.Context, "Every request is counted all the same, so percentiles, budgets and alerts are exact. Spans with errors and slow requests are kept first.")
		if in.RefusedPoints > 0 {
			n.Context = append(n.Context, points+".")
		}
	default:
		n.Bold = over + points + " in " + words + "."
		n.Context = append(n.Context, "Requests and spans are complete.")
	}
	if in.Loses() {
		n.Glyph, n.Word, n.Tint = "ticket", "Refused", "warn"
	}
	return n
}
