package slo

import (
	"context"
	"fmt"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/nexis-limited/headroom/alerting"
)

// BenchmarkCycle measures what a cycle costs from the first query to what alerting is told, for five SLOs with the default
// windows over 30 days, every tenant sending in every minute. ClickHouse shares the machine.
func BenchmarkCycle(b *testing.B) {
	for _, tenants := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			e := newEnv(b)
			now := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour + 37*time.Minute)
			for i := range 5 {
				e.apply(b, yamlSLO(fmt.Sprintf("slo-%d", i), "99.9"))
			}
			e.fillRollups(b, tenants, now)
			var firing int
			for b.Loop() {
				s, err := e.reader.Evaluate(b.Context(), now)
				if err != nil {
					b.Fatal(err)
				}
				o := observe(s)
				for _, c := range o.Firing {
					o.Evaluated(alerting.Key{Rule: c.Rule, Tenant: c.Tenant, Severity: c.Severity})
				}
				if firing = len(o.Firing); len(s.Statuses) != 5*tenants {
					b.Fatalf("%d statuses", len(s.Statuses))
				}
			}
			b.ReportMetric(float64(5*tenants), "pairs")
			b.ReportMetric(float64(firing), "firing")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(5*tenants), "ns/pair")
		})
	}
}

// fillRollups writes what the views would have made of 30 days of requests: an hourly row of each hour for every SLO and
// tenant, and rows of the minutes in those hours that a reading by minutes can touch. One tenant in a thousand fails badly.
func (e *env) fillRollups(b *testing.B, tenants int, now time.Time) {
	b.Helper()
	ctx := ch.Context(context.Background(), ch.WithSettings(ch.Settings{"max_insert_threads": 2, "insert_deduplicate": 0}))
	exec := func(sql string, args ...any) {
		b.Helper()
		if err := e.ch.Owner.Exec(ctx, sql, args...); err != nil {
			b.Fatal(err)
		}
	}
	// Written below the views, which would add everything up again.
	exec(`DROP VIEW sli_1h_mv`)
	hour := now.Truncate(time.Hour)
	good := `1000 - if(t % 1000 = 7, 200, cityHash64(t, s) % 2) AS good, 1000 AS total`
	exec(fmt.Sprintf(`INSERT INTO sli_1h SELECT 'slo-' || toString(s), 1, 'tenant-' || leftPad(toString(t), 5, '0'),
		toDateTime(%d, 'UTC') - 3600 * h, %s
		FROM (SELECT number AS s FROM numbers(5)) AS a, (SELECT number AS t FROM numbers(%d)) AS b, (SELECT number AS h FROM numbers(721)) AS c`,
		hour.Unix(), good, tenants))
	for _, hours := range []int{0, 1, 2, 5, 6, 23, 24, 71, 72, 719, 720} {
		exec(fmt.Sprintf(`INSERT INTO sli_1m SELECT 'slo-' || toString(s), 1, 'tenant-' || leftPad(toString(t), 5, '0'),
			toDateTime(%d, 'UTC') + 60 * m, %s
			FROM (SELECT number AS s FROM numbers(5)) AS a, (SELECT number AS t FROM numbers(%d)) AS b, (SELECT number AS m FROM numbers(60)) AS c`,
			hour.Add(-time.Duration(hours)*time.Hour).Unix(), good, tenants))
	}
	exec(`OPTIMIZE TABLE sli_1h FINAL`)
	exec(`OPTIMIZE TABLE sli_1m FINAL`)
}
