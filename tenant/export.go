package tenant

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// Exports writes all that is stored of a tenant, in both databases, into an archive. It is safe for concurrent use.
type Exports struct {
	pool    *pgxpool.Pool
	ch      *clickhouse.HTTP
	version string
	limit   time.Duration // maxExportTime
	places  chan struct{}

	mu      sync.Mutex
	running map[ID]bool
}

const (
	// maxExports is how many run at once in a process, each of another tenant: each reads as much as ClickHouse gives.
	maxExports = 2
	// maxExportTime bounds an export, however slowly it is read: it has one of the places and, while it reads PostgreSQL, a snapshot
	// that keeps vacuum from what is dead since.
	maxExportTime = 2 * time.Hour
)

// NewExports returns the exports of two databases by this version of headroom.
func NewExports(pool *pgxpool.Pool, ch *clickhouse.HTTP, version string) *Exports {
	return &Exports{pool: pool, ch: ch, version: version, limit: maxExportTime, places: make(chan struct{}, maxExports), running: make(map[ID]bool)}
}

// exportNotes explain an archive to who opens it.
var exportNotes = []string{
	"Every file of rows is NDJSON: a JSON object a line. Numbers of 64 bits in ClickHouse's tables are strings, NaN and infinities are \"nan\", \"inf\", \"-inf\".",
	"Columns of type FixedString are in hexadecimal digits. States of aggregate functions are given as their results.",
	"Rollups (_1m, _1h) are included, a row for each key. Bytes that are not UTF-8 are U+FFFD: in trace_spans they stand between attributes, which the columns attributes and resource have apart.",
	"Columns named in left_out hold secrets or hashes of them, or are the operator's own. In the audit log the operator's people are \"operator\".",
	"An archive whose last file is not SHA256SUMS is incomplete. \"headroom tenant verify\" checks it, and so does \"sha256sum -c SHA256SUMS\" when it is unpacked.",
}

// Begin takes a place for an export and makes sure that there is something to export; the caller must call the function that it
// returns, which writes the archive to w and lets others have the place. After an error what was written is incomplete, and
// does not pass Verify.
func (e *Exports) Begin(ctx context.Context, id ID) (write func(w io.Writer) error, err error) {
	if id == Untagged {
		return nil, fault.InvalidField("tenant", "", "must not be empty")
	}
	if _, err := ParseID(string(id)); err != nil {
		return nil, err
	}
	held, err := clickhouseHoldings(ctx, e.ch)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "ClickHouse does not answer")
	}
	if err := e.take(id); err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		defer e.give(id)
		ctx, cancel := context.WithTimeoutCause(ctx, e.limit, fault.New(fault.Unavailable, "the export took longer than %s", e.limit))
		defer cancel()
		err := e.write(ctx, id, held, bounded{ctx, w})
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
			return cause
		}
		return err
	}, nil
}

// take gets a place for an export of the tenant.
func (e *Exports) take(id ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[id] {
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Minute, Message: "another export of this tenant is running"}
	}
	select {
	case e.places <- struct{}{}:
	default:
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: time.Minute, Message: "other exports are running"}
	}
	e.running[id] = true
	return nil
}

func (e *Exports) give(id ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, id)
	<-e.places
}

// bounded writes until its context ends. It does not end a Write: who passes w on bounds that.
type bounded struct {
	ctx context.Context
	w   io.Writer
}

func (b bounded) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.w.Write(p)
}

func (e *Exports) write(ctx context.Context, id ID, held []holding, w io.Writer) error {
	var a *archive
	err := postgres.InTenantSnapshot(ctx, e.pool, id, func(tx pgx.Tx) error {
		m := Manifest{Format: ExportFormat, Tenant: id, Headroom: e.version, Notes: exportNotes}
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&m.At); err != nil {
			return err
		}
		m.At = m.At.UTC().Truncate(time.Millisecond)
		var err error
		if a, err = newArchive(w, m); err != nil {
			return err
		}
		control, err := postgresHoldings(ctx, tx, id)
		if err != nil {
			return err
		}
		for i := range control {
			if err := exportPostgres(ctx, tx, id, &control[i], a); err != nil {
				return fmt.Errorf("cannot export %s: %w", &control[i], err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The snapshot has ended by now: ClickHouse has the most, and needs only its instant.
	for i := range held {
		if err := e.exportClickHouse(ctx, id, &held[i], a); err != nil {
			return fmt.Errorf("cannot export %s: %w", &held[i], err)
		}
	}
	return a.close()
}

// auditHidden are columns of the audit log that a tenant does not read: the words by which the operator finds an entry name its
// people, and the last two are empty but while a version before writes.
var auditHidden = []string{"words", "object", "detail"}

func exportPostgres(ctx context.Context, tx pgx.Tx, id ID, h *holding, a *archive) error {
	t := ManifestTable{Database: "postgresql", Table: h.String()}
	var names []string
	from := h.sql() + " WHERE " + h.of
	if t.Table == "control.audit_log" { // whoever exports, the archive is the tenant's: the operator's people are masked in it
		from = ofTenant
	}
	for _, c := range h.columns {
		if c.secret || t.Table == "control.audit_log" && slices.Contains(auditHidden, c.name) {
			t.LeftOut = append(t.LeftOut, c.name)
			continue
		}
		t.Columns = append(t.Columns, ManifestColumn{c.name, c.kind})
		names = append(names, pgx.Identifier{c.name}.Sanitize())
	}
	a.begin(t)
	rows, err := tx.Query(ctx, "SELECT row_to_json(x)::text FROM (SELECT "+strings.Join(names, ", ")+" FROM "+from+") x", id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := a.row(rows.RawValues()[0]); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return a.flush()
}

// timeColumns are the names of columns that say when a row of ClickHouse's is of, the first found counts.
var timeColumns = []string{"ts", "minute", "hour", "day"}

func (e *Exports) exportClickHouse(ctx context.Context, id ID, h *holding, a *archive) error {
	t := ManifestTable{Database: "clickhouse", Table: h.table}
	kinds := make(map[string]string)
	var selected []string
	for _, c := range h.columns {
		t.Columns = append(t.Columns, ManifestColumn{c.name, c.kind})
		kinds[c.name] = c.kind
		name := pgx.Identifier{c.name}.Sanitize()
		switch {
		case strings.HasPrefix(c.kind, "FixedString("):
			selected = append(selected, "lower(hex("+name+")) AS "+name)
		case strings.HasPrefix(c.kind, "AggregateFunction("):
			selected = append(selected, "finalizeAggregation("+name+") AS "+name)
		default:
			selected = append(selected, name)
		}
	}
	sql := "SELECT " + strings.Join(selected, ", ") + " FROM " + pgx.Identifier{h.table}.Sanitize()
	if h.final {
		sql += " FINAL"
	}
	sql += " WHERE " + h.of
	for _, name := range timeColumns {
		if kind := kinds[name]; strings.HasPrefix(kind, "Date") {
			sql += " AND " + name + " <= {at:DateTime64(3, 'UTC')}"
			break
		}
	}
	a.begin(t)
	body, err := e.ch.Query(ctx, clickhouse.Statement{
		SQL:        sql + " FORMAT JSONEachRow",
		Parameters: map[string]string{"tenant": string(id), "at": a.manifest.At.Format("2006-01-02 15:04:05.000")},
		Settings: map[string]string{
			"output_format_json_quote_64bit_integers": "1", "output_format_json_quote_denormals": "1", "output_format_json_validate_utf8": "1",
			"prefer_column_name_to_alias": "1", "max_execution_time": "0", "max_threads": "2",
			// The second wall.
			"additional_table_filters": "{'" + h.table + "':'tenant = " + nested(string(id)) + "'}",
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	src := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := src.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return a.flush()
		}
		if err != nil {
			return fmt.Errorf("ClickHouse's answer breaks off: %w", err)
		}
		if err := a.row(line); err != nil {
			return err
		}
	}
}

// nested writes a text as a literal of ClickHouse's within a literal.
func nested(s string) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return escape.Replace("'" + escape.Replace(s) + "'")
}
