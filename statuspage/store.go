package statuspage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// randomID returns 12 characters of a-z and 2-7: 60 bits, so that nobody finds an incident by trying.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }

// audit records who did what; it belongs into the transaction of the change.
func audit(ctx context.Context, tx pgx.Tx, actor, action, object string, detail any) error {
	if detail == nil {
		detail = struct{}{}
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("cannot encode the audit entry of %s: %w", action, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO control.audit_log (actor, action, object, detail) VALUES ($1, $2, $3, $4)`,
		actor, action, object, b)
	if err != nil {
		return fmt.Errorf("cannot write the audit entry of %s: %w", action, err)
	}
	return nil
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
