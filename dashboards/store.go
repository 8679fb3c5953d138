package dashboards

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/nexis-limited/headroom/fault"
)

// queryTimeout bounds one query. A panel that takes longer says so instead of holding the page.
const queryTimeout = 5 * time.Second

// store reads telemetry. Methods take a tenant and see no other, or say in their name that they cross tenants.
type store struct{ conn driver.Conn }

// query runs a query and hands each row to scan. The context says whose rows it may see, which is the second wall behind
// the query's own condition.
func (s *store) query(ctx context.Context, what, sql string, scan func(driver.Rows) error, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return translate(ctx, what, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("cannot read %s: %w", what, err)
		}
	}
	return translate(ctx, what, rows.Err())
}

// translate gives the errors of a server that is away or slow a kind and words for people.
func translate(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	var exception *ch.Exception
	var network net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &exception) && exception.Code == codeTimeout:
		return fault.Wrap(err, fault.Unavailable, "reading %s took longer than %d s", what, int(queryTimeout.Seconds()))
	case errors.As(err, &exception):
		return fmt.Errorf("cannot read %s: %w", what, err)
	case errors.As(err, &network), errors.Is(err, ch.ErrAcquireConnTimeout), errors.Is(err, ch.ErrConnectionClosed), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
		return fault.Wrap(err, fault.Unavailable, "ClickHouse does not answer")
	}
	return fmt.Errorf("cannot read %s: %w", what, err)
}

const codeTimeout = 159 // TIMEOUT_EXCEEDED

// span returns the arguments that bound a query's time.
func span(from, to time.Time) []any {
	return []any{ch.Named("from", uint32(from.Unix())), ch.Named("to", uint32(to.Unix()))} //nolint:gosec // until 2106
}

// Latency holds the percentiles of some requests. They are NaN when there were none.
type Latency struct {
	P50, P95, P99 float64 // milliseconds
}

// noLatency is what no request has.
func noLatency() Latency { return Latency{math.NaN(), math.NaN(), math.NaN()} }

// latencyOf turns the histogram buckets of the three percentiles into milliseconds.
func latencyOf(buckets []int16) Latency {
	if len(buckets) != 3 {
		return noLatency()
	}
	return Latency{bucketMillis(buckets[0]), bucketMillis(buckets[1]), bucketMillis(buckets[2])}
}

// bucketMillis returns the middle of bucket i of the exponential histogram at scale 5, which is within 1.1 % of any
// value in it: docs/adr/0002.
func bucketMillis(i int16) float64 { return math.Pow(2, (float64(i)+0.5)/32) / 1e6 }
