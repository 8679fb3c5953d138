package dashboards

import (
	"context"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// tenantTotals are one tenant's requests over a window.
type tenantTotals struct {
	Tenant           tenant.ID
	Products         []string // sorted
	Requests, Errors uint64
	Latency
}

// ErrorRatio returns the share of requests that failed, 0 when there were none.
func (t *tenantTotals) ErrorRatio() float64 { return ratio(t.Errors, t.Requests) }

func ratio(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// totalsAcrossTenants returns the totals of every tenant with requests in the window, of one product unless it is
// empty. Over more than six hours it reads the hourly rollup, so the window then starts with a whole hour.
//
// A row's histogram is unfolded beside its counts: every request is in one bucket, so their sum is the requests; the
// errors are taken with the first bucket only.
func (s *store) totalsAcrossTenants(ctx context.Context, w window, product string) ([]tenantTotals, error) {
	return s.totalsInBranch(ctx, w, product, nil)
}

// totalsInBranch is totalsAcrossTenants of what is in a branch; nil is all.
func (s *store) totalsInBranch(ctx context.Context, w window, product string, branch *tenant.Branch) ([]tenantTotals, error) {
	inBranch, args := branchCondition(branch)
	t := w.fleetTier()
	sql := `
		SELECT tenant, arraySort(groupUniqArray(product)), sum(n), sumIf(errors, i = 1),
			quantilesExactWeighted(0.5, 0.95, 0.99)(bucket, n)
		FROM ` + t.Table + `
		ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS n, arrayEnumerate(mapKeys(histogram)) AS i
		WHERE ` + t.Column + ` >= toDateTime(@from, 'UTC') AND ` + t.Column + ` < toDateTime(@to, 'UTC')
			AND (@product = '' OR product = @product)` + inBranch + `
		GROUP BY tenant`
	var list []tenantTotals
	err := s.query(clickhouse.AcrossTenants(ctx), "the tenants", sql, func(rows driver.Rows) error {
		var r tenantTotals
		var id string
		var q []int16
		if err := rows.Scan(&id, &r.Products, &r.Requests, &r.Errors, &q); err != nil {
			return err
		}
		r.Tenant, r.Latency = tenant.ID(id), latencyOf(q)
		list = append(list, r)
		return nil
	}, append(append(args, span(w.From.Truncate(t.Width), w.To)...), ch.Named("product", product))...)
	return list, err
}

// productsAcrossTenants returns the names of all products that had requests in the last 30 days. Requests without a
// product are in no filter: its empty value means all.
func (s *store) productsAcrossTenants(ctx context.Context) ([]string, error) {
	var list []string
	err := s.query(clickhouse.AcrossTenants(ctx), "the products",
		`SELECT DISTINCT product FROM latency_1h WHERE hour >= now() - INTERVAL 30 DAY AND product != '' ORDER BY product`,
		func(rows driver.Rows) error {
			var p string
			if err := rows.Scan(&p); err != nil {
				return err
			}
			list = append(list, p)
			return nil
		})
	return list, err
}

// sparkPoints is how many points a sparkline has.
const sparkPoints = 30

// sparksAcrossTenants returns each tenant's P95 in milliseconds over the window as sparkPoints values, NaN where there
// was no request.
func (s *store) sparksAcrossTenants(ctx context.Context, w window, product string, tenants []tenant.ID) (map[tenant.ID][]float64, error) {
	sparks := make(map[tenant.ID][]float64, len(tenants))
	if len(tenants) == 0 {
		return sparks, nil
	}
	t := w.fleetTier()
	ids := make([]string, len(tenants))
	for i, id := range tenants {
		ids[i] = string(id)
		v := make([]float64, sparkPoints)
		for j := range v {
			v[j] = noLatency().P95
		}
		sparks[id] = v
	}
	from := w.From.Truncate(t.Width)
	step := uint32(max(w.To.Sub(from)/sparkPoints, t.Width).Seconds())
	sql := `
		SELECT tenant, intDiv(toUnixTimestamp(` + t.Column + `) - @from, @step) AS point,
			quantilesExactWeighted(0.95)(bucket, n)[1]
		FROM ` + t.Table + `
		ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS n
		WHERE ` + t.Column + ` >= toDateTime(@from, 'UTC') AND ` + t.Column + ` < toDateTime(@to, 'UTC')
			AND tenant IN @tenants AND (@product = '' OR product = @product)
		GROUP BY tenant, point`
	args := append(span(from, w.To), ch.Named("step", step), ch.Named("tenants", ids), ch.Named("product", product))
	err := s.query(clickhouse.AcrossTenants(ctx), "the sparklines", sql, func(rows driver.Rows) error {
		var id string
		var point int64
		var bucket int16
		if err := rows.Scan(&id, &point, &bucket); err != nil {
			return err
		}
		if v := sparks[tenant.ID(id)]; point >= 0 && point < int64(len(v)) {
			v[point] = bucketMillis(bucket)
		}
		return nil
	}, args...)
	return sparks, err
}

// anyRequest reports whether any request of the tenant is stored, however old.
func (s *store) anyRequest(ctx context.Context, id tenant.ID) (bool, error) {
	found := false
	err := s.query(clickhouse.InTenant(ctx, id), "the tenant's first request", `SELECT 1 FROM latency_1h WHERE tenant = ? LIMIT 1`, func(driver.Rows) error {
		found = true
		return nil
	}, string(id))
	return found, err
}

// anyRequestAcrossTenants reports whether any request was ever stored.
func (s *store) anyRequestAcrossTenants(ctx context.Context) (bool, error) {
	found := false
	err := s.query(clickhouse.AcrossTenants(ctx), "the first request", `SELECT 1 FROM latency_1h LIMIT 1`, func(driver.Rows) error {
		found = true
		return nil
	})
	return found, err
}
