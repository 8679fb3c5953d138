package statuspage

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Component is a part of the operator's product as customers know it.
type Component struct {
	ID           string    `json:"id" db:"id"` // stands in addresses and in Statuspage's JSON; never changes
	Name         string    `json:"name" db:"name"`
	Description  string    `json:"description" db:"description"`
	Group        string    `json:"group" db:"group_name"`
	Position     int       `json:"position" db:"position"` // in its group; groups stand in the order of their first component
	Product      string    `json:"product" db:"product"`
	SLOs         []string  `json:"slos" db:"slos"` // whose state and uptime it shows; without any it is Working unless somebody says otherwise
	Visible      bool      `json:"visible" db:"visible"`
	ManualStatus *Status   `json:"manual_status" db:"manual_status"` // wins over everything while it is set
	CreatedAt    time.Time `json:"created_at" db:"created_at"`
	UpdatedAt    time.Time `json:"updated_at" db:"updated_at"`
}

// Limits of what the page holds.
const (
	maxComponents = 200
	maxName       = 200    // bytes
	maxText       = 20_000 // bytes
	maxShort      = 500    // bytes
)

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (c *Component) check() error {
	var m mistakes
	m.id("id", c.ID)
	m.line("name", c.Name, maxName, true)
	m.line("description", c.Description, maxShort, false)
	m.line("group", c.Group, maxName, false)
	m.line("product", c.Product, maxName, false)
	if c.Position < 0 || c.Position > 1_000_000 {
		m.add(fault.InvalidField("position", fmt.Sprint(c.Position), "must be between 0 and 1000000"))
	}
	if len(c.SLOs) > 20 {
		m.add(fault.InvalidField("slos", fmt.Sprint(len(c.SLOs)), "has more than 20 members"))
	}
	for i, s := range c.SLOs {
		m.line(fmt.Sprintf("slos[%d]", i), s, maxName, true)
	}
	if c.ManualStatus != nil {
		_, err := parseStatus("manual_status", string(*c.ManualStatus))
		m.add(err)
	}
	return m.err()
}

const componentColumns = `id, name, description, group_name, position, product, slos, visible, manual_status, created_at, updated_at`

// Components returns all components in the order of the page, also those that are not visible.
func (s *Service) Components(ctx context.Context) ([]Component, error) {
	return queryComponents(ctx, s.o.Pool)
}

func queryComponents(ctx context.Context, db querier) ([]Component, error) {
	rows, err := db.Query(ctx, `
		SELECT `+componentColumns+`
		FROM (SELECT *, min(position) OVER (PARTITION BY group_name) AS first FROM control.components) c
		ORDER BY first, group_name, position, name`)
	if err != nil {
		return nil, fmt.Errorf("cannot read the components: %w", postgres.Translate(err))
	}
	cs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Component])
	if err != nil {
		return nil, fmt.Errorf("cannot read the components: %w", postgres.Translate(err))
	}
	return cs, nil
}

// Component returns one component; the error is NotFound when there is none.
func (s *Service) Component(ctx context.Context, id string) (Component, error) {
	rows, err := s.o.Pool.Query(ctx, `SELECT `+componentColumns+` FROM control.components WHERE id = $1`, id)
	if err != nil {
		return Component{}, postgres.Translate(err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Component])
	return c, missing(err, "component", id)
}

// PutComponent creates a component or replaces the one with its id, and writes it to the audit log.
func (s *Service) PutComponent(ctx context.Context, actor string, c Component) (Component, error) {
	return s.storeComponent(ctx, actor, c, true)
}

// CreateComponent creates a component, with an id made of its name unless it has one. The error is a Conflict when the id
// or the name in its group is taken.
func (s *Service) CreateComponent(ctx context.Context, actor string, c Component) (Component, error) {
	if c.ID == "" {
		c.ID = slug(c.Name)
	}
	return s.storeComponent(ctx, actor, c, false)
}

func (s *Service) storeComponent(ctx context.Context, actor string, c Component, replace bool) (Component, error) {
	if c.SLOs == nil {
		c.SLOs = []string{}
	}
	if err := c.check(); err != nil {
		return Component{}, err
	}
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		var count int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM control.components WHERE id <> $1`, c.ID).Scan(&count); err != nil {
			return fmt.Errorf("cannot count the components: %w", err)
		}
		if count >= maxComponents {
			return fault.New(fault.Conflict, "there are %d components already, and a page of more helps nobody", count)
		}
		before, err := lockRow[Component](ctx, tx, `SELECT `+componentColumns+` FROM control.components WHERE id = $1 FOR UPDATE`, c.ID)
		if err != nil {
			return fmt.Errorf("cannot read component %q: %w", c.ID, err)
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO control.components AS c (id, name, description, group_name, position, product, slos, visible, manual_status)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description,
				group_name = excluded.group_name, position = excluded.position, product = excluded.product,
				slos = excluded.slos, visible = excluded.visible, manual_status = excluded.manual_status,
				updated_at = CASE WHEN (c.name, c.description, c.group_name, c.position, c.product, c.slos, c.visible, c.manual_status)
					IS DISTINCT FROM (excluded.name, excluded.description, excluded.group_name, excluded.position,
						excluded.product, excluded.slos, excluded.visible, excluded.manual_status)
					THEN now() ELSE c.updated_at END
			WHERE $10
			RETURNING `+componentColumns,
			c.ID, c.Name, c.Description, c.Group, c.Position, c.Product, c.SLOs, c.Visible, c.ManualStatus, replace)
		if err != nil {
			return fmt.Errorf("cannot store component %q: %w", c.ID, err)
		}
		stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[Component])
		if err != nil {
			if conflicts(err, "components_name_in_group") {
				return &fault.Error{Kind: fault.Conflict, Field: "name", Value: c.Name, Message: "is taken by another component of its group"}
			}
			return fmt.Errorf("cannot store component %q: %w", c.ID, err)
		}
		if len(stored) == 0 {
			return &fault.Error{Kind: fault.Conflict, Field: "id", Value: c.ID, Message: "is taken by another component"}
		}
		c = stored[0]
		if before != nil && before.UpdatedAt.Equal(c.UpdatedAt) {
			return nil
		}
		return audit(ctx, tx, actor, "component.put", c.ID, before, c)
	})
	if err != nil {
		return Component{}, err
	}
	s.changed()
	return c, nil
}

// DeleteComponent deletes a component. One that an incident names cannot go, because the past would change with it.
func (s *Service) DeleteComponent(ctx context.Context, actor, id string) error {
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		var named int
		err := tx.QueryRow(ctx, `
			SELECT count(DISTINCT incident_id) FROM control.incident_updates
			WHERE affected @> jsonb_build_array(jsonb_build_object('component', $1::text))`, id).Scan(&named)
		if err != nil {
			return fmt.Errorf("cannot look for incidents of component %q: %w", id, err)
		}
		if named > 0 {
			return &fault.Error{Kind: fault.Conflict, Field: "id", Value: id,
				Message: fmt.Sprintf("is named by %d incidents; set visible to false instead", named)}
		}
		before, err := lockRow[Component](ctx, tx, `DELETE FROM control.components WHERE id = $1 RETURNING `+componentColumns, id)
		if err != nil {
			return fmt.Errorf("cannot delete component %q: %w", id, err)
		}
		if before == nil {
			return notFound("component", id)
		}
		return audit(ctx, tx, actor, "component.delete", id, before, nil)
	})
	if err == nil {
		s.changed()
	}
	return err
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slug makes an id of a name: lower case, hyphens for everything else, at most 48 bytes. It may be empty.
func slug(name string) string {
	s := notSlug.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(s[:min(len(s), 48)], "-")
}
