package collector

import (
	"context"
	"fmt"
	"strings"
)

// without returns an insert that leaves out the rows of tenants. ClickHouse reads the same blocks under the same token: what
// it has of an insert of the whole, or of fewer rows, it does not take again.
func (in *inserter) without(tenants []string) func(ctx context.Context, t table, token string, blocks [][]byte) error {
	quoted := make([]string, len(tenants))
	for i, id := range tenants {
		quoted[i] = "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(id) + "'"
	}
	named := newColumns()
	return func(ctx context.Context, t table, token string, blocks [][]byte) error {
		names, structure := formerSpanColumns, formerSpanStructure
		if t != tableFormerSpans {
			columns, _ := named.input(t)
			var ns, ss []string
			for _, c := range columns {
				ns, ss = append(ns, c.Name), append(ss, c.Name+" "+string(c.Data.Type()))
			}
			names, structure = strings.Join(ns, ", "), strings.Join(ss, ", ")
		}
		query := fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM input('%s') WHERE tenant NOT IN (%s) FORMAT Native",
			tableNames[t], names, names, strings.ReplaceAll(structure, "'", `\'`), strings.Join(quoted, ", "))
		if t == tableFormerSpans {
			query = strings.Replace(query, "INTO "+tableNames[t], "INTO spans", 1)
		}
		return in.send(ctx, t, query, token, blocks)
	}
}

// formerSpanStructure is formerSpanColumns with their types.
const formerSpanStructure = "ts DateTime64(9, 'UTC'), trace_id FixedString(16), span_id FixedString(8), parent_span_id FixedString(8), " +
	"product LowCardinality(String), tenant LowCardinality(String), service LowCardinality(String), version LowCardinality(String), " +
	"name LowCardinality(String), kind UInt8, route LowCardinality(String), status UInt16, error UInt8, duration_ns UInt64, status_message String, " +
	"exception String, attributes Map(LowCardinality(String), String), resource Map(LowCardinality(String), String)"
