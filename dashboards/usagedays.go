package dashboards

import (
	"context"
	"net/url"
	"time"

	"github.com/nexis-limited/headroom/tenant"
	"github.com/nexis-limited/headroom/web/theme"
)

// usageShown is how many closed days a tenant's page shows.
const usageShown = 14

// usageDays are what a tenant used on the last days that are closed.
type usageDays struct {
	Days                      []usageBar // the oldest first; days of which nothing is known have no numbers
	Requests, Spans, NotTaken int64      // of all of them
	Known                     int        // days with numbers
	Title, CSV                string
}

// usageBar is one day in numbers and in the drawing.
type usageBar struct {
	*tenant.UsageDay
	At        time.Time
	X, Width  float64 // parts of a hundred
	Y, Height float64 // of usageHeight
}

const usageHeight = 72.0

// usageOf reads the days of a tenant. The day that goes on is not among them.
func (c *Console) usageOf(ctx context.Context, id tenant.ID, now time.Time) (usageDays, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	last := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	first := last.AddDate(0, 0, 1-usageShown)
	days, err := c.opts.Usage.Days(ctx, id, first, last, usageShown)
	if err != nil {
		return usageDays{}, err
	}
	u := drawUsage(days, first)
	u.CSV = "/api/v1/usage/days.csv?" + url.Values{"tenant": {string(id)}}.Encode()
	return u, nil
}

func drawUsage(days []tenant.UsageDay, first time.Time) usageDays {
	var u usageDays
	most := int64(1)
	byDay := map[string]*tenant.UsageDay{}
	for i := range days {
		d := &days[i]
		byDay[d.Day.Format(time.DateOnly)] = d
		u.Requests, u.Spans, u.NotTaken, u.Known = u.Requests+d.Requests, u.Spans+d.Spans, u.NotTaken+d.Sampled+d.Refused, u.Known+1
		most = max(most, d.Requests)
	}
	for i := range usageShown {
		at := first.AddDate(0, 0, i)
		b := usageBar{UsageDay: byDay[at.Format(time.DateOnly)], At: at, X: round1(100 * float64(i) / usageShown), Width: round1(100/usageShown - 1)}
		if b.UsageDay != nil && b.Requests > 0 {
			b.Height = max(2, round1(usageHeight*float64(b.Requests)/float64(most)))
		}
		b.Y = round1(usageHeight - b.Height)
		u.Days = append(u.Days, b)
	}
	u.Title = "Requests on each of the last 14 days: " + theme.Num(u.Requests) + " in all, " + theme.Num(most) + " on the most busy"
	return u
}
