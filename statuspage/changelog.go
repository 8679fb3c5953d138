package statuspage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// EntryType says what kind of change an entry tells, in the words of Keep a Changelog.
type EntryType string

// The types.
const (
	Added      EntryType = "added"
	Changed    EntryType = "changed"
	Fixed      EntryType = "fixed"
	Deprecated EntryType = "deprecated"
	Removed    EntryType = "removed"
	Security   EntryType = "security"
)

var entryTypes = []EntryType{Added, Changed, Fixed, Deprecated, Removed, Security}

// Word returns the type as pages say it.
func (t EntryType) Word() string {
	words := [...]string{"Added", "Changed", "Fixed", "Deprecated", "Removed", "Security"}
	if i := slices.Index(entryTypes, t); i >= 0 {
		return words[i]
	}
	return string(t)
}

// Entry is one entry of the changelog.
type Entry struct {
	ID          string     `json:"id" db:"id"`
	Title       string     `json:"title" db:"title"`
	Body        string     `json:"body" db:"body"` // Markdown
	Type        EntryType  `json:"type" db:"type"`
	Product     string     `json:"product" db:"product"`
	Version     string     `json:"version" db:"version"`
	PublishedAt time.Time  `json:"published_at" db:"published_at"` // shown from then on
	EffectiveAt *time.Time `json:"effective_at" db:"effective_at"` // when a deprecation or removal takes effect
	CreatedAt   time.Time  `json:"created_at" db:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at" db:"updated_at"`
}

func (e *Entry) check() error {
	var m mistakes
	m.id("id", e.ID)
	m.line("title", e.Title, maxName, true)
	m.text("body", e.Body, maxText, false)
	m.line("product", e.Product, maxName, false)
	m.line("version", e.Version, maxName, false)
	if !slices.Contains(entryTypes, e.Type) {
		m.add(fault.InvalidField("type", string(e.Type), "must be one of added, changed, fixed, deprecated, removed, security"))
	}
	for field, t := range map[string]*time.Time{"published_at": &e.PublishedAt, "effective_at": e.EffectiveAt} {
		if t != nil && (t.Year() < 1990 || t.Year() > 2200) {
			m.add(fault.InvalidField(field, t.Format(time.RFC3339), "is not a plausible time"))
		}
	}
	return m.err()
}

const entryColumns = `id, title, body, type, product, version, published_at, effective_at, created_at, updated_at`

// Changelog returns the newest limit entries, also those whose time has not come.
func (s *Service) Changelog(ctx context.Context, limit int) ([]Entry, error) {
	return queryEntries(ctx, s.o.Pool, limit)
}

func queryEntries(ctx context.Context, db querier, limit int) ([]Entry, error) {
	rows, err := db.Query(ctx, `SELECT `+entryColumns+` FROM control.changelog_entries ORDER BY published_at DESC, id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot read the changelog: %w", postgres.Translate(err))
	}
	es, err := pgx.CollectRows(rows, pgx.RowToStructByName[Entry])
	if err != nil {
		return nil, fmt.Errorf("cannot read the changelog: %w", postgres.Translate(err))
	}
	return es, nil
}

// CreateEntry adds an entry, with an id made of its title unless it has one.
func (s *Service) CreateEntry(ctx context.Context, actor string, e Entry) (Entry, error) {
	if e.ID == "" {
		if e.ID = slug(e.Title); e.ID == "" {
			e.ID = randomID()
		}
	}
	return s.storeEntry(ctx, actor, e, false)
}

// PutEntry adds an entry or replaces the one with its id.
func (s *Service) PutEntry(ctx context.Context, actor string, e Entry) (Entry, error) {
	return s.storeEntry(ctx, actor, e, true)
}

func (s *Service) storeEntry(ctx context.Context, actor string, e Entry, replace bool) (Entry, error) {
	published := &e.PublishedAt // none is now for a new entry, and as it was for one that is replaced
	if e.PublishedAt.IsZero() {
		published, e.PublishedAt = nil, time.Now().UTC()
	}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		before, err := lockRow[Entry](ctx, tx, `SELECT `+entryColumns+` FROM control.changelog_entries WHERE id = $1 FOR UPDATE`, e.ID)
		if err != nil {
			return fmt.Errorf("cannot read changelog entry %q: %w", e.ID, err)
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO control.changelog_entries AS e (id, title, body, type, product, version, published_at, effective_at)
			VALUES ($1, $2, $3, $4, $5, $6, COALESCE($7::timestamptz, now()), $8)
			ON CONFLICT (id) DO UPDATE SET title = excluded.title, body = excluded.body, type = excluded.type,
				product = excluded.product, version = excluded.version,
				published_at = COALESCE($7::timestamptz, e.published_at), effective_at = excluded.effective_at,
				updated_at = CASE WHEN (e.title, e.body, e.type, e.product, e.version, e.effective_at, e.published_at)
					IS DISTINCT FROM (excluded.title, excluded.body, excluded.type, excluded.product, excluded.version,
						excluded.effective_at, COALESCE($7::timestamptz, e.published_at))
					THEN now() ELSE e.updated_at END
			WHERE $9
			RETURNING `+entryColumns,
			e.ID, e.Title, e.Body, e.Type, e.Product, e.Version, published, e.EffectiveAt, replace)
		if err != nil {
			return fmt.Errorf("cannot store changelog entry %q: %w", e.ID, err)
		}
		stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[Entry])
		if err != nil {
			return fmt.Errorf("cannot store changelog entry %q: %w", e.ID, err)
		}
		if len(stored) == 0 {
			return &fault.Error{Kind: fault.Conflict, Field: "id", Value: e.ID, Message: "is taken by another entry"}
		}
		e = stored[0]
		if before != nil && before.UpdatedAt.Equal(e.UpdatedAt) {
			return nil
		}
		return audit(ctx, tx, actor, "changelog.put", e.ID, before, e)
	})
	if err != nil {
		return Entry{}, err
	}
	s.changed()
	return e, nil
}

// DeleteEntry deletes an entry.
func (s *Service) DeleteEntry(ctx context.Context, actor, id string) error {
	err := postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		before, err := lockRow[Entry](ctx, tx, `DELETE FROM control.changelog_entries WHERE id = $1 RETURNING `+entryColumns, id)
		if err != nil {
			return fmt.Errorf("cannot delete changelog entry %q: %w", id, err)
		}
		if before == nil {
			return notFound("changelog entry", id)
		}
		return audit(ctx, tx, actor, "changelog.delete", id, before, nil)
	})
	if err == nil {
		s.changed()
	}
	return err
}
