package app_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/app"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// site is a whole headroom of one process, and who pushes to it.
type site struct {
	t             *testing.T
	console, otlp string
	key           string
	out           *output

	mu   sync.Mutex
	sent map[string]int // requests acknowledged, by tenant
	next uint64         // of span ids
}

var readyLine = regexp.MustCompile(`ready console=(\S+).* otlp=(\S+)`)

func startSite(t *testing.T, o app.Options) (*site, func() error) {
	t.Helper()
	out, stop := start(t, o)
	s := &site{t: t, out: out, sent: map[string]int{}}
	eventually(t, "the start", func() string {
		m := readyLine.FindStringSubmatch(out.String())
		if m == nil {
			return "no line ready in:\n" + out.String()
		}
		s.console, s.otlp = m[1], m[2]
		return ""
	})
	b, err := os.ReadFile(filepath.Join(o.Data, "admin-key"))
	if err != nil {
		t.Fatal(err)
	}
	s.key = strings.TrimSpace(string(b))
	return s, stop
}

func (s *site) do(ctx context.Context, method, url, contentType string, body []byte) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, b
}

// api calls the API, wants the status, and decodes the answer into out.
func (s *site) api(method, path, body string, want int, out any) {
	s.t.Helper()
	code, b := s.do(s.t.Context(), method, s.console+"/api/v1"+path, "application/json", []byte(body))
	if code != want {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, code, b, want)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			s.t.Fatal(err)
		}
	}
}

// push sends n requests of each tenant in one body, until it is acknowledged, and returns how many were refused. What is
// refused is of gone.
func (s *site) push(ctx context.Context, gone string, n int, ids ...string) (refused int) {
	s.mu.Lock()
	var spans []*tracepb.Span
	now := uint64(time.Now().UnixNano())
	for _, id := range ids {
		for range n {
			s.next++
			span := [8]byte{1: byte(s.next >> 24), 2: byte(s.next >> 16), 3: byte(s.next >> 8), 4: byte(s.next), 7: 1}
			spans = append(spans, &tracepb.Span{
				TraceId: append(span[:], span[:]...), SpanId: span[:], Name: "GET /a", Kind: tracepb.Span_SPAN_KIND_SERVER,
				StartTimeUnixNano: now - 1e6, EndTimeUnixNano: now,
				Attributes: []*commonpb.KeyValue{text("http.route", "/a"), text("tenant.id", id)},
			})
		}
	}
	s.mu.Unlock()
	body, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.namespace", "shop"), text("service.name", "checkout")}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		s.t.Error(err)
		return 0
	}
	for ctx.Err() == nil {
		code, b := s.do(ctx, http.MethodPost, s.otlp+"/v1/traces", "application/x-protobuf", body)
		if code != 200 {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		var res collectorpb.ExportTraceServiceResponse
		if err := proto.Unmarshal(b, &res); err != nil {
			s.t.Error(err)
		}
		refused = int(res.GetPartialSuccess().GetRejectedSpans())
		if refused > 0 && !strings.Contains(res.GetPartialSuccess().GetErrorMessage(), "was deleted") {
			s.t.Errorf("refused for another reason: %s", res.GetPartialSuccess().GetErrorMessage())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range ids {
			s.sent[id] += n
		}
		s.sent[gone] -= refused
		return refused
	}
	return 0
}

func text(key, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

// perTenant are the tables whose rows, or sums of a column, are the requests of a tenant.
var perTenant = map[string]string{"requests": "count()", "trace_spans": "count()", "latency_1m": "sum(requests)", "latency_1h": "sum(requests)", "ingest_1m": "sum(spans)"}

// stored returns how many requests a table has of each tenant.
func stored(t *testing.T, db *testenv.ClickHouse, table string) map[string]int {
	t.Helper()
	rows, err := db.Owner.Query(t.Context(), fmt.Sprintf("SELECT tenant, toInt64(%s) AS n FROM %s GROUP BY tenant HAVING n > 0", perTenant[table], table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	got := map[string]int{}
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		got[id] = int(n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// awaitStored waits until every table has, of every tenant, what was sent, and nobody else.
func (s *site) awaitStored(db *testenv.ClickHouse, what string) {
	s.t.Helper()
	eventually(s.t, what, func() string {
		s.mu.Lock()
		want := maps.Clone(s.sent)
		s.mu.Unlock()
		maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
		for table := range perTenant {
			if got := stored(s.t, db, table); !maps.Equal(got, want) {
				return fmt.Sprintf("%s has %v, want %v", table, got, want)
			}
		}
		return ""
	})
}

func (s *site) awaitDeletion(id string) (is tenant.Deletion) {
	s.t.Helper()
	eventually(s.t, "the deletion", func() string {
		s.api(http.MethodGet, "/tenants/"+id+"/deletion", "", 200, &is)
		if is.State != "done" {
			return is.State + " " + is.Detail
		}
		return ""
	})
	for _, table := range is.Tables {
		if table.Left != 0 {
			s.t.Errorf("%s %s has %d rows left", table.Database, table.Table, table.Left)
		}
	}
	return is
}

// TestOneOfFiftyTenantsLeaves exports one tenant and deletes it while all fifty push, and takes it on again.
func TestOneOfFiftyTenantsLeaves(t *testing.T) {
	t.Parallel()
	ch, pg := testenv.NewClickHouse(t), testenv.NewPostgres(t)
	s, stop := startSite(t, app.Options{Version: "test", Data: t.TempDir(), ClickHouse: ch.DSN, Postgres: pg.DSN, Embedded: true})
	ids := make([]string, 50)
	for i := range ids {
		ids[i] = fmt.Sprintf("tenant-%02d", i)
		s.api(http.MethodPost, "/tenants", fmt.Sprintf(`{"tenant":%q,"name":"No. %d","plan":"professional"}`, ids[i], i), 201, nil)
	}
	const gone = "tenant-07"
	s.api(http.MethodPut, "/tenants/"+gone+"/members/ada@example.com", `{"role":"owner","name":"Ada"}`, 204, nil)
	others := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == gone })

	for i := range 10 {
		s.push(t.Context(), gone, 1+i%3, ids...)
	}
	s.awaitStored(ch, "the first requests")

	wanted := s.sent[gone]
	// The others go on while it is exported and deleted, at a pace that leaves the deletion some of two busy cores.
	pushing, quiet := context.WithCancel(t.Context())
	var pushers sync.WaitGroup
	pace := func() {
		select {
		case <-pushing.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	for range 2 {
		pushers.Go(func() {
			for pushing.Err() == nil {
				s.push(pushing, gone, 1, others...)
				pace()
			}
		})
	}
	code, archive := s.do(t.Context(), http.MethodGet, s.console+"/api/v1/tenants/"+gone+"/export", "", nil)
	if code != 200 {
		t.Fatalf("export: got %d %s", code, archive)
	}
	checkExport(t, archive, gone, wanted)

	// The deletion begins while it pushes too.
	pushers.Go(func() {
		for pushing.Err() == nil {
			s.push(pushing, gone, 1, gone, "tenant-08")
			pace()
		}
	})
	s.api(http.MethodDelete, "/tenants/"+gone, "", 400, nil)
	s.api(http.MethodDelete, "/tenants/"+gone+"?confirm="+gone, "", 202, nil)
	is := s.awaitDeletion(gone)
	databases := map[string]bool{}
	for _, table := range is.Tables {
		databases[table.Database+" "+table.Table] = true
	}
	rows, err := ch.Owner.Query(t.Context(), `SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() AND name = 'tenant' AND table IN
		(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	tables := 0
	for rows.Next() {
		var table string
		var left uint64
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		if err := ch.Owner.QueryRow(t.Context(), "SELECT count() FROM "+table+" WHERE tenant = $1", gone).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if tables++; left != 0 || !databases["clickhouse "+table] {
			t.Errorf("%s has %d rows of it; the proof names it: %t", table, left, databases["clickhouse "+table])
		}
	}
	if tables < 10 || !databases["postgresql control.tenants"] || !databases["postgresql control.api_keys"] {
		t.Errorf("only %d tables of ClickHouse, and %v", tables, databases)
	}
	var traces int
	if err := pg.Owner.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM control.tenants WHERE id = $1) + (SELECT count(*) FROM control.api_keys WHERE tenant = $1)
			+ (SELECT count(*) FROM control.tenant_schemas WHERE tenant = $1) + (SELECT count(*) FROM pg_namespace WHERE nspname = $2)`,
		gone, tenant.SchemaName(gone)).Scan(&traces); err != nil || traces != 0 {
		t.Errorf("PostgreSQL has %d rows of it, %v", traces, err)
	}
	s.api(http.MethodPut, "/tenants/"+gone, `{"name":"Back?","plan":"starter"}`, 409, nil)
	if refused := s.push(t.Context(), gone, 3, gone); refused != 3 {
		t.Errorf("after its deletion %d of 3 were refused", refused)
	}
	quiet()
	pushers.Wait()
	s.sent[gone] = 0 // what was taken of it is gone
	s.awaitAll(ch, gone, others)

	s.api(http.MethodPost, "/tenants", fmt.Sprintf(`{"tenant":%q}`, gone), 201, nil)
	eventually(t, "to be taken again", func() string {
		if s.push(t.Context(), gone, 1, gone) > 0 {
			return "it is refused"
		}
		return ""
	})
	s.push(t.Context(), gone, 4, gone)
	s.sent[gone] = 5
	s.awaitAll(ch, gone, others)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// awaitAll is awaitStored once nobody pushes any more: a request that was cut off may have been stored all the same, so it
// is the tables that must agree about the others, and be no less than what was acknowledged.
func (s *site) awaitAll(db *testenv.ClickHouse, gone string, others []string) {
	s.t.Helper()
	eventually(s.t, "everything to be stored", func() string {
		first := stored(s.t, db, "requests")
		if first[gone] != s.sent[gone] {
			return fmt.Sprintf("%d requests of %s, want %d", first[gone], gone, s.sent[gone])
		}
		for _, id := range others {
			if n := first[id]; n < s.sent[id] || n > s.sent[id]+3 {
				return fmt.Sprintf("%d requests of %s, %d were acknowledged and at most 3 cut off", n, id, s.sent[id])
			}
		}
		for table := range perTenant {
			if got := stored(s.t, db, table); !maps.Equal(got, first) {
				return fmt.Sprintf("%s has %v, requests has %v", table, got, first)
			}
		}
		return ""
	})
}

// checkExport compares an archive with what was sent.
func checkExport(t *testing.T, archive []byte, id string, requests int) {
	t.Helper()
	m, err := tenant.VerifyExport(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 10, len(archive) / 3, len(archive) / 2} {
		if _, err := tenant.VerifyExport(bytes.NewReader(archive[:len(archive)-cut])); err == nil {
			t.Errorf("without its last %d bytes it passes", cut)
		}
	}
	rows := map[string]int64{}
	for _, table := range m.Tables {
		rows[table.Database+" "+table.Table] = table.Rows
		if table.Table == "control.api_keys" && !slices.Contains(table.LeftOut, "hash") {
			t.Errorf("hashes of keys are not left out: %+v", table)
		}
	}
	for _, table := range []string{"clickhouse requests", "clickhouse trace_spans"} {
		if rows[table] != int64(requests) {
			t.Errorf("%s: %d rows, want %d", table, rows[table], requests)
		}
	}
	for table, want := range map[string]int64{"postgresql control.tenants": 1, "postgresql control.api_keys": 1, "postgresql " + tenant.SchemaName(tenant.ID(id)) + ".members": 1} {
		if rows[table] != want {
			t.Errorf("%s: %d rows, want %d", table, rows[table], want)
		}
	}
	z, err := zstd.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	counted := int64(0)
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it as it is
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("tenant-08")) {
			t.Errorf("%s names another tenant", h.Name)
		}
		if !strings.Contains(h.Name, "/clickhouse/latency_1h.") {
			continue
		}
		for line := range bytes.Lines(b) {
			var row struct {
				Tenant   string
				Requests int64 `json:",string"`
			}
			if err := json.Unmarshal(line, &row); err != nil || row.Tenant != id {
				t.Errorf("%s, %v", line, err)
			}
			counted += row.Requests
		}
	}
	if counted != int64(requests) {
		t.Errorf("latency_1h counts %d requests, want %d", counted, requests)
	}
}
