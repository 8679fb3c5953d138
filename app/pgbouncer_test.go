//go:build peers

package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexis-limited/headroom/app"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/postgres"
)

// TestRunBehindPgBouncer runs everything over three connections that a pooler hands on, with a second DSN for the owner.
func TestRunBehindPgBouncer(t *testing.T) {
	t.Parallel()
	ch, pg := testenv.NewClickHouse(t), testenv.NewPostgres(t)
	user := testenv.NewPostgresUser(t, pg, postgres.AppRole)
	o := app.Options{Version: "test", Data: t.TempDir(), ClickHouse: ch.DSN, Postgres: testenv.NewPgBouncer(t, user, 3), PostgresOwner: pg.DSN,
		Name: "Quillstone"}
	out, stop := start(t, o)
	console := ""
	eventually(t, "the start", func() string {
		m := regexp.MustCompile(`ready console=(\S+)`).FindStringSubmatch(out.String())
		if m == nil {
			return "no line ready in:\n" + out.String()
		}
		console = m[1]
		return ""
	})
	key, err := os.ReadFile(filepath.Join(o.Data, "admin-key"))
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, console+"/api/v1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode >= 300 {
			t.Errorf("%s %s: got %s", method, path, res.Status)
		}
	}
	for range 3 {
		call(http.MethodPut, "/tenants/acme", `{"name":"Acme","plan":"starter"}`)
		call(http.MethodPut, "/tenants/acme/members/ada@example.com", `{"role":"owner"}`)
		call(http.MethodGet, "/tenants/acme/members", "")
		call(http.MethodGet, "/alerts", "")
		call(http.MethodGet, "/slos", "")
		call(http.MethodGet, "/keys", "")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") {
			t.Errorf("it complains: %s", line)
		}
	}
}
