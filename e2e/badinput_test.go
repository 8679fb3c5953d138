package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	tracesvc "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// TestBadSpans sends spans that nobody can store, each together with a good one, which must be counted. The answer says
// how many were refused and what was wrong, with the field and the value.
func TestBadSpans(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	long := strings.Repeat("x", 10_000)
	now := time.Now()
	cases := []struct {
		name   string
		change func(s *tracepb.Span)
		reason string   // label of the metric
		says   []string // in the answer
	}{
		{"no trace id", func(s *tracepb.Span) { s.TraceId = nil }, "trace_id", []string{"trace_id"}},
		{"short trace id", func(s *tracepb.Span) { s.TraceId = []byte{0xab, 0xcd} }, "trace_id", []string{"trace_id", `"abcd"`}},
		{"zero span id", func(s *tracepb.Span) { s.SpanId = make([]byte, 8) }, "span_id", []string{"span_id", `"0000000000000000"`}},
		{"end before start", func(s *tracepb.Span) { s.EndTimeUnixNano = s.StartTimeUnixNano - 1 }, "end_before_start",
			[]string{"end_time_unix_nano", now.UTC().Format("2006-01-02T15:")}},
		{"next year", func(s *tracepb.Span) {
			s.StartTimeUnixNano = uint64(now.AddDate(1, 0, 0).UnixNano())
			s.EndTimeUnixNano = s.StartTimeUnixNano
		}, "in_future", []string{"end_time_unix_nano", now.UTC().AddDate(1, 0, 0).Format("2006-01-02T")}},
		{"older than retention", func(s *tracepb.Span) {
			s.StartTimeUnixNano = uint64(now.AddDate(0, 0, -31).UnixNano())
			s.EndTimeUnixNano = s.StartTimeUnixNano
		}, "too_old", []string{"start_time_unix_nano", now.UTC().AddDate(0, 0, -31).Format("2006-01-02T")}},
		{"tenant id of 10,000 bytes", func(s *tracepb.Span) { s.Attributes[0] = text("tenant.id", long) }, "tenant_id",
			[]string{"tenant.id", "10000 bytes", "xxx"}},
		{"tenant id with a line break", func(s *tracepb.Span) { s.Attributes[0] = text("tenant.id", "ac\nme") }, "tenant_id",
			[]string{"tenant.id", `"ac\nme"`}},
		{"tenant id with a null byte", func(s *tracepb.Span) { s.Attributes[0] = text("tenant.id", "ac\x00me") }, "tenant_id",
			[]string{"tenant.id", `"ac\x00me"`}},
	}
	for _, c := range cases {
		bad, good := requestSpan("careless", "/bad", time.Now(), time.Millisecond, 200), requestSpan("careless", "/good", time.Now(), time.Millisecond, 200)
		c.change(bad)
		metric := fmt.Sprintf("headroom_collector_rejected_spans_total{reason=%q}", c.reason)
		before := metrics(t, w)[metric]
		a, err := post(t.Context(), w.OTLP, w.ingestKey, export("careless", "api", []*tracepb.Span{bad, good}))
		if err != nil {
			t.Fatal(err)
		}
		var answer tracesvc.ExportTraceServiceResponse
		if err := proto.Unmarshal(a.Body, &answer); err != nil || a.Status != http.StatusOK {
			t.Errorf("%s: got %d %q, %v", c.name, a.Status, a.Body, err)
			continue
		}
		if n := answer.GetPartialSuccess().GetRejectedSpans(); n != 1 {
			t.Errorf("%s: %d spans refused, want 1", c.name, n)
		}
		wantSays(t, c.name, answer.GetPartialSuccess().GetErrorMessage(), c.says)
		if after := metrics(t, w)[metric]; after != before+1 {
			t.Errorf("%s: %s went from %v to %v", c.name, metric, before, after)
		}
	}
	ch := embedded(t, w.Headroom)
	eventually(t, 20*time.Second, "the good span of every request is counted, and no other", func() error {
		got, err := ch.Query(t.Context(), "SELECT count(), countIf(route = '/good') FROM requests WHERE product = 'careless'")
		if want := fmt.Sprintf("%d\t%[1]d", len(cases)); err == nil && got != want {
			err = fmt.Errorf("%q, want %q", got, want)
		}
		return err
	})
}

// TestBadRequests sends requests that nobody can read. Each gets its status and an error that says what was wrong, a
// metric counts it, and the service goes on.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	good := func() []byte {
		return export("refused", "api", []*tracepb.Span{requestSpan("careless", "/refused", time.Now(), time.Millisecond, 200)})
	}
	query, err := w.NewKey(t.Context(), "reads only", "query:read")
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := w.NewKey(t.Context(), "revoked", "ingest:write")
	if err != nil {
		t.Fatal(err)
	}
	if err := postAll(t.Context(), w.OTLP, revoked, export("before", "api", nil)); err != nil {
		t.Fatal(err)
	}
	if err := w.API().JSON(t.Context(), http.MethodDelete, "/keys/"+strings.Split(revoked, "_")[1], nil, nil); err != nil {
		t.Fatal(err)
	}
	const (
		malformed = `headroom_collector_refused_requests_total{reason="malformed"}`
		key       = `headroom_collector_refused_requests_total{reason="key"}`
	)
	oversized := append(good(), bytes.Repeat([]byte{0}, 21<<20)...)
	for _, c := range []struct {
		name    string
		key     string
		body    []byte
		headers []string
		status  int
		metric  string
		says    []string
	}{
		{"malformed body", w.ingestKey, []byte("\x0a\xff\xff\xff\xffnot protobuf"), nil, 400, malformed, []string{"resource_spans"}},
		{"malformed JSON", w.ingestKey, []byte(`{"resourceSpans": [`), []string{"Content-Type", "application/json"}, 400, malformed, []string{"JSON"}},
		{"wrong content type", w.ingestKey, good(), []string{"Content-Type", "text/csv"}, 415, malformed, []string{"Content-Type", "text/csv"}},
		{"wrong encoding", w.ingestKey, good(), []string{"Content-Encoding", "br"}, 415, malformed, []string{"Content-Encoding", "br"}},
		{"no gzip", w.ingestKey, good(), []string{"Content-Encoding", "gzip"}, 400, malformed, []string{"gzip"}},
		{"oversized body", w.ingestKey, oversized, nil, 413, malformed, []string{"20971520 bytes"}},
		{"zip bomb", w.ingestKey, bomb(t, 4<<30), []string{"Content-Encoding", "gzip"}, 413, malformed, []string{"20971520 bytes"}},
		{"no key", "", good(), nil, 401, key, []string{"key"}},
		{"no key of ours", "sesame", good(), nil, 401, key, []string{"key"}},
		{"unknown key", "hr_aaaaaaaa_" + strings.Repeat("a", 32), good(), nil, 401, key, []string{"key"}},
		{"revoked key", revoked, good(), nil, 401, key, []string{"revoked"}},
		{"key without the scope", query, good(), nil, 403, key, []string{"reads only", "ingest:write"}},
	} {
		before := metrics(t, w)[c.metric]
		began := time.Now()
		a, err := post(t.Context(), w.OTLP, c.key, c.body, c.headers...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.Status != c.status {
			t.Errorf("%s: got %d %q, want %d", c.name, a.Status, a.Body, c.status)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: answered after %v", c.name, took)
		}
		wantSays(t, c.name, rpcMessage(t, a), c.says)
		if c.key != "" && strings.Contains(string(a.Body), strings.TrimPrefix(c.key, "hr_")) {
			t.Errorf("%s: the answer repeats the key", c.name)
		}
		if after := metrics(t, w)[c.metric]; after <= before {
			t.Errorf("%s: %s stayed at %v", c.name, c.metric, before)
		}
	}
	if err := postAll(t.Context(), w.OTLP, w.ingestKey, good()); err != nil {
		t.Errorf("a good request after the bad ones: %v", err)
	}
	ch := embedded(t, w.Headroom)
	eventually(t, 20*time.Second, "the good request is counted, and no other", func() error {
		got, err := ch.Query(t.Context(), "SELECT count() FROM requests WHERE product = 'refused'")
		if err == nil && got != "1" {
			err = fmt.Errorf("%s requests", got)
		}
		return err
	})
}

// rpcMessage reads the message of an error: a Status, in the request's format.
func rpcMessage(t *testing.T, a harness.Answer) string {
	t.Helper()
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		var s struct{ Message string }
		if err := json.Unmarshal(a.Body, &s); err != nil {
			t.Errorf("cannot read the answer %q: %v", a.Body, err)
		}
		return s.Message
	}
	var s status.Status
	if err := proto.Unmarshal(a.Body, &s); err != nil {
		t.Errorf("cannot read the answer %q: %v", a.Body, err)
	}
	return s.Message
}

// bomb returns a small gzip stream of many zero bytes.
func bomb(t *testing.T, size int64) []byte {
	t.Helper()
	// Members may follow each other: one of a size that is quick to make, many times.
	const member = 64 << 20
	var one bytes.Buffer
	z, err := gzip.NewWriterLevel(&one, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(z, zeros{}, member); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(one.Bytes(), int(size/member))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestBadSLOs sends definitions that say something impossible. The answer names the line, the field and the value; the
// good SLO in the same file is not applied, for a file is applied whole or not at all.
func TestBadSLOs(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	file := func(name string, changes ...string) string {
		return strings.NewReplacer(changes...).Replace(fmt.Sprintf(availabilitySLO, name, "Careless", "careless", "99.9"))
	}
	for _, c := range []struct {
		name, src string
		says      []string
	}{
		{"unknown field", file("careless-a", "budgetingMethod: Occurrences", "budgetingMethod: Occurrences\n  burnRate: 3"), []string{"burnRate", "line"}},
		{"misspelt field", file("careless-b", "objectives:", "objectivs:"), []string{"objectivs", `did you mean \"objectives\"`}},
		{"target over 100 %", file("careless-c", "99.9", "100.5"), []string{"spec.objectives[0].targetPercent", "100.5"}},
		{"target of 100 %", file("careless-d", "99.9", "100"), []string{"spec.objectives[0].targetPercent", "100"}},
		{"target of nothing", file("careless-e", "99.9", "0"), []string{"spec.objectives[0].targetPercent", `"0"`}},
		{"alert that can never fire", file("careless-f", "99.9", "90"), []string{"never fire", "14.4", "90", "93.1"}},
		{"no YAML", "kind: [", []string{"YAML"}},
	} {
		before := metrics(t, w)
		a, err := w.API().Do(t.Context(), http.MethodPut, "/slos", "application/yaml", []byte(file("careless-good")+"---\n"+c.src))
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != http.StatusBadRequest || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s %s", c.name, a.Status, a.Header.Get("Content-Type"), a.Body)
		}
		wantSays(t, c.name, string(a.Body), c.says)
		if !refusedCounted(before, metrics(t, w)) {
			t.Errorf("%s: no metric counts it", c.name)
		}
	}
	var out struct {
		SLOs []struct{ Name string } `json:"slos"`
	}
	if err := w.API().JSON(t.Context(), http.MethodGet, "/slos", nil, &out); err != nil {
		t.Fatal(err)
	}
	for _, s := range out.SLOs {
		if strings.HasPrefix(s.Name, "careless") {
			t.Errorf("%q was applied from a file with mistakes", s.Name)
		}
	}
}

// refusedCounted reports whether a counter of the API's answers with status 400 grew.
func refusedCounted(before, after map[string]float64) bool {
	for name, v := range after {
		if strings.HasPrefix(name, "headroom_api_") && strings.Contains(name, `"400"`) && v > before[name] {
			return true
		}
	}
	return false
}

func metrics(t *testing.T, w *world) map[string]float64 {
	t.Helper()
	m, err := w.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantSays(t *testing.T, name, message string, says []string) {
	t.Helper()
	for _, s := range says {
		if !strings.Contains(message, s) {
			t.Errorf("%s: the answer does not say %q: %q", name, s, message)
		}
	}
}

func gunzip(t *testing.T, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
