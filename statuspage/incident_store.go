package statuspage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// NewIncident is an incident to be opened with its first update.
type NewIncident struct {
	Name      string
	Impact    Impact    // empty is the one that fits the worst affected component
	Origin    Origin    // empty is Manual
	StartedAt time.Time // zero is the time of the first update
	First     NewUpdate
}

// IncidentChange is what may be corrected of an incident; nil fields stay.
type IncidentChange struct {
	Name      *string
	Impact    *Impact
	StartedAt *time.Time
}

const incidentColumns = `id, name, impact, status, origin, started_at, monitoring_at, resolved_at, created_at, updated_at`

// Incidents returns the newest limit incidents with their updates, open ones always among them.
func (s *Service) Incidents(ctx context.Context, limit int) ([]Incident, error) {
	return queryIncidents(ctx, s.o.Pool, limit, "")
}

// Incident returns one incident; the error is NotFound when there is none.
func (s *Service) Incident(ctx context.Context, id string) (Incident, error) {
	return oneIncident(ctx, s.o.Pool, id)
}

func oneIncident(ctx context.Context, db querier, id string) (Incident, error) {
	is, err := queryIncidents(ctx, db, 1, id)
	if err != nil {
		return Incident{}, err
	}
	if len(is) == 0 {
		return Incident{}, notFound("incident", id)
	}
	return is[0], nil
}

// queryIncidents reads one incident, or without an id the newest ones and all that are open.
func queryIncidents(ctx context.Context, db querier, limit int, id string) ([]Incident, error) {
	rows, err := db.Query(ctx, `
		SELECT `+incidentColumns+` FROM control.incidents
		WHERE CASE WHEN $2 <> '' THEN id = $2
			ELSE resolved_at IS NULL OR id IN (SELECT id FROM control.incidents ORDER BY started_at DESC, id LIMIT $1) END
		ORDER BY started_at DESC, id`, limit, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read the incidents: %w", postgres.Translate(err))
	}
	is, err := pgx.CollectRows(rows, pgx.RowToStructByName[Incident])
	if err != nil {
		return nil, fmt.Errorf("cannot read the incidents: %w", postgres.Translate(err))
	}
	place, ids := make(map[string]*Incident, len(is)), make([]string, 0, len(is))
	for n := range is {
		is[n].Updates = []IncidentUpdate{}
		place[is[n].ID], ids = &is[n], append(ids, is[n].ID)
	}
	rows, err = db.Query(ctx, `
		SELECT id, incident_id, status, body, display_at, affected, created_at, updated_at
		FROM control.incident_updates WHERE incident_id = ANY($1) ORDER BY display_at DESC, created_at DESC, id DESC`, ids)
	if err != nil {
		return nil, fmt.Errorf("cannot read the updates of incidents: %w", postgres.Translate(err))
	}
	us, err := pgx.CollectRows(rows, pgx.RowToStructByName[IncidentUpdate])
	if err != nil {
		return nil, fmt.Errorf("cannot read the updates of incidents: %w", postgres.Translate(err))
	}
	for _, u := range us {
		place[u.IncidentID].Updates = append(place[u.IncidentID].Updates, u)
	}
	return is, nil
}

// OpenIncident publishes an incident with its first update, and writes it to the audit log.
func (s *Service) OpenIncident(ctx context.Context, actor string, n NewIncident) (Incident, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if n.First.Status == "" {
		n.First.Status = Investigating
	}
	if n.First.DisplayAt.IsZero() {
		n.First.DisplayAt = now
	}
	if n.StartedAt.IsZero() {
		n.StartedAt = n.First.DisplayAt
	}
	if n.Origin == "" {
		n.Origin = Manual
	}
	i := Incident{
		ID: randomID(), Name: n.Name, Impact: n.Impact, Status: n.First.Status, Origin: n.Origin, StartedAt: n.StartedAt,
		CreatedAt: now, UpdatedAt: now,
	}
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		known, err := knownComponents(ctx, tx)
		if err != nil {
			return err
		}
		if err := checkIncident(n, now, known); err != nil {
			return err
		}
		i.Updates = []IncidentUpdate{newUpdate(i.ID, n.First, now)}
		if i.Impact == "" {
			i.Impact = impactOf(i.worst())
		}
		i.follow()
		_, err = tx.Exec(ctx, `
			INSERT INTO control.incidents (`+incidentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			i.ID, i.Name, i.Impact, i.Status, i.Origin, i.StartedAt, i.MonitoringAt, i.ResolvedAt, i.CreatedAt, i.UpdatedAt)
		if err != nil {
			return fmt.Errorf("cannot store incident %q: %w", i.Name, err)
		}
		if err := insertUpdate(ctx, tx, i.Updates[0]); err != nil {
			return err
		}
		return audit(ctx, tx, actor, "incident.open", i.ID, nil, i)
	})
	if err != nil {
		return Incident{}, err
	}
	s.changed()
	return i, nil
}

func checkIncident(n NewIncident, now time.Time, known map[string]bool) error {
	var m mistakes
	m.line("name", n.Name, maxName, true)
	if n.Impact != "" {
		_, err := parseImpact("impact", string(n.Impact))
		m.add(err)
	}
	if n.StartedAt.After(now.Add(clockSkew)) {
		m.add(fault.InvalidField("started_at", n.StartedAt.UTC().Format(time.RFC3339), "is in the future"))
	}
	m.join(n.First.check(nil, n.StartedAt, now, known))
	return m.err()
}

// AddUpdate publishes a further update of an incident. See NewUpdate for what a resolved one takes.
func (s *Service) AddUpdate(ctx context.Context, actor, id string, n NewUpdate) (Incident, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if n.DisplayAt.IsZero() {
		n.DisplayAt = now
	}
	var i Incident
	err := s.changeIncident(ctx, id, func(tx pgx.Tx, in *Incident) error {
		known, err := knownComponents(ctx, tx)
		if err != nil {
			return err
		}
		if err := n.check(in, in.StartedAt, now, known); err != nil {
			return err
		}
		if n.Status == Resolved { // what it said of components ends with it
			for c, st := range in.affectedNow() {
				if st != Operational && !names(n.Affected, c) {
					n.Affected = append(n.Affected, Affected{Component: c, Status: Operational})
				}
			}
		}
		u := newUpdate(id, n, now)
		if err := insertUpdate(ctx, tx, u); err != nil {
			return err
		}
		was := in.Status
		in.Updates = append([]IncidentUpdate{u}, in.Updates...)
		in.follow()
		in.UpdatedAt = now
		i = *in
		return audit(ctx, tx, actor, "incident.update", id, map[string]any{"name": in.Name, "status": was}, u)
	})
	return i, err
}

// ChangeIncident corrects an incident's name, impact or beginning, and writes old and new to the audit log.
func (s *Service) ChangeIncident(ctx context.Context, actor, id string, c IncidentChange) (Incident, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	var i Incident
	err := s.changeIncident(ctx, id, func(tx pgx.Tx, in *Incident) error {
		was := *in
		var m mistakes
		if c.Name != nil {
			m.line("name", *c.Name, maxName, true)
			in.Name = *c.Name
		}
		if c.Impact != nil {
			_, err := parseImpact("impact", string(*c.Impact))
			m.add(err)
			in.Impact = *c.Impact
		}
		if c.StartedAt != nil {
			at := c.StartedAt.UTC().Format(time.RFC3339)
			if first := in.Updates[len(in.Updates)-1].DisplayAt; c.StartedAt.After(first) {
				m.add(fault.InvalidField("started_at", at, "is after the first update of %s", first.UTC().Format(time.RFC3339)))
			}
			in.StartedAt = c.StartedAt.Truncate(time.Microsecond)
		}
		if err := m.err(); err != nil {
			return err
		}
		if in.Name == was.Name && in.Impact == was.Impact && in.StartedAt.Equal(was.StartedAt) {
			i = was
			return nil
		}
		in.UpdatedAt = now
		i = *in
		return audit(ctx, tx, actor, "incident.change", id,
			map[string]any{"name": was.Name, "impact": was.Impact, "started_at": was.StartedAt},
			map[string]any{"name": in.Name, "impact": in.Impact, "started_at": in.StartedAt})
	})
	return i, err
}

// changeIncident locks an incident, lets f change it and stores what f left. Two writers go one after the other.
func (s *Service) changeIncident(ctx context.Context, id string, f func(tx pgx.Tx, i *Incident) error) error {
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		var locked string
		err := tx.QueryRow(ctx, `SELECT id FROM control.incidents WHERE id = $1 FOR UPDATE`, id).Scan(&locked)
		if err := missing(err, "incident", id); err != nil {
			return err
		}
		i, err := oneIncident(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := f(tx, &i); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE control.incidents
			SET name = $2, impact = $3, status = $4, started_at = $5, monitoring_at = $6, resolved_at = $7, updated_at = $8
			WHERE id = $1`, id, i.Name, i.Impact, i.Status, i.StartedAt, i.MonitoringAt, i.ResolvedAt, i.UpdatedAt)
		if err != nil {
			return fmt.Errorf("cannot store incident %q: %w", id, err)
		}
		return nil
	})
	if err == nil {
		s.changed()
	}
	return err
}

func newUpdate(incident string, n NewUpdate, now time.Time) IncidentUpdate {
	if n.Affected == nil {
		n.Affected = []Affected{}
	}
	return IncidentUpdate{ID: randomID(), IncidentID: incident, Status: n.Status, Body: n.Body, DisplayAt: n.DisplayAt.UTC(),
		Affected: n.Affected, CreatedAt: now, UpdatedAt: now}
}

func insertUpdate(ctx context.Context, tx pgx.Tx, u IncidentUpdate) error {
	affected, err := json.Marshal(u.Affected)
	if err != nil {
		return fmt.Errorf("cannot encode the components of an update: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO control.incident_updates (id, incident_id, status, body, display_at, affected, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, u.ID, u.IncidentID, u.Status, u.Body, u.DisplayAt, affected, u.CreatedAt, u.UpdatedAt)
	if err != nil {
		return fmt.Errorf("cannot store an update of incident %q: %w", u.IncidentID, err)
	}
	return nil
}

func knownComponents(ctx context.Context, db querier) (map[string]bool, error) {
	rows, err := db.Query(ctx, `SELECT id FROM control.components`)
	if err != nil {
		return nil, fmt.Errorf("cannot read the components: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("cannot read the components: %w", err)
	}
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	return known, nil
}

func names(as []Affected, component string) bool {
	for _, a := range as {
		if a.Component == component {
			return true
		}
	}
	return false
}
