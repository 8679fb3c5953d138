package app_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/app"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

var (
	otlpURL     = regexp.MustCompile(`otlp=(\S+)`)
	internalURL = regexp.MustCompile(`internal=(\S+)`)
)

// TestCollectorStartsWithoutClickHouse starts a collector alone while ClickHouse is away: it takes telemetry and says so.
func TestCollectorStartsWithoutClickHouse(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	_, key, err := tenant.NewKeys(pg.Pool).Create(t.Context(), "test", tenant.NewKey{Name: "ingest", Scopes: []tenant.Scope{tenant.ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	out, stop := start(t, app.Options{Version: "test", Data: t.TempDir(), ClickHouse: "clickhouse://u:p@127.0.0.1:1/x", Postgres: pg.DSN, Roles: []app.Role{app.RoleCollector}})
	var otlp, internal string
	eventually(t, "the start", func() string {
		o, i := otlpURL.FindStringSubmatch(out.String()), internalURL.FindStringSubmatch(out.String())
		if o == nil || i == nil {
			return "no line ready in:\n" + out.String()
		}
		otlp, internal = o[1], i[1]
		if code, body := fetch(t, internal+"/readyz"); code != 200 {
			return "readyz answers " + body
		}
		return ""
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, otlp+"/v1/traces", strings.NewReader(`{"resourceSpans":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
