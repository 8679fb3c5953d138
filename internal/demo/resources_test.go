package demo

import (
	"cmp"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/klauspost/compress/gzip"
)

// Every metric of the demo is in the collector's vocabulary, every minute has a value, and counters only grow.
func TestObserverSeesEveryMinute(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	c := NewCompany()
	points := map[string]int{}
	counters := map[string][]*metricspb.NumberDataPoint{}
	o := &observer{company: c, schedule: NewSchedule(c), live: morning}
	o.pusher = newPusher(func(r *http.Request) (*http.Response, error) {
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(zr)
		if err != nil {
			t.Fatal(err)
		}
		var req metricspb.MetricsData
		if err := proto.Unmarshal(body, &req); err != nil {
			t.Fatal(err)
		}
		for _, rm := range req.ResourceMetrics {
			for _, m := range rm.ScopeMetrics[0].Metrics {
				if !strings.Contains(string(page), "| `"+m.Name+"` |") {
					t.Errorf("%q is in no vocabulary", m.Name)
				}
				series := rm.Resource.String() + m.Name
				points[m.Name] += len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints())
				counters[series] = append(counters[series], m.GetSum().GetDataPoints()...)
			}
		}
		return response(200, nil), nil
	})
	from := morning.Add(-26 * time.Hour)
	if err := o.fill(t.Context(), chunks(from, morning, nil)); err != nil {
		t.Fatal(err)
	}
	for series, list := range counters {
		slices.SortFunc(list, func(a, b *metricspb.NumberDataPoint) int { return cmp.Compare(a.TimeUnixNano, b.TimeUnixNano) })
		for i, p := range list[min(1, len(list)):] {
			if p.GetAsDouble() < list[i].GetAsDouble() {
				t.Fatalf("%s fell from %g to %g", series, list[i].GetAsDouble(), p.GetAsDouble())
			}
		}
	}
	databases := 0
	for _, i := range c.Instances {
		if i.System == "postgresql" {
			databases++
		}
	}
	if got, want := points["postgresql.connection.max"], databases*26*60; got != want {
		t.Errorf("%d points of postgresql.connection.max, want %d", got, want)
	}
	if len(points) != 15 {
		t.Errorf("metrics: %v", points)
	}
}
