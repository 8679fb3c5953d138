package alerting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/tenant"
)

// observeLock is the key of the advisory lock that lets one observation in at a time, from whichever process.
const observeLock = 0x616c657274 // "alert"

// maxAhead is how far the clock of a process that observes may go before PostgreSQL's. The mark of one that went
// further would make all others look late, so it is not believed.
const maxAhead = time.Minute

// Observe compares what fires now with what is open, stores the difference and queues what people are to be told, in
// one transaction: an error means that nothing happened, and the same observation can be given again. One that is not
// newer than the last changes nothing. Conditions that no alert can be made of are logged and left out.
func (s *Service) Observe(ctx context.Context, o Observation) error {
	o.At = o.At.Truncate(time.Microsecond) // what PostgreSQL keeps
	groups, bad := group(o.Firing)
	if len(bad) > 0 {
		s.metrics.ignored.Add(float64(len(bad)))
		s.log.ErrorContext(ctx, "conditions were left out", "count", len(bad), "error", errors.Join(bad[:min(len(bad), 3)]...))
	}
	names := s.names(ctx)
	var open []*Alert
	late := false
	err := s.acrossTenants(ctx, func(tx pgx.Tx) (err error) {
		if late, err = s.late(ctx, tx, o.At); late || err != nil {
			return err
		}
		if open, err = loadOpen(ctx, tx, groups, o.At.Add(-s.ReopenWithin)); err != nil {
			return err
		}
		open, err = s.apply(ctx, tx, &o, open, maps.Clone(groups), names)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("cannot store an observation of %d conditions: %w", len(o.Firing), err)
	case !late:
		s.metrics.count(open)
		s.metrics.observed.Set(float64(o.At.UnixMilli()) / 1000)
	}
	return nil
}

// late waits for its turn and reports whether a newer observation was here before.
func (s *Service) late(ctx context.Context, tx pgx.Tx, at time.Time) (bool, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, observeLock); err != nil {
		return false, fmt.Errorf("cannot wait for other observations: %w", err)
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO control.alert_observations AS last (observed_at) VALUES ($1)
		ON CONFLICT (single_row) DO UPDATE SET observed_at = excluded.observed_at
		WHERE last.observed_at < excluded.observed_at OR last.observed_at > clock_timestamp() + make_interval(secs => $2)`,
		at, maxAhead.Seconds())
	if err != nil {
		return false, fmt.Errorf("cannot note the observation: %w", err)
	}
	return tag.RowsAffected() == 0, nil
}

// apply brings the alerts to what was observed. Known are all that are open and those that may open again; what is
// left in groups afterwards was opened. It returns both.
func (s *Service) apply(ctx context.Context, tx pgx.Tx, o *Observation, known []*Alert, groups map[groupKey][]Condition,
	names map[tenant.ID]string) ([]*Alert, error) {
	for _, a := range known {
		k := groupKey{a.Rule, a.Severity}
		firing := groups[k]
		delete(groups, k)
		e := a.observe(firing, o, s.RefreshEvery)
		if err := save(ctx, tx, a, false); err != nil {
			return nil, err
		}
		if err := s.notify(ctx, tx, a, e, names); err != nil {
			return nil, err
		}
	}
	for _, k := range ordered(groups) {
		a := openAlert(groups[k], o.At)
		if err := save(ctx, tx, a, true); err != nil {
			return nil, err
		}
		if err := s.notify(ctx, tx, a, opened, names); err != nil {
			return nil, err
		}
		known = append(known, a)
	}
	return known, nil
}

// ordered puts pages before tickets, so that they are told first.
func ordered(groups map[groupKey][]Condition) []groupKey {
	keys := make([]groupKey, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y groupKey) int {
		return cmp.Or(cmp.Compare(x.severity, y.severity), cmp.Compare(x.rule, y.rule))
	})
	return keys
}
