package tenant

import (
	"fmt"
	"time"
)

// usageData is the data of EventUsageRecorded: a day as GET /api/v1/usage/days has it. It is a contract, so it has a type of its own.
type usageData struct {
	Day           string    `json:"day"`
	Tenant        ID        `json:"tenant"`
	Requests      int64     `json:"requests"`
	Spans         int64     `json:"spans"`
	Sampled       int64     `json:"sampled_spans"`
	Refused       int64     `json:"refused_spans"`
	Points        int64     `json:"points"`
	RefusedPoints int64     `json:"refused_points"`
	Bytes         int64     `json:"bytes"`
	StoredBytes   int64     `json:"stored_bytes"`
	Users         int64     `json:"users"`
	APICalls      int64     `json:"api_calls"`
	Revision      int       `json:"revision"`
	ClosedAt      time.Time `json:"closed_at"`
	RevisedAt     time.Time `json:"revised_at"`
}

// usageRecorded are the events that days were closed or revised. What named no tenant is nobody's to bill.
func usageRecorded(days []UsageDay) (events []event) {
	for _, d := range days {
		if d.Tenant == Untagged {
			continue
		}
		day := d.Day.Format(time.DateOnly)
		events = append(events, event{kind: EventUsageRecorded, tenant: d.Tenant, key: fmt.Sprintf("%s/%s/%d", day, d.Tenant, d.Revision), data: usageData{
			day, d.Tenant, d.Requests, d.Spans, d.Sampled, d.Refused, d.Points, d.RefusedPoints, d.Bytes, d.StoredBytes, d.Users, d.APICalls, d.Revision,
			d.ClosedAt.UTC(), d.RevisedAt.UTC(),
		}})
	}
	return events
}
