package collector

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// boundKeys is an Authenticator whose keys are bound to what their text says: TENANT/PRODUCT.
type boundKeys struct{}

func (boundKeys) Authenticate(_ context.Context, token string) (tenant.Identity, error) {
	id, product, _ := strings.Cut(token, "/")
	who := tenant.Identity{Name: token, Scopes: []tenant.Scope{tenant.ScopeIngest}, Tenant: tenant.ID(id), Product: product}
	for _, c := range token {
		who.KeyID = who.KeyID<<5 ^ int64(c)
	}
	return who, nil
}

// TestBoundKeysSendTheirOwnOnly sends what names nobody, what names the right ones and what names others, by every protocol.
func TestBoundKeysSendTheirOwnOnly(t *testing.T) {
	db := testenv.NewClickHouse(t)
	r := start(t, db, t.TempDir(), func(o *Options) { o.Auth = boundKeys{} })
	now := time.Now()
	resource := func(id, product string) *resourcepb.Resource {
		res := &resourcepb.Resource{}
		if id != "" {
			res.Attributes = append(res.Attributes, text("tenant.id", id))
		}
		if product != "" {
			res.Attributes = append(res.Attributes, text("service.namespace", product))
		}
		return res
	}
	// Each of them carries two things that are good when id and product are.
	requests := map[string]func(id, product string) (path string, body []byte, partial proto.Message, headers []string){
		"spans": func(id, product string) (string, []byte, proto.Message, []string) {
			req := export(server("one"), server("two"))
			req.ResourceSpans[0].Resource = resource(id, product)
			return "/v1/traces", encode(t, req), &collectorpb.ExportTraceServiceResponse{}, nil
		},
		"points": func(id, product string) (string, []byte, proto.Message, []string) {
			req := metricsOf(gauge("one", double(now, 1)), gauge("two", double(now, 1)))
			req.ResourceMetrics[0].Resource = resource(id, product)
			return "/v1/metrics", encode(t, req), &metricscollector.ExportMetricsServiceResponse{}, nil
		},
		"samples": func(id, product string) (string, []byte, proto.Message, []string) {
			labels := []string{}
			if product != "" {
				labels = append(labels, "service_namespace", product)
			}
			if id != "" {
				labels = append(labels, "tenant_id", id)
			}
			req := newRequest2().add(sampleAt(now, 1), append([]string{"__name__", "one"}, labels...)...).
				add(sampleAt(now, 1), append([]string{"__name__", "two"}, labels...)...)
			return "/api/v1/write", snappyOf(t, req), nil,
				[]string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding", "snappy"}
		},
	}
	for what, request := range requests {
		f := func(key, id, product, refusal string) {
			t.Helper()
			path, body, partial, headers := request(id, product)
			resp := r.post(t, path, body, append(headers, "Authorization", "Bearer "+key)...)
			want := http.StatusOK
			if partial == nil {
				if want = http.StatusNoContent; refusal != "" {
					want = http.StatusBadRequest
				}
			}
			if resp.status != want || !strings.Contains(string(resp.body), refusal) || partial != nil && (len(resp.body) > 0) != (refusal != "") {
				t.Errorf("%s of %q and %q by %q: got %d %q, want %d with %q", what, id, product, key, resp.status, resp.body, want, refusal)
			}
		}
		f("acme", "", "", "")
		f("globex", "", "", "") // the same series, of another
		f("acme", "acme", "books", "")
		f("acme", "globex", "books", `tenant.id: must be "acme"`)
		f("/shop", "", "", "")
		f("/shop", "globex", "shop", "")
		f("/shop", "globex", "books", `service.namespace: must be "shop"`)
		f("acme/shop", "", "", "")
		f("acme/shop", "acme", "books", `service.namespace: must be "shop"`)
		f("acme/shop", "globex", "shop", `tenant.id: must be "acme"`)
	}
	r.awaitEmptySpool(t)
	wantOwners := func(table, times string) {
		t.Helper()
		var want []string
		for _, owner := range []string{"acme,", "globex,", "acme,books", ",shop", "globex,shop", "acme,shop"} {
			want = append(want, owner+","+times)
		}
		slices.Sort(want)
		wantRows(t, db, `SELECT arrayStringConcat(arraySort(groupArray(concat(tenant, ',', product, ',', toString(n)))), ' ')
			FROM (SELECT tenant, product, count() AS n FROM `+table+` GROUP BY tenant, product)`, strings.Join(want, " "))
	}
	wantOwners("requests", "2")
	wantOwners("trace_spans", "2")
	wantOwners("metric_points", "4") // by two protocols
	wantOwners("metric_series", "4")
	wantRows(t, db, `SELECT toString(count() - uniqExact(series)) FROM metric_series`, "0")
}
