package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The cost of columns: the table of spans, made again in variants, gets the same rows as Native blocks, as the collector
// sends them, and is merged to one part. Only ClickHouse's processor time is looked at, which others on the machine
// disturb less than they do the time that passes.

const (
	columnRows    = 100_000 // of an insert
	columnInserts = 5
)

// variant is a way to make the table.
type variant struct {
	name    string
	columns []column
	index   bool
	order   string
}

// column is a column of the table, with its codec.
type column struct{ Name, Definition string }

// spanMaps are the columns as they were before migration 4.
const spanMaps = "Map(LowCardinality(String), String) CODEC(ZSTD(1))"

func measureColumns(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "columns-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	s, err := startHeadroom(ctx, o.headroom, o.packages, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	l := newLoad(s.url, s.header, 8, makeBodies(columnRows*columnInserts/o.bodySpans+8, o.bodySpans, 1))
	for l.sent.Load() < columnRows*columnInserts {
		if _, err := l.saturate(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := s.db.await(ctx, s.table, l.sent.Load()); err != nil {
		return err
	}
	columns, err := spanTableColumns(ctx, s.db)
	if err != nil {
		return err
	}
	for _, v := range variants(columns) {
		if err := v.measure(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return nil
}

func spanTableColumns(ctx context.Context, db *database) ([]column, error) {
	answer, err := db.query(ctx, `SELECT name, concat(type, ' ', compression_codec) FROM system.columns
		WHERE database = currentDatabase() AND table = 'trace_spans' AND default_kind = '' ORDER BY position FORMAT TSVRaw`)
	if err != nil {
		return nil, err
	}
	var columns []column
	for line := range strings.Lines(answer) {
		name, definition, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		columns = append(columns, column{name, definition})
	}
	return columns, nil
}

const spanOrder = "(product, tenant, toStartOfMinute(ts))"

func variants(columns []column) []variant {
	without := func(names ...string) []column {
		return slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return slices.Contains(names, c.Name) })
	}
	joined := []string{"attribute_keys", "attribute_values", "resource_attributes"}
	all := []variant{
		{"as it is", columns, true, spanOrder},
		{"as it is, once more", columns, true, spanOrder},
		{"before migration 4: maps, rows in the order of ts", append(without(joined...), column{"attributes", spanMaps}, column{"resource", spanMaps}), true, "(product, tenant, ts)"},
		{"with maps", append(without(joined...), column{"attributes", spanMaps}, column{"resource", spanMaps}), true, spanOrder},
		{"with a map of the resource", append(without("resource_attributes"), column{"resource", spanMaps}), true, spanOrder},
		{"rows in the order of ts", columns, true, "(product, tenant, ts)"},
		{"rows in no order", columns, true, "tuple()"},
		{"without the index of trace_id", columns, false, spanOrder},
		{"without all attributes", without(joined...), true, spanOrder},
	}
	for _, c := range columns {
		if key := c.Name == "ts" || c.Name == "product" || c.Name == "tenant"; !key {
			all = append(all, variant{"without " + c.Name, without(c.Name), c.Name != "trace_id", spanOrder})
		}
	}
	return all
}

func (v variant) measure(ctx context.Context, s *system) error {
	names, definitions := make([]string, len(v.columns)), make([]string, len(v.columns))
	for i, c := range v.columns {
		names[i], definitions[i] = c.Name, c.Name+" "+c.Definition
	}
	list := strings.Join(names, ", ")
	if v.index {
		definitions = append(definitions, "INDEX trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1")
	}
	var bodies []string
	for i := range columnInserts {
		// About as they arrive: traces in any order, the spans of each together.
		b, err := s.db.send(ctx, fmt.Sprintf("SELECT %s FROM trace_spans ORDER BY cityHash64(trace_id), ts LIMIT %d OFFSET %d FORMAT Native", list, columnRows, i*columnRows),
			map[string]string{"compress": "1", "max_block_size": "5000"}, nil)
		if err != nil {
			return err
		}
		bodies = append(bodies, b)
	}
	for _, sql := range []string{
		"DROP TABLE IF EXISTS variant SYNC",
		"CREATE TABLE variant (" + strings.Join(definitions, ", ") + ") ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY " + v.order +
			" SETTINGS min_bytes_for_wide_part = 134217728",
		"SYSTEM STOP MERGES variant",
	} {
		if _, err := s.db.query(ctx, sql); err != nil {
			return err
		}
	}
	insert, err := s.clickhouseTime(func() error {
		for _, b := range bodies {
			if _, err := s.db.send(ctx, "INSERT INTO variant ("+list+") FORMAT Native", map[string]string{"decompress": "1",
				"max_insert_block_size": "1000000000", "max_insert_block_size_bytes": "0",
				"min_insert_block_size_rows": "1000000000", "min_insert_block_size_bytes": "100000000000"}, strings.NewReader(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := s.db.query(ctx, "SYSTEM START MERGES variant"); err != nil {
		return err
	}
	merge, err := s.clickhouseTime(func() error {
		_, err := s.db.query(ctx, "OPTIMIZE TABLE variant FINAL")
		return err
	})
	if err != nil {
		return err
	}
	answer, err := s.db.query(ctx, "SELECT round(sum(bytes_on_disk) / sum(rows), 1) FROM system.parts WHERE active AND table = 'variant'")
	if err != nil {
		return err
	}
	const rows = columnRows * columnInserts
	fmt.Printf("%-52s insert %.2f µs, merge %.2f µs of processor time, %s bytes a span\n", v.name,
		float64(insert.Microseconds())/rows, float64(merge.Microseconds())/rows, answer)
	return nil
}

// clickhouseTime returns the processor time that ClickHouse needs for what f does.
func (s *system) clickhouseTime(f func() error) (time.Duration, error) {
	before, err := cpuTime(s.clickhousePID)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := cpuTime(s.clickhousePID)
	return after - before, err
}
