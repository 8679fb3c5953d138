package tenant

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/clickhouse"
)

// What belongs to a tenant is found in the catalogues of both databases, so that an export and a deletion know a new table
// without anybody adding it to a list.

// holding is a table that has rows of tenants.
type holding struct {
	schema, table string
	of            string // the condition, where the tenant's id is $1 in PostgreSQL and {tenant:String} in ClickHouse
	columns       []holdingColumn
	final         bool // ClickHouse: rows of one key are to be put together when they are read
	partOf        bool // PostgreSQL: its rows go with those of another table
}

type holdingColumn struct {
	name, kind string
	secret     bool
}

// String names the table as people do.
func (h *holding) String() string {
	if h.schema == "" {
		return h.table
	}
	return h.schema + "." + h.table
}

// sql names the table in PostgreSQL's SQL.
func (h *holding) sql() string { return pgx.Identifier{h.schema, h.table}.Sanitize() }

// postgresHoldings are the tables of schema control that have rows of tenants, those of whom others are part first, and those
// of the tenant's own schema. The transaction is of the tenant.
func postgresHoldings(ctx context.Context, tx pgx.Tx, id ID) ([]holding, error) {
	rows, err := tx.Query(ctx, `
		SELECT n.nspname, c.relname, n.nspname <> 'control', coalesce(
			(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				AND a.attname IN ('tenant', 'tenant_id') ORDER BY a.attname LIMIT 1),
			(SELECT a.attname FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
				WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid = 'control.tenants'::regclass LIMIT 1),
			CASE WHEN c.oid = 'control.tenants'::regclass THEN 'id' END, '')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname IN ('control', $1)
		ORDER BY 1, 2`, SchemaName(id))
	if err != nil {
		return nil, fmt.Errorf("cannot read which tables there are: %w", err)
	}
	var all []holding
	var schema, table, column string
	var own bool
	if _, err := pgx.ForEachRow(rows, []any{&schema, &table, &own, &column}, func() error {
		h := holding{schema: schema, table: table}
		switch {
		case own:
			h.of = "$1::text IS NOT NULL"
		case column != "":
			h.of = pgx.Identifier{column}.Sanitize() + " = $1"
		}
		all = append(all, h)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("cannot read which tables there are: %w", err)
	}
	if err := followOwnership(ctx, tx, all); err != nil {
		return nil, err
	}
	held := all[:0]
	for _, h := range all {
		if h.of == "" {
			continue
		}
		if err := h.readColumns(ctx, tx); err != nil {
			return nil, err
		}
		held = append(held, h)
	}
	return held, nil
}

// followOwnership gives a condition to the tables whose rows are deleted with those of a table that has one: they are the
// tenant's too.
func followOwnership(ctx context.Context, tx pgx.Tx, all []holding) error {
	rows, err := tx.Query(ctx, `
		SELECT cn.nspname, c.relname, pn.nspname, p.relname,
			(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(f.conkey) WITH ORDINALITY k(num, n)
				JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
			(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n) FROM unnest(f.confkey) WITH ORDINALITY k(num, n)
				JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)
		FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
			JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
		WHERE f.contype = 'f' AND f.confdeltype = 'c' AND f.conrelid <> f.confrelid AND cn.nspname = 'control' AND pn.nspname = 'control'`)
	if err != nil {
		return fmt.Errorf("cannot read which tables belong together: %w", err)
	}
	type link struct{ childSchema, child, parentSchema, parent, columns, of string }
	links, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l link, err error) {
		err = row.Scan(&l.childSchema, &l.child, &l.parentSchema, &l.parent, &l.columns, &l.of)
		return l, err
	})
	if err != nil {
		return fmt.Errorf("cannot read which tables belong together: %w", err)
	}
	find := func(schema, table string) *holding {
		for i := range all {
			if all[i].schema == schema && all[i].table == table {
				return &all[i]
			}
		}
		return nil
	}
	for found := true; found; {
		found = false
		for _, l := range links {
			child, parent := find(l.childSchema, l.child), find(l.parentSchema, l.parent)
			if child == nil || parent == nil || child.of != "" || parent.of == "" {
				continue
			}
			child.of = fmt.Sprintf("(%s) IN (SELECT %s FROM %s WHERE %s)", l.columns, l.of, parent.sql(), parent.of)
			child.partOf, found = true, true
		}
	}
	return nil
}

func (h *holding) readColumns(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		SELECT a.attname, format_type(a.atttypid, a.atttypmod)
		FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, h.sql())
	if err != nil {
		return fmt.Errorf("cannot read the columns of %s: %w", h, err)
	}
	var name, kind string
	_, err = pgx.ForEachRow(rows, []any{&name, &kind}, func() error {
		h.columns = append(h.columns, holdingColumn{name, kind, isSecret(name, kind)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read the columns of %s: %w", h, err)
	}
	return nil
}

// isSecret says whether a column's name or type tells that it holds a secret, or a hash of one. In doubt it does: what is
// left out of an export can be asked for.
func isSecret(name, kind string) bool {
	if kind == "bytea" {
		return true
	}
	for _, word := range []string{"secret", "password", "token", "hash", "csrf", "cipher", "nonce", "verifier", "private_key"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// clickhouseHoldings are the tables that keep rows and have a column tenant.
func clickhouseHoldings(ctx context.Context, ch *clickhouse.HTTP) ([]holding, error) {
	body, err := ch.Query(ctx, clickhouse.Statement{SQL: `
		SELECT t.name AS table, match(t.engine, 'Replacing|Aggregating|Summing|Collapsing') AS final, c.name AS column, c.type AS type,
			c.default_kind = 'ALIAS' AS alias
		FROM system.tables t JOIN system.columns c ON c.database = t.database AND c.table = t.name
		WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree' AND t.name IN
			(SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'tenant')
		ORDER BY t.name, c.position
		FORMAT JSONEachRow`})
	if err != nil {
		return nil, fmt.Errorf("cannot read ClickHouse's tables: %w", err)
	}
	defer func() { _ = body.Close() }()
	var held []holding
	for d := json.NewDecoder(bufio.NewReader(body)); ; {
		var row struct {
			Table, Column, Type string
			Final, Alias        uint8
		}
		if err := d.Decode(&row); err == io.EOF { //nolint:errorlint // Decode returns it as it is
			return held, nil
		} else if err != nil {
			return nil, fmt.Errorf("cannot read ClickHouse's tables: %w", err)
		}
		if n := len(held); n == 0 || held[n-1].table != row.Table {
			held = append(held, holding{table: row.Table, of: "tenant = {tenant:String}", final: row.Final == 1})
		}
		h := &held[len(held)-1]
		h.columns = append(h.columns, holdingColumn{name: row.Column, kind: row.Type})
	}
}
