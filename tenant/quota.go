package tenant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// Quota is what one tenant may send to one collector. Zero is no limit, everywhere but in BurstSeconds.
//
// Over SpansPerSecond or BytesPerSecond every request is still counted, and traces are sampled. Over HardLimit times
// one of them, spans are refused and the sender is told. Points are never sampled: over PointsPerSecond they are refused.
type Quota struct {
	SpansPerSecond     int64 // spans of all kinds that are stored; beyond, traces are sampled
	BytesPerSecond     int64 // of those spans, uncompressed protobuf
	BurstSeconds       int64 // a tenant that was quiet may send what it may send in so many seconds at once; at least 1
	HardLimit          int64 // a multiple of both rates: spans beyond are refused; its bursts are as long
	PointsPerSecond    int64 // numbers of metrics' points that are stored: a histogram is as many as it has buckets, a sum and a count
	NewServicesPerHour int64 // with this tenant first; further ones are counted as the service "other"
	NewRoutesPerHour   int64 // that a service shows with this tenant's requests; further ones are counted as the route "other"
	NewSeriesPerHour   int64 // metric series that were there neither today nor yesterday; points of further ones are refused
	ActiveSeries       int64 // metric series that points come of on one day (UTC); points of further ones are refused
}

// KeyQuota is what all that share one API key may send to one collector. Beyond it requests get 503 with Retry-After, so
// that nothing is lost. Zero is no limit.
type KeyQuota struct {
	SpansPerSecond int64 // and numbers of metrics' points
	BytesPerSecond int64 // of bodies, uncompressed

	// NewTenantsPerHour is how many tenants without a plan may appear; what further ones send is counted as untagged.
	NewTenantsPerHour int64
}

// Quotas are the quotas of an installation.
type Quotas struct {
	Starter, Professional, Enterprise Quota

	// Unregistered holds for each tenant that telemetry names and nobody gave a plan, and for all that names no tenant
	// together. It is as large as Enterprise, so that nobody loses spans before somebody has said who has which plan.
	Unregistered Quota

	Key KeyQuota // of each API key
}

// DefaultQuotas are generous: who meets them sends some hundred times what a tenant of that plan usually does. Points
// may come of each active series once a second.
func DefaultQuotas() Quotas {
	enterprise := Quota{
		SpansPerSecond: 100_000, BytesPerSecond: 100 << 20, BurstSeconds: 60, HardLimit: 10,
		PointsPerSecond: 200_000, NewServicesPerHour: 1000, NewRoutesPerHour: 1000, NewSeriesPerHour: 100_000, ActiveSeries: 200_000,
	}
	return Quotas{
		Starter: Quota{
			SpansPerSecond: 5000, BytesPerSecond: 5 << 20, BurstSeconds: 60, HardLimit: 10,
			PointsPerSecond: 10_000, NewServicesPerHour: 200, NewRoutesPerHour: 200, NewSeriesPerHour: 5000, ActiveSeries: 10_000,
		},
		Professional: Quota{
			SpansPerSecond: 20_000, BytesPerSecond: 20 << 20, BurstSeconds: 60, HardLimit: 10,
			PointsPerSecond: 50_000, NewServicesPerHour: 500, NewRoutesPerHour: 500, NewSeriesPerHour: 20_000, ActiveSeries: 50_000,
		},
		Enterprise:   enterprise,
		Unregistered: enterprise,
		Key:          KeyQuota{SpansPerSecond: 1_000_000, BytesPerSecond: 1 << 30, NewTenantsPerHour: 10_000},
	}
}

// Of returns the quota of a plan; that of no plan is Unregistered.
func (q *Quotas) Of(p Plan) Quota {
	switch p {
	case Starter:
		return q.Starter
	case Professional:
		return q.Professional
	case Enterprise:
		return q.Enterprise
	}
	return q.Unregistered
}

// whom a setting is about, besides plans.
const (
	unregistered = "unregistered"
	eachKey      = "key"
)

// ParseQuotas returns the default quotas with settings of the form WHOM.NAME=VALUE applied, the later ones winning; empty
// ones are skipped. WHOM is a plan, "unregistered", or "key"; VALUE is a whole number, and 0 is no limit. The error is
// Invalid and names the setting.
func ParseQuotas(settings []string) (Quotas, error) {
	q := DefaultQuotas()
	for _, s := range settings {
		if strings.TrimSpace(s) == "" { // an environment variable that is set to nothing
			continue
		}
		if err := q.set(s); err != nil {
			return q, fmt.Errorf("cannot use quota %q: %w", s, err)
		}
	}
	return q, nil
}

// maxRate bounds rates, so that no sum of them overflows.
const maxRate = 1 << 40

func (q *Quotas) set(setting string) error {
	path, text, ok := strings.Cut(setting, "=")
	whom, name, dotted := strings.Cut(path, ".")
	if !ok || !dotted {
		return fault.InvalidField("setting", setting, "must be of the form WHOM.NAME=VALUE, such as starter.spans-per-second=5000")
	}
	whom, name, text = strings.TrimSpace(whom), strings.TrimSpace(name), strings.TrimSpace(text)
	fields := q.fields(whom)
	if fields == nil {
		return fault.InvalidField("whom", whom, "must be one of starter, professional, enterprise, %s or %s", unregistered, eachKey)
	}
	field, ok := fields[name]
	if !ok {
		return fault.InvalidField("limit of "+whom, name, "must be one of %s", strings.Join(sortedNames(fields), ", "))
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 || v > maxRate {
		return fault.InvalidField(path, text, "must be a whole number from 0, which is no limit, to %d", int64(maxRate))
	}
	if name == burstSeconds && (v < 1 || v > 3600) {
		return fault.InvalidField(path, text, "must be a whole number of seconds from 1 to 3600")
	}
	if name == hardLimit && v > 1_000_000 {
		return fault.InvalidField(path, text, "must be a multiple from 1 to 1000000, or 0, which refuses nothing")
	}
	*field = v
	return nil
}

const (
	burstSeconds = "burst-seconds"
	hardLimit    = "hard-limit"
)

func (q *Quotas) fields(whom string) map[string]*int64 {
	var p *Quota
	switch whom {
	case eachKey:
		return map[string]*int64{
			"spans-per-second": &q.Key.SpansPerSecond, "bytes-per-second": &q.Key.BytesPerSecond,
			"new-tenants-per-hour": &q.Key.NewTenantsPerHour,
		}
	case string(Starter):
		p = &q.Starter
	case string(Professional):
		p = &q.Professional
	case string(Enterprise):
		p = &q.Enterprise
	case unregistered:
		p = &q.Unregistered
	default:
		return nil
	}
	return quotaFields(p)
}

// quotaFields are the settings of a tenant's quota by their names.
func quotaFields(p *Quota) map[string]*int64 {
	return map[string]*int64{
		"spans-per-second": &p.SpansPerSecond, "bytes-per-second": &p.BytesPerSecond, burstSeconds: &p.BurstSeconds, hardLimit: &p.HardLimit,
		"points-per-second": &p.PointsPerSecond, "new-services-per-hour": &p.NewServicesPerHour, "new-routes-per-hour": &p.NewRoutesPerHour,
		"new-series-per-hour": &p.NewSeriesPerHour, "active-series": &p.ActiveSeries,
	}
}

func sortedNames(fields map[string]*int64) []string {
	names := make([]string, 0, len(fields))
	for n := range fields {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
