package statuspage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
	"github.com/nexis-limited/headroom/tenant"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// randomID returns 12 characters of a-z and 2-7: 60 bits, so that nobody finds an incident by trying.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }

// audit records who did what; it belongs into the transaction of the change. Before and after are the resource, nil for
// none.
func audit(ctx context.Context, tx pgx.Tx, actor, action, id string, before, after any) error {
	return tenant.Audit(ctx, tx, tenant.AuditEntry{Action: action, Resource: id, Before: before, After: after, Actor: actor})
}

// lockRow runs a query for one row by its id, and returns nil when there is none.
func lockRow[T any](ctx context.Context, tx pgx.Tx, sql, id string) (*T, error) {
	rows, err := tx.Query(ctx, sql, id)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[T])
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func notFound(what, id string) error {
	return &fault.Error{Kind: fault.NotFound, Field: "id", Value: id, Message: "no such " + what}
}

// missing names the thing in the error of a query that found no row.
func missing(err error, what, id string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound(what, id)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s %q: %w", what, id, postgres.Translate(err))
	}
	return nil
}

func conflicts(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}

// mistakes collects what is wrong with an input, so that a person mends it all at once.
type mistakes struct{ list fault.List }

func (m *mistakes) add(err error) {
	var e *fault.Error
	if errors.As(err, &e) {
		m.list = append(m.list, e)
	}
}

// join adds what another check found.
func (m *mistakes) join(err error) {
	var list fault.List
	if errors.As(err, &list) {
		m.list = append(m.list, list...)
		return
	}
	m.add(err)
}

func (m *mistakes) err() error {
	switch len(m.list) {
	case 0:
		return nil
	case 1:
		return m.list[0]
	}
	return m.list
}

func (m *mistakes) id(field, s string) {
	if !idPattern.MatchString(s) {
		m.add(fault.InvalidField(field, s, "must be lower-case letters, digits and hyphens, at most 63, not beginning with a hyphen"))
	}
}

// line checks a text of one line.
func (m *mistakes) line(field, s string, maxLen int, required bool) {
	m.text(field, s, maxLen, required)
	if strings.ContainsFunc(s, unicode.IsControl) {
		m.add(fault.InvalidField(field, s, "must be one line without control characters"))
	}
}

// text checks a text of any number of lines.
func (m *mistakes) text(field, s string, maxLen int, required bool) {
	switch {
	case required && strings.TrimSpace(s) == "":
		m.add(fault.InvalidField(field, s, "must not be empty"))
	case len(s) > maxLen:
		m.add(fault.InvalidField(field, s, "is longer than %d bytes", maxLen))
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		m.add(fault.InvalidField(field, s, "must be valid UTF-8 without zero bytes"))
	}
}
