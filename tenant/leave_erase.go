package tenant

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/postgres"
)

// mutationTimeout bounds one table's deletion in ClickHouse, which reads the tenant's column of every part of the table.
const mutationTimeout = 6 * time.Hour

// erase removes all rows of a tenant from both databases, and counts what is left. It may be repeated.
func (d *Departures) erase(ctx context.Context, id ID) ([]ErasedTable, error) {
	held, err := clickhouseHoldings(ctx, d.ch)
	if err != nil {
		return nil, err
	}
	for i := range held {
		// A mutation, not a lightweight deletion: that only hides rows until a merge happens to come by.
		ctx, cancel := context.WithTimeout(ctx, mutationTimeout)
		err := d.ch.Exec(ctx, clickhouse.Statement{
			SQL:        "ALTER TABLE " + pgx.Identifier{held[i].table}.Sanitize() + " DELETE WHERE " + held[i].of,
			Parameters: map[string]string{"tenant": string(id)},
			Settings:   map[string]string{"mutations_sync": "2", "max_execution_time": "0"},
		})
		cancel()
		if err != nil {
			return nil, fmt.Errorf("cannot delete from %s: %w", &held[i], err)
		}
	}
	if err := d.erasePeople(ctx, id); err != nil { // before the schema, which says who they are
		return nil, err
	}
	if err := d.erasePostgres(ctx, id); err != nil {
		return nil, err
	}
	d.store.forget()
	return d.count(ctx, id)
}

// erasePostgres drops the tenant's schema and deletes its rows elsewhere, in one transaction of the owner.
func (d *Departures) erasePostgres(ctx context.Context, id ID) error {
	schema := SchemaName(id)
	return postgres.InTenant(ctx, d.owner, id, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+schemaLockTimeout+"'; DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE"); err != nil {
			return fmt.Errorf("cannot drop schema %q: %w", schema, err)
		}
		held, err := postgresHoldings(ctx, tx, id)
		if err != nil {
			return err
		}
		// A table cannot lose rows that another refers to before that has: so in as many rounds as that takes.
		for len(held) > 0 {
			var refused []holding
			var last error
			for _, h := range held {
				if h.partOf {
					continue
				}
				err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "DELETE FROM "+h.sql()+" WHERE "+h.of, id)
					return err
				})
				if err != nil && !fault.Is(postgres.Translate(err), fault.Conflict) {
					return fmt.Errorf("cannot delete from %s: %w", &h, err)
				}
				if err != nil {
					refused, last = append(refused, h), err
				}
			}
			if len(refused) == len(held) {
				return fmt.Errorf("cannot delete from %s: %w", &refused[0], last)
			}
			held = refused
		}
		return nil
	})
}

// count returns how many rows every table has of a tenant, as Left.
func (d *Departures) count(ctx context.Context, id ID) ([]ErasedTable, error) {
	tables, err := d.countClickHouse(ctx, id)
	if err != nil {
		return nil, err
	}
	err = postgres.InTenant(ctx, d.owner, id, func(tx pgx.Tx) error {
		held, err := postgresHoldings(ctx, tx, id)
		if err != nil {
			return err
		}
		for i := range held {
			t := ErasedTable{Database: "postgresql", Table: held[i].String()}
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+held[i].sql()+" WHERE "+held[i].of, id).Scan(&t.Left); err != nil {
				return fmt.Errorf("cannot count the rows of %s: %w", t.Table, err)
			}
			tables = append(tables, t)
		}
		return nil
	})
	return tables, err
}

func (d *Departures) countClickHouse(ctx context.Context, id ID) ([]ErasedTable, error) {
	held, err := clickhouseHoldings(ctx, d.ch)
	if err != nil {
		return nil, err
	}
	tables := make([]ErasedTable, len(held))
	for i := range held {
		tables[i] = ErasedTable{Database: "clickhouse", Table: held[i].table}
		tables[i].Left, err = d.number(ctx, clickhouse.Statement{
			SQL:        "SELECT count() FROM " + pgx.Identifier{held[i].table}.Sanitize() + " WHERE " + held[i].of,
			Parameters: map[string]string{"tenant": string(id)},
		})
		if err != nil {
			return nil, fmt.Errorf("cannot count the rows of %s: %w", &held[i], err)
		}
	}
	return tables, nil
}

// oldParts returns how many files from before a deletion ClickHouse has yet to remove.
func (d *Departures) oldParts(ctx context.Context, done time.Time) (int, error) {
	n, err := d.number(ctx, clickhouse.Statement{
		SQL: `SELECT count() FROM system.parts WHERE database = currentDatabase() AND NOT active AND modification_time <= {at:DateTime}
			AND table IN (SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'tenant')`,
		Parameters: map[string]string{"at": strconv.FormatInt(done.Unix(), 10)},
	})
	return int(n), err
}

// number reads an answer that is one.
func (d *Departures) number(ctx context.Context, s clickhouse.Statement) (int64, error) {
	body, err := d.ch.Query(ctx, s)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	line, err := bufio.NewReader(body).ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("cannot read ClickHouse's answer: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}
