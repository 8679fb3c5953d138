package collector

import (
	"fmt"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/nexis-limited/headroom/internal/testenv"
)

// Whose a series is, is a part of what it is, also where so many attributes come before the tenant's that it is dropped
// from the labels.
func TestTenantBeyondTheLabelsMakesAnotherSeries(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir())
	for _, id := range []string{"acme", "globex"} {
		var labels []*commonpb.KeyValue
		for i := range 256 {
			labels = append(labels, text(fmt.Sprintf("a%03d", i), "x"))
		}
		r.sendMetrics(t, gauge("m", double(time.Now(), 1, append(labels, text("tenant.id", id))...)))
	}
	r.awaitEmptySpool(t)
	wantRows(t, db, "SELECT concat(toString(uniqExact(series)), ' series of ', toString(uniqExact(tenant)), ' tenants') FROM metric_series",
		"2 series of 2 tenants")
}
