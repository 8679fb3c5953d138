package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// TestMainJob is the thing as a whole: services push with OpenTelemetry's SDK, operators read percentiles and budgets,
// a tenant's outage becomes a message in Slack that changes when it is over, and customers read the status page.
func TestMainJob(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	applySLOs(t, w)
	for _, step := range []struct {
		name string
		f    func(t *testing.T, w *world)
	}{
		{"Percentiles", percentiles},
		{"StatusPage", statusPage},
		{"Outage", outage},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.f(t, w) }) {
			return
		}
	}
}

// The names of the main job's objects: a catalog whose numbers are known and that tells nobody, and a shop that pages by
// the workbook's fastest pair only, so that one message is to come.
const (
	catalogProduct = "catalog"
	catalogSLO     = "catalog-availability"
	catalogTitle   = "Catalog availability"
	latencySLO     = "catalog-latency"
	known1         = "acme"

	shopProduct = "shop"
	shopSLO     = "shop-availability"
	shopTitle   = "Shop availability"
	stricken    = "umbra-industries"

	latencyThreshold = 40 * time.Millisecond
)

const slos = `apiVersion: openslo/v1
kind: SLO
metadata: {name: shop-availability, displayName: Shop availability}
spec:
  service: shop
  indicator:
    metadata: {name: shop-answered}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: shop}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: All tenants, targetPercent: 99.9}]
  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: fast}
      spec:
        conditions:
          - kind: AlertCondition
            metadata: {name: hour}
            spec: {severity: page, condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: 1h, alertAfter: 5m}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: catalog-latency, displayName: Catalog latency}
spec:
  service: catalog
  indicator:
    metadata: {name: catalog-fast}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: catalog, threshold: 40ms}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: All tenants, targetPercent: 50}]
  alertPolicies: []
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: catalog-availability, displayName: Catalog availability}
spec:
  service: catalog
  indicator:
    metadata: {name: catalog-answered}
    spec: {ratioMetric: {rawType: success, raw: {metricSource: {type: headroom, spec: {product: catalog}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: All tenants, targetPercent: 95}]
  alertPolicies: []
`

// applySLOs applies the SLOs from a file by the command line.
func applySLOs(t *testing.T, w *world) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "the slos.yaml")
	if err := os.WriteFile(file, []byte(slos), 0o600); err != nil {
		t.Fatal(err)
	}
	out := command(t, "slo", "validate", file)
	if !strings.Contains(out, shopSLO) {
		t.Errorf("slo validate: got %q", out)
	}
	// The key comes from the data directory.
	out = command(t, "slo", "apply", "--server", w.Console, "--data", w.Data, file)
	for _, name := range []string{shopSLO, latencySLO, catalogSLO} {
		if !strings.Contains(out, name) {
			t.Errorf("slo apply does not name %q:\n%s", name, out)
		}
	}
}

// command runs headroom and returns its standard output; it must succeed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	cmd, err := harness.Command(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("headroom %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// known are one tenant's requests as they were sent.
type known struct {
	took         []time.Duration
	errors, fast uint64 // fast: good by the latency SLO
}

const knownRequests = 2500

// percentiles pushes requests whose durations and errors are known and compares what the API makes of them.
func percentiles(t *testing.T, w *world) {
	s := newService(t, w.Headroom, w.ingestKey, catalogProduct, "checkout")
	tenants := map[string]*known{known1: {}, "Globex & Söhne": {}, "initech/eu": {}}
	medians := map[string]time.Duration{known1: 30 * time.Millisecond, "Globex & Söhne": 4 * time.Millisecond, "initech/eu": 900 * time.Millisecond}
	// Whole minutes, so that the API can be asked for exactly these.
	to := time.Now().UTC().Truncate(time.Minute)
	from := to.Add(-40 * time.Minute)
	for tenant, k := range tenants {
		for range knownRequests {
			took := time.Duration(float64(medians[tenant]) * math.Exp(rand.NormFloat64()))
			failed := rand.IntN(25) == 0
			s.request(tenant, from.Add(rand.N(to.Sub(from))), took, failed)
			k.took = append(k.took, took)
			switch {
			case failed:
				k.errors++
			case took <= latencyThreshold:
				k.fast++
			}
		}
		slices.Sort(k.took)
	}
	s.flush(t)

	span := url.Values{"product": {catalogProduct}, "from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	eventually(t, 20*time.Second, "the API has the tenants' requests", func() error {
		list, err := tenantList(t, w.Headroom, span)
		if err != nil {
			return err
		}
		if len(list) != len(tenants) {
			return fmt.Errorf("%d tenants: %+v", len(list), list)
		}
		for _, one := range list {
			if one.Requests != knownRequests {
				return fmt.Errorf("%q has %d requests", one.Tenant, one.Requests)
			}
		}
		return nil
	})
	list, err := tenantList(t, w.Headroom, span)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		k := tenants[one.Tenant]
		if want := float64(k.errors) / knownRequests; math.Abs(one.ErrorRatio-want) > 1e-9 {
			t.Errorf("%q: error ratio %v, want %v", one.Tenant, one.ErrorRatio, want)
		}
		wantPercentile(t, one.Tenant, "P50", one.P50, k.took, 0.50)
		wantPercentile(t, one.Tenant, "P95", one.P95, k.took, 0.95)
		wantPercentile(t, one.Tenant, "P99", one.P99, k.took, 0.99)
		wantSeries(t, w.Headroom, one.Tenant, k, from, to)
		wantCounts(t, w.Headroom, catalogSLO, one.Tenant, knownRequests-k.errors, knownRequests)
		wantCounts(t, w.Headroom, latencySLO, one.Tenant, k.fast, knownRequests)
	}
}

type tenantRow struct {
	Tenant     string  `json:"tenant"`
	Requests   uint64  `json:"requests"`
	ErrorRatio float64 `json:"error_ratio"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
}

func tenantList(t *testing.T, h *harness.Headroom, query url.Values) ([]tenantRow, error) {
	t.Helper()
	var out struct {
		Tenants []tenantRow `json:"tenants"`
	}
	err := h.API().JSON(t.Context(), http.MethodGet, "/tenants?"+query.Encode(), nil, &out)
	return out.Tenants, err
}

// wantPercentile allows 1.1 % around what may be called the percentile: the value of its rank and the next.
func wantPercentile(t *testing.T, tenant, name string, got float64, sorted []time.Duration, q float64) {
	t.Helper()
	millis := func(i int) float64 {
		return float64(sorted[min(max(i, 0), len(sorted)-1)]) / float64(time.Millisecond)
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	low, high := millis(rank-1), millis(rank)
	if got < low*(1-0.011) || got > high*(1+0.011) {
		t.Errorf("%q: %s is %.4f ms, exact %.4f ms", tenant, name, got, low)
		return
	}
	t.Logf("%q: %s %.4f ms, exact %.4f ms (%+.2f %%)", tenant, name, got, low, 100*(got/low-1))
}

// wantSeries checks that the points of the tenant's series are its requests.
func wantSeries(t *testing.T, h *harness.Headroom, tenant string, k *known, from, to time.Time) {
	t.Helper()
	query := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "step": {"5m"}, "service": {"checkout"}, "route": {"/orders"}}
	var out latencySeries
	path := "/tenants/" + url.PathEscape(tenant) + "/latency?" + query.Encode()
	if err := h.API().JSON(t.Context(), http.MethodGet, path, nil, &out); err != nil {
		t.Error(err)
		return
	}
	var requests, errors uint64
	for _, p := range out.Points {
		requests, errors = requests+p.Requests, errors+p.Errors
		if p.Requests > 0 && !(p.P50 > 0 && p.P50 <= p.P95 && p.P95 <= p.P99) {
			t.Errorf("%q: percentiles of %v are %v, %v, %v", tenant, p.Time, p.P50, p.P95, p.P99)
		}
	}
	if requests != uint64(len(k.took)) || errors != k.errors {
		t.Errorf("%q: the series has %d requests and %d errors, want %d and %d", tenant, requests, errors, len(k.took), k.errors)
	}
}

type latencySeries struct {
	Points []struct {
		Time     time.Time `json:"time"`
		Requests uint64    `json:"requests"`
		Errors   uint64    `json:"errors"`
		P50      float64   `json:"p50_ms"`
		P95      float64   `json:"p95_ms"`
		P99      float64   `json:"p99_ms"`
	} `json:"points"`
}

type sloStatus struct {
	State                string     `json:"state"`
	Good                 uint64     `json:"good"`
	Total                uint64     `json:"total"`
	Target               float64    `json:"target"`
	ErrorBudgetRemaining float64    `json:"error_budget_remaining"`
	ExhaustsAt           *time.Time `json:"exhausts_at"`
}

func statusOf(t *testing.T, h *harness.Headroom, slo, tenant string) (s sloStatus, err error) {
	t.Helper()
	err = h.API().JSON(t.Context(), http.MethodGet, "/slos/"+slo+"/status?tenant="+url.QueryEscape(tenant), nil, &s)
	return s, err
}

// wantCounts checks an SLO's counts, which must be exact, and the budget that follows from them.
func wantCounts(t *testing.T, h *harness.Headroom, slo, tenant string, good, total uint64) {
	t.Helper()
	eventually(t, 25*time.Second, fmt.Sprintf("%s counts %q", slo, tenant), func() error {
		s, err := statusOf(t, h, slo, tenant)
		if err != nil {
			return err
		}
		if s.Good != good || s.Total != total {
			return fmt.Errorf("%d good of %d, want %d of %d", s.Good, s.Total, good, total)
		}
		allowed := float64(total) * (100 - s.Target) / 100
		if want := 1 - float64(total-good)/allowed; math.Abs(s.ErrorBudgetRemaining-want) > 1e-6 {
			return fmt.Errorf("budget left %v, want %v", s.ErrorBudgetRemaining, want)
		}
		return nil
	})
}

// The stricken tenant's traffic. The day before holds enough that the budget outlasts the alert: by the time that the
// fastest pair fires, 1.44 % of an hour's requests have failed, which is the budget of 14.4 hours.
const (
	everyRequest  = time.Minute / 720
	dayBefore     = 50 * 20_000
	exportSpans   = 20_000
	outageToSlack = 70 * time.Second // the promise
	recoveryBurst = 5 * exportSpans
)

// outage measures the time from the first failing request to the message in Slack, reads that message, ends the outage
// and waits for the same message to say so.
func outage(t *testing.T, w *world) {
	backfill(t, w)
	s := newService(t, w.Headroom, w.ingestKey, shopProduct, "checkout")
	began := time.Now()
	tick := time.NewTicker(everyRequest)
	defer tick.Stop()
	var first slackMessage
	for first.TS == "" {
		<-tick.C
		s.request(stricken, time.Now(), 20*time.Millisecond, true)
		if found := w.slack.about(shopTitle); len(found) > 0 {
			first = found[0]
		}
		if time.Since(began) > 2*outageToSlack {
			status, err := statusOf(t, w.Headroom, shopSLO, stricken)
			t.Fatalf("no message in Slack %v after the outage began; status %+v, %v; strange calls: %v", 2*outageToSlack, status, err, w.slack.problems())
		}
	}
	took := first.Posted.Sub(began)
	t.Logf("from the first failing request to the message in Slack: %v\n%s", took.Round(100*time.Millisecond), first.Versions[0].Text)
	if took > outageToSlack {
		t.Errorf("the message came after %v, promised within %v", took, outageToSlack)
	}
	wantMessage(t, w, first.Versions[0])
	s.flush(t)
	t.Run("ConsoleInChromium", func(t *testing.T) { consoleInChromium(t, w) })
	t.Run("StatusPageFollows", func(t *testing.T) { wantComponent(t, w, "partial_outage") })

	// It is over: requests succeed, and so many of them that the windows say so at once.
	push(t, w, recoveryBurst/exportSpans, func() time.Time { return time.Now().Add(-time.Second) })
	eventually(t, 2*time.Minute, "the message changes", func() error {
		found := w.slack.about(shopTitle)
		if last := found[0].Versions[len(found[0].Versions)-1]; !strings.Contains(last.Text, "Resolved") {
			return fmt.Errorf("it still says %q", last.Text)
		}
		return nil
	})
	found := w.slack.about(shopTitle)
	if len(found) != 1 || found[0].TS != first.TS {
		t.Errorf("%d messages about one alert, want one that changes", len(found))
	}
	if last := found[0].Versions[len(found[0].Versions)-1]; !strings.Contains(last.Text, stricken) || !strings.Contains(last.Text, shopTitle) {
		t.Errorf("the resolved message does not say whose and of what: %q", last.Text)
	}
	wantComponent(t, w, "operational")
	if p := w.slack.problems(); len(p) > 0 {
		t.Errorf("calls that Slack would not have taken: %v", p)
	}
}

// backfill sends the stricken tenant's last day and hour, all good.
func backfill(t *testing.T, w *world) {
	t.Helper()
	began := time.Now()
	push(t, w, dayBefore/exportSpans, func() time.Time { return began.Add(-3*time.Hour - rand.N(18*time.Hour)) })
	hour := int(time.Hour / everyRequest)
	var spans []*tracepb.Span
	for i := range hour {
		spans = append(spans, requestSpan(stricken, "/orders", time.Now().Add(-time.Duration(i)*everyRequest), 20*time.Millisecond, 200))
	}
	for chunk := range slices.Chunk(spans, exportSpans) {
		if err := postAll(t.Context(), w.OTLP, w.ingestKey, export(shopProduct, "checkout", chunk)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("pushed %d good requests in %v", dayBefore+hour, time.Since(began).Round(time.Millisecond))
	eventually(t, 60*time.Second, "the good requests are counted", func() error {
		s, err := statusOf(t, w.Headroom, shopSLO, stricken)
		if err == nil && s.Total != uint64(dayBefore+hour) {
			err = fmt.Errorf("%d so far", s.Total)
		}
		return err
	})
}

// push sends n bodies of good requests of the stricken tenant. They differ by one attribute only, which makes them other
// requests without the cost of making them.
func push(t *testing.T, w *world, n int, end func() time.Time) {
	t.Helper()
	spans := make([]*tracepb.Span, exportSpans)
	for i := range spans {
		spans[i] = requestSpan(stricken, "/orders", end(), 20*time.Millisecond, 200)
	}
	for i := range n {
		body := export(shopProduct, "checkout", spans, number("e2e.body", int64(i)))
		if err := postAll(t.Context(), w.OTLP, w.ingestKey, body); err != nil {
			t.Fatal(err)
		}
	}
}

// wantMessage checks that the message tells on-call what they need: which tenant and SLO, how fast, how much is left,
// when it runs out, and where to look.
func wantMessage(t *testing.T, w *world, v slackVersion) {
	t.Helper()
	all := v.Text + "\n" + v.Blocks
	for what, want := range map[string]string{
		"the tenant": stricken, "the SLO": shopTitle, "the burn rate": "×", "the budget that is left": "left",
		"when it runs out": "gone", "the tenant's page": w.Console + "/tenants/" + stricken,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the message does not say %s (%q):\n%s\n%s", what, want, v.Text, v.Blocks)
		}
	}
	var blocks []json.RawMessage
	if err := json.Unmarshal([]byte(v.Blocks), &blocks); err != nil || len(blocks) == 0 {
		t.Errorf("the message has no blocks: %q", v.Blocks)
	}
}
