package clickhouse

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// walled is how the rows of a table tell whose they are: a column for each, or an expression with %s for the list of
// values. Empty: they do not tell.
type walled struct {
	tenant, product, service string
}

// rollup is how rows of the SLOs' rollups tell whose they are: what they count is in their SLO's objective.
var rollup = walled{
	tenant:  "tenant",
	product: "(slo, revision) IN (SELECT slo, revision FROM {database}.slo_objectives FINAL WHERE active AND product IN (%s))",
	service: "(slo, revision) IN (SELECT slo, revision FROM {database}.slo_objectives FINAL WHERE active AND service IN (%s))",
}

var allThree = walled{tenant: "tenant", product: "product", service: "service"}

// walls are all tables and views with rows of tenants. TestEveryTableHasItsWall looks for those that miss.
var walls = map[string]walled{
	"requests":    allThree,
	"spans":       allThree,
	"trace_spans": allThree,

	"latency_1m": allThree, "requests_to_latency_1m": allThree,
	"latency_1h": allThree, "latency_1m_to_latency_1h": allThree,
	"load_1m": allThree,

	"sli_1m": rollup, "sli_1m_mv": rollup,
	"sli_1h": rollup, "sli_1h_mv": rollup,
	// What is counted, and nothing of tenants: a bound to a tenant leaves it as it is.
	"slo_objectives": {tenant: everyTenant, product: "product", service: "service"},

	"metric_series":     allThree,
	"metric_points":     {tenant: "tenant", product: "product"},
	"metric_histograms": {tenant: "tenant", product: "product"},
	"resource_points":   allThree,
	"resource_1m":       allThree, "resource_points_to_resource_1m": allThree,

	"ingest_1m": {tenant: "tenant"},
}

// everyTenant stands where a column tenant would: the table's rows are of no tenant.
const everyTenant = "*"

// filterOf returns the value of the setting additional_table_filters for queries under the bounds: a map from tables to
// conditions, as ClickHouse writes one.
func filterOf(database string, bounds []Bounds) string {
	var b strings.Builder
	b.WriteByte('{')
	for _, table := range slices.Sorted(maps.Keys(walls)) {
		w := walls[table]
		condition := w.condition(database, bounds)
		if condition == "" {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(quote(database+"."+table) + ":" + quote(condition))
	}
	b.WriteByte('}')
	return b.String()
}

// condition returns the condition of one table, empty when the bounds do not concern it.
func (w *walled) condition(database string, bounds []Bounds) string {
	var all []string
	for _, b := range bounds {
		for _, one := range []struct {
			column string
			values []string
		}{{w.tenant, b.Tenants}, {w.product, b.Products}, {w.service, b.Services}} {
			switch {
			case one.values == nil, one.column == everyTenant:
			case one.column == "", len(one.values) == 0:
				return "0"
			case strings.Contains(one.column, "%s"):
				all = append(all, strings.NewReplacer("{database}", identifier(database), "%s", literals(one.values)).Replace(one.column))
			default:
				all = append(all, one.column+" IN ("+literals(one.values)+")")
			}
		}
	}
	return strings.Join(all, " AND ")
}

// literals writes texts as SQL whatever is in them: hexadecimal digits cannot end a string.
func literals(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = "unhex('" + hex.EncodeToString([]byte(v)) + "')"
	}
	return strings.Join(list, ", ")
}

// quote returns s as a ClickHouse string literal.
func quote(s string) string { return enclose(s, '\'') }

// identifier returns s as a name in SQL.
func identifier(s string) string { return enclose(s, '`') }

func enclose(s string, mark byte) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, mark)
	for i := range len(s) {
		if s[i] == mark || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, mark))
}
