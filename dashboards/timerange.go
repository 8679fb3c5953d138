package dashboards

import (
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// maxPoints is how many points a series may have: the query steps, the browser never thins.
const maxPoints = 2000

// window is a half-open span of time with the step that its series has.
type window struct {
	Name     string // of a preset such as "1h", empty for other spans
	From, To time.Time
	Step     time.Duration
	Old      bool // begins before what the minutes hold: only the hours know it
}

// minutesKept is how long the rollup of minutes keeps a request; the hours keep it for maxAPISpan.
const minutesKept = 35 * 24 * time.Hour

// preset is a span that the console offers.
type preset struct {
	Name, Label string
	Span, Step  time.Duration
	Words       string // as in "3,412 in the last hour"
}

// presets are the spans on offer, the first is the default.
func presets() []preset {
	const day = 24 * time.Hour
	return []preset{
		{"1h", "1\u202fh", time.Hour, time.Minute, "the last hour"},
		{"6h", "6\u202fh", 6 * time.Hour, 2 * time.Minute, "the last 6\u202fh"},
		{"24h", "24\u202fh", day, 5 * time.Minute, "the last 24\u202fh"},
		{"7d", "7\u202fd", 7 * day, time.Hour, "the last 7\u202fdays"},
		{"30d", "30\u202fd", 30 * day, 2 * time.Hour, "the last 30\u202fdays"},
	}
}

// parseRange returns the preset of that name, ending with the minute that now is in. The empty name is the default.
func parseRange(name string, now time.Time) (window, preset, error) {
	all := presets()
	if name == "" {
		name = all[0].Name
	}
	for _, p := range all {
		if p.Name == name {
			to := now.UTC().Truncate(time.Minute).Add(time.Minute)
			return window{Name: name, From: to.Add(-p.Span), To: to, Step: p.Step}, p, nil
		}
	}
	return window{}, preset{}, fault.InvalidField("range", name, "must be one of 1h, 6h, 24h, 7d, 30d")
}

// Minutes returns the length of the window in minutes.
func (w window) Minutes() float64 { return w.To.Sub(w.From).Minutes() }

// aligned returns the window with From moved back and To moved on to whole steps.
func (w window) aligned() window {
	w.From = w.From.UTC().Truncate(w.Step)
	if to := w.To.UTC().Truncate(w.Step); to.Before(w.To) {
		w.To = to.Add(w.Step)
	}
	return w
}

// minuteTierSpan is how long a span over all tenants may be to be read from the minutes; longer ones read the hours.
const minuteTierSpan = 6 * time.Hour

// tier is a rollup table and the column that holds its time.
type tier struct {
	Table, Column string
	Width         time.Duration
}

// tiers returns the rollups, the finest first.
func tiers() (minutes, hours tier) {
	return tier{"latency_1m", "minute", time.Minute}, tier{"latency_1h", "hour", time.Hour}
}

// fleetTier picks the rollup for a read over all tenants.
func (w window) fleetTier() tier {
	minutes, hours := tiers()
	if w.To.Sub(w.From) <= minuteTierSpan && !w.Old {
		return minutes
	}
	return hours
}

// seriesTier picks the rollup for the series of one tenant: hours as soon as the step allows it.
func (w window) seriesTier() tier {
	minutes, hours := tiers()
	if w.Step%time.Hour == 0 {
		return hours
	}
	return minutes
}
