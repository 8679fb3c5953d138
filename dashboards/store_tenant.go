package dashboards

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/clickhouse"
	"github.com/nexis-limited/headroom/tenant"
)

// seriesQuery says which of a tenant's requests a series counts. Empty fields match everything.
type seriesQuery struct {
	window
	Branch                  *tenant.Branch // only what is in it; nil: all
	Product, Service, Route string
}

// point is one step of a series. Without requests its percentiles are NaN.
type point struct {
	At               time.Time // the step's start
	Requests, Errors uint64
	Latency
}

// series returns a tenant's requests, errors and percentiles over time: one point for every step of the window, also
// where nothing happened. The window is aligned to its step first; steps are whole minutes.
func (s *store) series(ctx context.Context, t tenant.ID, q seriesQuery) ([]point, error) {
	w := q.aligned()
	tr := w.seriesTier()
	points := make([]point, 0, int(w.To.Sub(w.From)/w.Step))
	for at := w.From; at.Before(w.To); at = at.Add(w.Step) {
		points = append(points, point{At: at, Latency: noLatency()})
	}
	inBranch, args := branchCondition(q.Branch)
	sql := `
		SELECT intDiv(toUnixTimestamp(` + tr.Column + `) - @from, @step) AS point, sum(n), sumIf(errors, i = 1),
			quantilesExactWeighted(0.5, 0.95, 0.99)(bucket, n)
		FROM ` + tr.Table + `
		ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS n, arrayEnumerate(mapKeys(histogram)) AS i
		WHERE tenant = @tenant AND ` + tr.Column + ` >= toDateTime(@from, 'UTC') AND ` + tr.Column + ` < toDateTime(@to, 'UTC')
			AND (@product = '' OR product = @product) AND (@service = '' OR service = @service) AND (@route = '' OR route = @route)` + inBranch + `
		GROUP BY point`
	args = append(append(args, span(w.From, w.To)...), ch.Named("tenant", string(t)), ch.Named("step", uint32(w.Step.Seconds())),
		ch.Named("product", q.Product), ch.Named("service", q.Service), ch.Named("route", q.Route))
	err := s.query(clickhouse.InTenant(ctx, t), "the percentiles", sql, func(rows driver.Rows) error {
		var i int64
		var p point
		var buckets []int16
		if err := rows.Scan(&i, &p.Requests, &p.Errors, &buckets); err != nil {
			return err
		}
		if i >= 0 && i < int64(len(points)) {
			p.At, p.Latency = points[i].At, latencyOf(buckets)
			points[i] = p
		}
		return nil
	}, args...)
	return points, err
}

// routeTotals are a tenant's requests of one route over a window. The rows of the whole tenant have no names.
type routeTotals struct {
	Product, Service, Route string
	Requests, Errors        uint64
	Latency
}

// ErrorRatio returns the share of requests that failed, 0 when there were none.
func (r *routeTotals) ErrorRatio() float64 { return ratio(r.Errors, r.Requests) }

// routes returns a tenant's routes over the window, the most failures first, then the most requests; and the totals
// over all of them, also of those beyond limit.
func (s *store) routes(ctx context.Context, t tenant.ID, w window, limit int) (total routeTotals, list []routeTotals, products []string, err error) {
	minutes, hours := tiers()
	tr := minutes
	if w.To.Sub(w.From) > 24*time.Hour {
		tr = hours
	}
	sql := `
		SELECT grouping(route) = 1 AS whole, product, service, route, groupUniqArray(product), sum(n) AS total,
			sumIf(errors, i = 1) AS failed, quantilesExactWeighted(0.5, 0.95, 0.99)(bucket, n)
		FROM ` + tr.Table + `
		ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS n, arrayEnumerate(mapKeys(histogram)) AS i
		WHERE tenant = @tenant AND ` + tr.Column + ` >= toDateTime(@from, 'UTC') AND ` + tr.Column + ` < toDateTime(@to, 'UTC')
		GROUP BY GROUPING SETS ((product, service, route), ())
		ORDER BY whole DESC, failed DESC, total DESC, product, service, route
		LIMIT @limit`
	args := append(span(w.From.Truncate(tr.Width), w.To), ch.Named("tenant", string(t)), ch.Named("limit", limit+1))
	total.Latency = noLatency()
	err = s.query(clickhouse.InTenant(ctx, t), "the routes", sql, func(rows driver.Rows) error {
		var whole uint8
		var names []string
		var r routeTotals
		var q []int16
		if err := rows.Scan(&whole, &r.Product, &r.Service, &r.Route, &names, &r.Requests, &r.Errors, &q); err != nil {
			return err
		}
		r.Latency = latencyOf(q)
		if whole == 1 {
			total, products = r, names
			return nil
		}
		list = append(list, r)
		return nil
	}, args...)
	return total, list, products, err
}

// failedRequest is an entry span that was an error.
type failedRequest struct {
	At                      time.Time // its start
	Product, Service, Route string
	Method, Version         string
	Status                  uint16
	Took                    time.Duration
	Error                   string // exception, else status message, may be empty
	TraceID                 string // hex
}

// failed returns the tenant's newest failing requests of the window.
func (s *store) failed(ctx context.Context, t tenant.ID, w window, limit int) ([]failedRequest, error) {
	const entryKinds = "(2, 5)" // SERVER, CONSUMER
	// The table spans holds what came before migration 4.
	const from = `
			SELECT ts, product, service, if(route = '', name, route) AS route, attributes['http.request.method'] AS method, version,
				status, duration_ns, if(exception = '', status_message, exception) AS why, trace_id
			FROM %s
			WHERE tenant = @tenant AND ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC')
				AND error = 1 AND kind IN ` + entryKinds + `
			ORDER BY ts DESC
			LIMIT @limit`
	sql := "SELECT * FROM ((" + fmt.Sprintf(from, "trace_spans") + ") UNION ALL (" + fmt.Sprintf(from, "spans") + `))
		ORDER BY ts DESC LIMIT @limit`
	var list []failedRequest
	err := s.query(clickhouse.InTenant(ctx, t), "the failing requests", sql, func(rows driver.Rows) error {
		var r failedRequest
		var took uint64
		var trace string
		if err := rows.Scan(&r.At, &r.Product, &r.Service, &r.Route, &r.Method, &r.Version, &r.Status, &took, &r.Error, &trace); err != nil {
			return err
		}
		r.Took, r.TraceID = time.Duration(took), hex.EncodeToString([]byte(trace)) //nolint:gosec // no request takes 292 years
		list = append(list, r)
		return nil
	}, append(span(w.From, w.To), ch.Named("tenant", string(t)), ch.Named("limit", limit))...)
	return list, err
}
