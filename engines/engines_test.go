package engines

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	ChildMain()
	helperMain()
	goleak.VerifyTestMain(m)
}

// testOptions are fast and durable at once: tests that kill need fsync on, and a test's engines are small.
func testOptions(t *testing.T, dir string) Options {
	t.Helper()
	return Options{Dir: dir, ClickHouseMemory: 1 << 30, StartTimeout: time.Minute}
}

// startEngines starts both and stops them at the end of the test.
func startEngines(t *testing.T, o Options) *Engines {
	t.Helper()
	e, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopEngines(t, e) })
	return e
}

func stopEngines(t *testing.T, e *Engines) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// eventually polls until f succeeds, or fails the test with f's last error.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %v", within, err)
		case <-tick.C:
		}
	}
}

// chQuery runs a statement over HTTP with what the DSN says and returns the answer without its last newline.
func chQuery(dsn, query string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	password, _ := u.User.Password()
	return chQueryAs(dsn, u.User.Username(), password, query)
}

func chQueryAs(dsn, user, password, query string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	target := fmt.Sprintf("http://127.0.0.1:%s/?database=%s", u.Query().Get("http_port"), strings.TrimPrefix(u.Path, "/"))
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(query))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-ClickHouse-User", user)
	req.Header.Set("X-ClickHouse-Key", password)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", resp.Status, b)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

func mustCH(t *testing.T, dsn, query string) string {
	t.Helper()
	answer, err := chQuery(dsn, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// pgQuery runs one statement and returns its first column as text, the rows joined by spaces.
func pgQuery(ctx context.Context, dsn, query string) (string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		if err != nil || len(v) == 0 {
			return "", err
		}
		return fmt.Sprint(v[0]), nil
	})
	return strings.Join(values, " "), err
}

func mustPG(t *testing.T, dsn, query string) string {
	t.Helper()
	answer, err := pgQuery(t.Context(), dsn, query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// makeRows stores one row in each engine; wantRows checks that they are there.
func makeRows(t *testing.T, e *Engines) {
	t.Helper()
	mustCH(t, e.ClickHouseDSN, "CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
	mustCH(t, e.ClickHouseDSN, "INSERT INTO kept SELECT number FROM numbers(1000)")
	mustPG(t, e.PostgresDSN, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
}

func wantRows(t *testing.T, e *Engines) {
	t.Helper()
	if got := mustCH(t, e.ClickHouseDSN, "SELECT count() FROM kept"); got != "1000" {
		t.Errorf("ClickHouse has %s rows, want 1000", got)
	}
	if got := mustPG(t, e.PostgresDSN, "SELECT count(*) FROM kept"); got != "1000" {
		t.Errorf("PostgreSQL has %s rows, want 1000", got)
	}
}

func TestStartStopRestartKeepsDataAndDSN(t *testing.T) {
	dir := t.TempDir()
	e, err := Start(t.Context(), testOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	makeRows(t, e)
	if e.ClickHousePID() == 0 || e.PostgresPID() == 0 {
		t.Error("no process id for an engine that runs")
	}
	firstCH, firstPG := e.ClickHouseDSN, e.PostgresDSN
	stopEngines(t, e)
	if e.ClickHousePID() != 0 || e.PostgresPID() != 0 {
		t.Error("a process id for an engine that was stopped")
	}

	e = startEngines(t, testOptions(t, dir))
	wantRows(t, e)
	if e.ClickHouseDSN != firstCH || e.PostgresDSN != firstPG {
		t.Errorf("the DSNs have changed with the restart")
	}
}
