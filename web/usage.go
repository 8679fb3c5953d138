package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

const (
	usageDaysShown = 31      // by default
	maxUsageDays   = 400     // between the first and the last
	maxUsageRows   = 500_000 // of a file: 10,000 tenants for 50 days
)

// UsageDaysInput says whose days, and which. It is exported for huma, which does not look into others.
type UsageDaysInput struct {
	Tenant string `query:"tenant" doc:"Only this tenant, by its id."`
	First  string `query:"first" format:"date" doc:"The first day, such as 2026-11-01; by default 30 days before the last."`
	Last   string `query:"last" format:"date" doc:"The last day; by default yesterday. The day that goes on is never among them."`
}

// days returns the first and the last day.
func (in *UsageDaysInput) days(now time.Time) (first, last time.Time, err error) {
	last = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	parse := func(name, text string, to *time.Time) {
		if text == "" || err != nil {
			return
		}
		if *to, err = time.Parse(time.DateOnly, text); err != nil {
			err = fault.InvalidField(name, text, "must be a day such as 2026-11-01")
		}
	}
	parse("last", in.Last, &last)
	first = last.AddDate(0, 0, 1-usageDaysShown)
	parse("first", in.First, &first)
	switch {
	case err != nil:
	case first.After(last):
		err = fault.InvalidField("first", in.First, "is after last")
	case last.Sub(first) > maxUsageDays*24*time.Hour:
		err = fault.InvalidField("first", in.First, "is more than %d days before last", maxUsageDays)
	}
	return first, last, err
}

// usageDayView is what one tenant used on one day.
type usageDayView struct {
	Day           string    `json:"day" format:"date"`
	Tenant        tenant.ID `json:"tenant" doc:"Empty: what named none."`
	Requests      int64     `json:"requests" doc:"That ended on the day."`
	Spans         int64     `json:"spans" doc:"Counted, whether they are stored or not, by when they came; so are all that follow."`
	Sampled       int64     `json:"sampled_spans" doc:"Of these, not stored, because the tenant was over its quota."`
	Refused       int64     `json:"refused_spans" doc:"Beyond the hard limit: neither counted nor stored."`
	Points        int64     `json:"points" doc:"Numbers that points of metrics are stored as."`
	RefusedPoints int64     `json:"refused_points"`
	Bytes         int64     `json:"bytes" doc:"Of the spans that were counted, as protobuf."`
	StoredBytes   int64     `json:"stored_bytes" doc:"Of those of them that are stored."`
	Users         int64     `json:"users" doc:"People of the tenant when the day was closed."`
	APICalls      int64     `json:"api_calls" doc:"By the tenant's people, and by keys that are bound to it; those of telemetry are not among them."`
	Revision      int       `json:"revision" doc:"1, and one more for each time that what came late changed something."`
	ClosedAt      time.Time `json:"closed_at"`
	RevisedAt     time.Time `json:"revised_at"`
}

type usageDaysPage struct {
	UsageDaysInput
	Limit int `query:"limit" default:"1000" minimum:"1" maximum:"10000" doc:"Of rows. For more, ask for fewer days at once, or for the file."`
}

type usageDaysOut struct {
	Body struct {
		Days     []usageDayView `json:"days" doc:"By day and tenant."`
		Complete bool           `json:"complete" doc:"false when there are more than limit."`
	}
}

type usageCSVOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

type usageAPI struct{ usage *tenant.Usage }

// RegisterUsageAPI adds the operations on what tenants used by days.
func RegisterUsageAPI(api *API, usage *tenant.Usage) {
	a := usageAPI{usage}
	op := Operation{Method: http.MethodGet, Path: "/api/v1/usage/days", ID: "list-usage-days", Tag: "Tenants", TenantParameter: "tenant",
		Permission: tenant.MayRead(tenant.ResourceUsage), Summary: "List what tenants used by days",
		Doc: "Days are of UTC, and closed an hour after their end. What comes up to a week late revises them."}
	Register(api, op, a.list)
	op.Path, op.ID, op.Summary = op.Path+".csv", "get-usage-days-file", "What tenants used by days, as CSV"
	Register(api, op, a.file)
}

func (a usageAPI) read(ctx context.Context, in *UsageDaysInput, limit int) ([]tenant.UsageDay, error) {
	first, last, err := in.days(time.Now())
	if err != nil {
		return nil, err
	}
	id, err := tenant.ParseID(in.Tenant)
	if err != nil {
		return nil, err
	}
	return a.usage.Days(ctx, id, first, last, limit)
}

func (a usageAPI) list(ctx context.Context, in *usageDaysPage) (*usageDaysOut, error) {
	days, err := a.read(ctx, &in.UsageDaysInput, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &usageDaysOut{}
	out.Body.Complete = len(days) <= in.Limit
	days = days[:min(len(days), in.Limit)]
	out.Body.Days = make([]usageDayView, len(days))
	for i, d := range days {
		out.Body.Days[i] = usageDayView{d.Day.Format(time.DateOnly), d.Tenant, d.Requests, d.Spans, d.Sampled, d.Refused, d.Points, d.RefusedPoints, d.Bytes,
			d.StoredBytes, d.Users, d.APICalls, d.Revision, d.ClosedAt.UTC(), d.RevisedAt.UTC()}
	}
	return out, nil
}

// usageColumns are those of the file. New ones come after these.
var usageColumns = []string{"day", "tenant", "requests", "spans", "sampled_spans", "refused_spans", "points", "refused_points", "bytes", "stored_bytes",
	"users", "revision", "closed_at", "revised_at", "api_calls"}

func (a usageAPI) file(ctx context.Context, in *UsageDaysInput) (*usageCSVOut, error) {
	days, err := a.read(ctx, in, maxUsageRows+1)
	if err != nil {
		return nil, err
	}
	if len(days) > maxUsageRows {
		return nil, fault.InvalidField("first", in.First, "gives more than %d rows: ask for fewer days at once", maxUsageRows)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(usageColumns) // a buffer takes everything
	for _, d := range days {
		row := []string{d.Day.Format(time.DateOnly), CSVCell(string(d.Tenant))}
		for _, n := range []int64{d.Requests, d.Spans, d.Sampled, d.Refused, d.Points, d.RefusedPoints, d.Bytes, d.StoredBytes, d.Users, int64(d.Revision)} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		_ = w.Write(append(row, d.ClosedAt.UTC().Format(time.RFC3339), d.RevisedAt.UTC().Format(time.RFC3339),
			strconv.FormatInt(d.APICalls, 10)))
	}
	w.Flush()
	return &usageCSVOut{ContentType: "text/csv; charset=utf-8", Disposition: `attachment; filename="usage-days.csv"`, Body: b.Bytes()}, nil
}
