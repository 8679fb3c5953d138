package statuspage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/slo"
)

// SLOReader reads how SLOs stand; *slo.Reader does.
type SLOReader interface {
	// Snapshot returns every SLO for every tenant and for the fleet, a few seconds old.
	Snapshot(ctx context.Context) (*slo.Snapshot, error)
	// Days returns an SLO's counts of the last days, by UTC, today last.
	Days(ctx context.Context, name string, days int) ([]slo.DayCounts, error)
}

// barDays is how many days the bars show.
const barDays = 90

// measurement is what the SLOs said at one moment, without tenants.
type measurement struct {
	at   time.Time
	slos map[string]sloMeasurement
}

// sloMeasurement is what one SLO said.
type sloMeasurement struct {
	evidence Evidence
	allowed  float64 // share of failures that the objective allows
	days     []slo.DayCounts
	daysAt   time.Time
}

// daysAge is how long counts of days are taken from the last measurement: only today changes, and slowly.
const daysAge = time.Minute

// measure reads the SLOs by name. An SLO that there is none of is left out. Days come from last while they are fresh.
func measure(ctx context.Context, r SLOReader, names []string, last *measurement) (*measurement, error) {
	snap, err := r.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read how the SLOs stand: %w", err)
	}
	m := &measurement{at: snap.At, slos: map[string]sloMeasurement{}}
	for i := range snap.Fleet {
		f := &snap.Fleet[i]
		if !slices.Contains(names, f.SLO) {
			continue
		}
		s := sloMeasurement{evidence: evidenceOf(snap, f), allowed: 1 - f.Target.Fraction()}
		if last != nil {
			was := last.slos[f.SLO]
			s.days, s.daysAt = was.days, was.daysAt
		}
		if now := time.Now(); now.Sub(s.daysAt) > daysAge || now.UTC().Day() != s.daysAt.UTC().Day() {
			days, err := r.Days(ctx, f.SLO, barDays)
			if fault.Is(err, fault.NotFound) {
				continue // deleted since
			}
			if err != nil {
				return nil, fmt.Errorf("cannot read the days of SLO %q: %w", f.SLO, err)
			}
			s.days, s.daysAt = days, now
		}
		m.slos[f.SLO] = s
	}
	return m, nil
}

// evidenceOf takes the numbers of the fleet from a snapshot; how many tenants burn is all it takes of tenants.
func evidenceOf(snap *slo.Snapshot, fleet *slo.Status) Evidence {
	var e Evidence
	for i := range snap.SLOs {
		if snap.SLOs[i].Name == fleet.SLO {
			e.Kind = snap.SLOs[i].Kind
		}
	}
	e.Paging = fleet.State == slo.StatePage
	for _, b := range fleet.BurnRates {
		e.Windows = append(e.Windows, Window{b.Short, b.ShortCounts}, Window{b.Long, b.LongCounts})
	}
	e.Windows = slices.DeleteFunc(e.Windows, func(w Window) bool { return w.Length > maxEvidenceAge })
	slices.SortFunc(e.Windows, func(a, b Window) int { return int(a.Length - b.Length) })
	for i := range snap.Statuses {
		s := &snap.Statuses[i]
		if s.SLO != fleet.SLO || s.Total == 0 {
			continue
		}
		e.Tenants++
		if s.State == slo.StatePage {
			e.TenantsPaging++
		}
	}
	return e
}

// records is what PostgreSQL says at one moment.
type records struct {
	at         time.Time
	components []Component
	incidents  []Incident
	changelog  []Entry
}

// sloNames returns the names of all SLOs that components follow.
func (r *records) sloNames() []string {
	var names []string
	for _, c := range r.components {
		names = append(names, c.SLOs...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *Service) readRecords(ctx context.Context) (*records, error) {
	r := &records{at: time.Now()}
	var errs [3]error
	r.components, errs[0] = queryComponents(ctx, s.o.Pool)
	if errs[0] == nil {
		r.incidents, errs[1] = queryIncidents(ctx, s.o.Pool, s.o.MaxIncidents, "")
	}
	if errs[0] == nil && errs[1] == nil {
		r.changelog, errs[2] = queryEntries(ctx, s.o.Pool, s.o.MaxEntries)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return r, nil
}
