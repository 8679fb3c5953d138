package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/internal/testenv"
)

// TestEveryTableHasItsWall looks at all tables and views that there are, so that a new one is not forgotten.
func TestEveryTableHasItsWall(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	rows, err := db.Owner.Query(t.Context(), `
		SELECT table, groupArray(name), any(engine)
		FROM system.columns JOIN (SELECT name AS table, engine FROM system.tables WHERE database = currentDatabase()) AS t USING table
		WHERE database = currentDatabase() AND table != 'goose_db_version' GROUP BY table ORDER BY table`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	found := map[string]bool{}
	for rows.Next() {
		var table, engine string
		var columns []string
		if err := rows.Scan(&table, &columns, &engine); err != nil {
			t.Fatal(err)
		}
		found[table] = true
		if engine == "View" {
			t.Errorf("%s is a view: ClickHouse may push a query through one past the filters of what it reads", table)
		}
		has := func(column string) bool { return slices.Contains(columns, column) }
		w, ok := clickhouse.WallOf(table)
		if !ok {
			t.Errorf("table %s has no line in walls of clickhouse/tables.go: say how its rows tell whose they are (columns %v)", table, columns)
			continue
		}
		for i, column := range []string{"tenant", "product", "service"} {
			if has(column) && w[i] != column {
				t.Errorf("table %s has a column %s, and its wall says %q", table, column, w[i])
			}
			if !has(column) && w[i] == column {
				t.Errorf("table %s has no column %s", table, column)
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, table := range clickhouse.WalledTables() {
		if !found[table] {
			t.Errorf("there is a wall for %s, which is no table", table)
		}
	}
}

const hostile = "it's \\ a tenant' OR 1 = 1 -- \xc3\xb8\n`{x:String}`"

// fill puts one row of each combination into all tables that the collector writes, and an SLO for each product.
func fill(t testing.TB, db *testenv.ClickHouse) {
	t.Helper()
	exec := func(sql string, args ...any) {
		t.Helper()
		if err := db.Owner.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`INSERT INTO slo_objectives (slo, generation, active, revision, product, service, threshold_ns) VALUES
		('shop-slo', 1, true, 1, 'shop', '', 9223372036854775807), ('bank-slo', 1, true, 1, 'bank', 'pay', 9223372036854775807)`)
	for _, tenant := range []string{"acme", "zeta", hostile, ""} {
		for _, product := range []string{"shop", "bank"} {
			for _, service := range []string{"pay", "cart"} {
				exec(`INSERT INTO requests (ts, product, tenant, service, route, method, version, status, error, duration_ns)
					VALUES (now64(9), $1, $2, $3, '/', 'GET', '1', 200, 0, 5)`, product, tenant, service)
				exec(`INSERT INTO metric_points (metric, series, ts, value, product, tenant) VALUES ('m', 1, now64(3), 1, $1, $2)`, product, tenant)
				exec(`INSERT INTO resource_points (ts, product, tenant, service, kind, system, instance, measure) VALUES (now64(3), $1, $2, $3, 'db', 'pg', 'a', 'x')`,
					product, tenant, service)
			}
		}
		exec(`INSERT INTO ingest_1m (tenant, minute, spans) VALUES ($1, now(), 1)`, tenant)
	}
}

// TestConfined leaves every condition out of the queries and writes them in all ways: what comes back is decided by the
// context alone.
func TestConfined(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	fill(t, db)
	f := func(b clickhouse.Bounds, sql string, want uint64) {
		t.Helper()
		var got uint64
		if err := db.Conn.QueryRow(clickhouse.Confine(t.Context(), b), sql).Scan(&got); err != nil || got != want {
			t.Errorf("%s under %q: got %d, %v; want %d", sql, b, got, err, want)
		}
	}
	of := func(list ...string) []string { return list }
	acme := clickhouse.Bounds{Tenants: of("acme")}
	for _, table := range []string{"requests", "latency_1m", "latency_1h", "requests_to_latency_1m", "latency_1m_to_latency_1h", "resource_points", "resource_1m"} {
		f(acme, "SELECT uniqExact(tenant, product, service) FROM "+table, 4)
		f(clickhouse.Bounds{Tenants: of(hostile)}, "SELECT uniqExact(tenant, product, service) FROM "+table, 4)
		f(clickhouse.Bounds{Tenants: of("")}, "SELECT uniqExact(tenant, product, service) FROM "+table, 4)
		f(clickhouse.Bounds{Tenants: of("nobody' OR 1 = 1 --")}, "SELECT count() FROM "+table, 0)
		f(clickhouse.Bounds{Tenants: []string{}}, "SELECT count() FROM "+table, 0) // an empty list, and not none
		f(clickhouse.Bounds{Tenants: of("acme", "zeta"), Products: of("shop")}, "SELECT uniqExact(tenant, product, service) FROM "+table, 4)
		f(clickhouse.Bounds{Services: of("pay")}, "SELECT uniqExact(tenant, product, service) FROM "+table, 8)
	}
	f(acme, "SELECT count() FROM metric_points", 4)
	f(clickhouse.Bounds{Services: of("pay")}, "SELECT count() FROM metric_points", 0) // it does not tell
	f(acme, "SELECT count() FROM ingest_1m", 1)
	f(clickhouse.Bounds{Products: of("shop")}, "SELECT count() FROM ingest_1m", 0)
	for _, table := range []string{"sli_1m", "sli_1h", "sli_1m_mv", "sli_1h_mv"} {
		f(acme, "SELECT sum(total) FROM "+table, 2+1)
		f(clickhouse.Bounds{Products: of("shop")}, "SELECT sum(total) FROM "+table, 8)
		f(clickhouse.Bounds{Products: of("bank"), Services: of("pay"), Tenants: of("acme")}, "SELECT sum(total) FROM "+table, 1)
		f(clickhouse.Bounds{Products: of("shop"), Services: of("pay")}, "SELECT sum(total) FROM "+table, 0) // it counts the whole product
	}
	f(clickhouse.Bounds{Products: of("shop")}, "SELECT count() FROM slo_objectives FINAL", 1)
	f(acme, "SELECT count() FROM slo_objectives FINAL", 2)

	// However a table is read.
	f(acme, "SELECT count() FROM requests AS r", 4)
	f(acme, "SELECT count() FROM requests AS ingest_1m", 4)
	f(acme, "SELECT count() FROM (SELECT * FROM (SELECT tenant FROM requests WHERE tenant != ''))", 4)
	f(acme, "WITH x AS (SELECT tenant FROM requests) SELECT count() FROM x AS a, x AS b", 16)
	f(acme, "SELECT count() FROM requests AS a LEFT JOIN requests AS b ON a.service = b.service AND a.product = b.product WHERE b.tenant != ''", 4)
	f(acme, "SELECT count() FROM numbers(1) AS n CROSS JOIN requests AS b", 4)
	f(acme, "SELECT count() FROM (SELECT tenant FROM requests UNION ALL SELECT tenant FROM ingest_1m)", 5)
	f(acme, "SELECT (SELECT count() FROM requests)", 4)
	f(acme, "SELECT count() FROM numbers(10) WHERE 'zeta' IN (SELECT tenant FROM requests)", 0)
	f(acme, "SELECT countDistinct(tenant) FROM requests PREWHERE tenant != '' WHERE service != ''", 1)
	f(acme, "SELECT count() FROM "+db.Database+".requests", 4)
	f(acme, "SELECT count() FROM `"+db.Database+"`.`requests` WHERE 1 OR tenant = 'zeta'", 4)
	f(acme, "SELECT count() FROM remote('127.0.0.1', currentDatabase(), requests)", 4)
	f(acme, "SELECT sum(c) FROM (SELECT count() AS c FROM requests GROUP BY GROUPING SETS ((tenant), ()))", 8)

	args := clickhouse.InTenant(t.Context(), "acme")
	var got uint64
	if err := db.Conn.QueryRow(args, "SELECT count() FROM requests WHERE tenant = @t OR service = ?", ch.Named("t", "zeta")).Scan(&got); err == nil {
		t.Error("mixed arguments were taken")
	}
	if err := db.Conn.QueryRow(args, "SELECT count() FROM requests WHERE tenant = @t", ch.Named("t", "zeta")).Scan(&got); err != nil || got != 0 {
		t.Errorf("another tenant as an argument: got %d, %v", got, err)
	}
	args = ch.Context(args, ch.WithParameters(ch.Parameters{"t": "zeta"}), ch.WithSettings(ch.Settings{"additional_table_filters": ""}))
	if err := db.Conn.QueryRow(args, "SELECT count() FROM requests WHERE tenant = {t:String}").Scan(&got); err != nil || got != 0 {
		t.Errorf("another tenant as a parameter, with settings of its own: got %d, %v", got, err)
	}
	var list []struct {
		Tenant string `ch:"tenant"`
	}
	if err := db.Conn.Select(clickhouse.InTenant(t.Context(), "acme"), &list, "SELECT DISTINCT tenant FROM requests"); err != nil || len(list) != 1 {
		t.Errorf("Select: got %v, %v", list, err)
	}
}

// TestWallsInside confines a context that is confined: nothing lifts what stands already.
func TestWallsInside(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	fill(t, db)
	acme := clickhouse.InTenant(t.Context(), "acme")
	count := func(want uint64, what string, f func() (uint64, error)) {
		t.Helper()
		if got, err := f(); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", what, got, err, want)
		}
	}
	rows := func() (n uint64, err error) {
		err = db.Conn.QueryRow(clickhouse.AcrossTenants(acme), "SELECT count() FROM requests").Scan(&n)
		return n, err
	}
	count(4, "across tenants within acme", rows)
	count(0, "zeta within acme", func() (n uint64, err error) {
		err = db.Conn.QueryRow(clickhouse.InTenant(acme, "zeta"), "SELECT count() FROM requests").Scan(&n)
		return n, err
	})
	count(2, "a product within acme", func() (n uint64, err error) {
		err = db.Conn.QueryRow(clickhouse.Confine(acme, clickhouse.Bounds{Products: []string{"shop"}}), "SELECT count() FROM requests").Scan(&n)
		return n, err
	})
	count(4, "and acme as before", rows)
	count(16, "all", func() (n uint64, err error) {
		err = db.Conn.QueryRow(clickhouse.AcrossTenants(t.Context()), "SELECT count() FROM requests").Scan(&n)
		return n, err
	})
	count(16, "headroom's own work", func() (n uint64, err error) {
		err = db.Conn.QueryRow(clickhouse.OwnWork(acme), "SELECT count() FROM requests").Scan(&n)
		return n, err
	})

	one, _ := clickhouse.Confined(acme)
	other, _ := clickhouse.Confined(clickhouse.InTenant(t.Context(), "zeta"))
	product, _ := clickhouse.Confined(clickhouse.Confine(t.Context(), clickhouse.Bounds{Products: []string{"acme"}}))
	if none, ok := clickhouse.Confined(clickhouse.AcrossTenants(t.Context())); ok || none != "" || one == other || one == product || one == "" {
		t.Errorf("keys of what is kept: %q, %q, %q, %q", none, one, other, product)
	}
	if !clickhouse.Sees(acme, clickhouse.Tenant, "acme") || clickhouse.Sees(acme, clickhouse.Tenant, "zeta") || !clickhouse.Sees(acme, clickhouse.Product, "x") {
		t.Error("Sees is not what queries see")
	}
}

// TestNobodyAsks makes queries without a word on whose data they are about, in every way that a connection has.
func TestNobodyAsks(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	fill(t, db)
	ctx := t.Context()
	var n uint64
	var list []struct{ N uint64 }
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	const sql = "SELECT count() AS N FROM requests"
	_, err := db.Conn.Query(ctx, sql)
	refused("Query", err, clickhouse.ErrNobody)
	refused("QueryRow", db.Conn.QueryRow(ctx, sql).Scan(&n), clickhouse.ErrNobody)
	refused("QueryRow", db.Conn.QueryRow(ctx, sql).Err(), clickhouse.ErrNobody)
	refused("Select", db.Conn.Select(ctx, &list, sql), clickhouse.ErrNobody)
	_, err = db.Conn.QueryFormat(ctx, "CSV", sql)
	refused("QueryFormat", err, clickhouse.ErrNobody)
	const insert = "INSERT INTO requests SELECT * FROM requests"
	writes := func(ctx context.Context, want error) {
		t.Helper()
		refused("Exec", db.Conn.Exec(ctx, insert), want)
		_, err := db.Conn.PrepareBatch(ctx, "INSERT INTO requests")
		refused("PrepareBatch", err, want)
		refused("InsertFormat", db.Conn.InsertFormat(ctx, "CSV", "INSERT INTO requests", strings.NewReader("")), want)
		refused("AsyncInsert", db.Conn.AsyncInsert(ctx, insert, true), want) //nolint:staticcheck // deprecated, and there
	}
	writes(ctx, clickhouse.ErrNobody)
	writes(clickhouse.InTenant(ctx, "acme"), clickhouse.ErrConfinedWrite)
	writes(clickhouse.AcrossTenants(clickhouse.InTenant(ctx, "acme")), clickhouse.ErrConfinedWrite)
	if err := db.Conn.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

// TestFilterUsesTheKey explains a tenant-scoped query whose only condition is the filter's: it must read little of the table.
func TestFilterUsesTheKey(t *testing.T) {
	t.Parallel()
	db := testenv.NewClickHouse(t)
	fillMany(t, db)
	f := func(sql string) {
		t.Helper()
		rows, err := db.Conn.Query(clickhouse.Confine(t.Context(), clickhouse.Bounds{Tenants: []string{"t7"}, Products: []string{"shop"}}),
			"EXPLAIN indexes = 1 "+sql)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		var plan strings.Builder
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(line + "\n")
		}
		if _, key, _ := strings.Cut(plan.String(), "PrimaryKey"); !strings.Contains(key, "tenant") || !strings.Contains(key, "Granules: 1/") {
			t.Errorf("%s does not use the filter for the primary key:\n%s", sql, plan.String())
		}
	}
	f("SELECT count() FROM requests WHERE NOT ignore(status)")
	f("SELECT sum(error) FROM requests WHERE ts > now() - 86400")
	f("SELECT sum(error) FROM requests PREWHERE route != 'x' WHERE ts > now() - 86400")
}

// fillMany makes a table of several granules in which each of 1,000 tenants has few rows.
func fillMany(t testing.TB, db *testenv.ClickHouse) {
	t.Helper()
	if err := db.Owner.Exec(t.Context(), `
		INSERT INTO requests SELECT now64(9), 'shop', concat('t', toString(number % 1000)), 'pay', '/', 'GET', '1', 200, 0, 1 FROM numbers(200000)`); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkFilter is a tenant's query with its own condition alone, and with the filters of all tables.
func BenchmarkFilter(b *testing.B) {
	db := testenv.NewClickHouse(b)
	fillMany(b, db)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	var n, errs uint64
	const sql = "SELECT count(), sum(error) FROM requests WHERE tenant = 't7' AND product = 'shop' AND ts > now() - 86400"
	run("condition", func() error { return db.Owner.QueryRow(b.Context(), sql).Scan(&n, &errs) })
	run("condition and wall", func() error { return db.Conn.QueryRow(clickhouse.InTenant(b.Context(), "t7"), sql).Scan(&n, &errs) })
	const bare = "SELECT count(), sum(error) FROM requests WHERE product = 'shop' AND ts > now() - 86400"
	run("wall", func() error { return db.Conn.QueryRow(clickhouse.InTenant(b.Context(), "t7"), bare).Scan(&n, &errs) })
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprintf("t%d", i)
	}
	run("condition and wall of 500 tenants", func() error {
		return db.Conn.QueryRow(clickhouse.Confine(b.Context(), clickhouse.Bounds{Tenants: many}), sql).Scan(&n, &errs)
	})
}
