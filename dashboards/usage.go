package dashboards

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web"
)

// registerUsage adds the operations on what tenants send.
func (c *Console) registerUsage(api *web.API) {
	web.Register(api, web.Operation{
		Method: http.MethodGet, Path: "/api/v1/usage", ID: "list-usage", Tag: "Tenants", Permission: tenant.MayRead(tenant.ResourceUsage), TenantParameter: "tenant",
		Summary: "List what tenants sent, and what their quotas held back",
		Doc: "Tenants that sent something in the span, which is the last hour unless given, by the minute in which the collector took it. " +
			"Minutes are kept for 35 days. What named no tenant is under the empty id.",
	}, c.listUsage)
}

type usageInput struct {
	SpanInput
	Tenant    string `query:"tenant" doc:"Only this tenant, by its id."`
	OverQuota bool   `query:"over_quota" doc:"Only tenants that were over their quota in the span."`
	Sort      string `query:"sort" default:"spans" enum:"tenant,spans,sampled_spans,refused_spans,bytes,points,refused_points"`
	Order     string `query:"order" enum:"asc,desc" doc:"desc by default, for tenant asc."`
	Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	Offset    int    `query:"offset" default:"0" minimum:"0"`
}

type usageJSON struct {
	Tenant        tenant.ID  `json:"tenant"`
	Spans         uint64     `json:"spans" doc:"Counted, whether they are stored or not."`
	Sampled       uint64     `json:"sampled_spans" doc:"Of these, counted and not stored, because the tenant was over its quota."`
	Refused       uint64     `json:"refused_spans" doc:"Beyond the hard limit: neither counted nor stored."`
	Bytes         uint64     `json:"bytes" doc:"Of the spans that were counted, as protobuf."`
	Points        uint64     `json:"points" doc:"Numbers that points of metrics are stored as: a histogram has one for each of its buckets."`
	RefusedPoints uint64     `json:"refused_points" doc:"Points of metrics that were refused for the tenant's quota."`
	OverUntil     *time.Time `json:"over_quota_until" nullable:"true" doc:"The end of the last minute in which the quota held something back; null when none did."`
}

type usageOutput struct {
	Body struct {
		From    time.Time   `json:"from"`
		To      time.Time   `json:"to"`
		Total   int         `json:"total" doc:"Tenants in the span, on all pages."`
		Limit   int         `json:"limit"`
		Offset  int         `json:"offset"`
		Tenants []usageJSON `json:"tenants"`
	}
}

func (c *Console) listUsage(ctx context.Context, in *usageInput) (*usageOutput, error) {
	w, err := in.span(c.now())
	if err != nil {
		return nil, err
	}
	if w.Old {
		return nil, fault.InvalidField("from", w.From.Format(time.RFC3339), "must be within the last %d days", int(minutesKept.Hours()/24))
	}
	list, err := c.usage(ctx, in, w)
	if err != nil {
		return nil, err
	}
	sortUsage(list, in.Sort, in.Order)
	out := &usageOutput{}
	out.Body.From, out.Body.To, out.Body.Total, out.Body.Limit, out.Body.Offset = w.From, w.To, len(list), in.Limit, in.Offset
	from := min(in.Offset, len(list))
	part := list[from:min(from+in.Limit, len(list))]
	out.Body.Tenants = make([]usageJSON, len(part))
	for i, u := range part {
		out.Body.Tenants[i] = usageJSON{Tenant: u.Tenant, Spans: u.Spans, Sampled: u.Sampled, Refused: u.Refused, Bytes: u.Bytes,
			Points: u.Points, RefusedPoints: u.RefusedPoints}
		if u.Over() {
			out.Body.Tenants[i].OverUntil = &u.OverUntil
		}
	}
	return out, nil
}

func (c *Console) usage(ctx context.Context, in *usageInput, w window) ([]ingest, error) {
	if in.Tenant == "" {
		return c.store.ingestAcrossTenants(ctx, w, in.OverQuota)
	}
	id, err := tenant.ParseID(in.Tenant)
	if err != nil {
		return nil, err
	}
	one, err := c.store.ingest(ctx, id, w)
	if err != nil || in.OverQuota && !one.Over() || one.Spans+one.Refused+one.Points+one.RefusedPoints == 0 {
		return nil, err
	}
	return []ingest{one}, nil
}

// sortUsage sorts by a field of the answer; equal ones stand by their ids.
func sortUsage(list []ingest, sort, order string) {
	value := map[string]func(i *ingest) uint64{
		"spans":          func(i *ingest) uint64 { return i.Spans },
		"sampled_spans":  func(i *ingest) uint64 { return i.Sampled },
		"refused_spans":  func(i *ingest) uint64 { return i.Refused },
		"bytes":          func(i *ingest) uint64 { return i.Bytes },
		"points":         func(i *ingest) uint64 { return i.Points },
		"refused_points": func(i *ingest) uint64 { return i.RefusedPoints },
	}[sort]
	sign := -1
	if order == "asc" || order == "" && sort == "tenant" {
		sign = 1
	}
	slices.SortFunc(list, func(a, b ingest) int {
		if value == nil {
			return sign * cmp.Compare(a.Tenant, b.Tenant)
		}
		return cmp.Or(sign*cmp.Compare(value(&a), value(&b)), cmp.Compare(a.Tenant, b.Tenant))
	})
}
