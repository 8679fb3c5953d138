package engines

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startEngines(t, testOptions(t, dir))
	makeRows(t, e)

	t.Run("clickhouse default user", func(t *testing.T) {
		for _, query := range []string{
			"SELECT * FROM headroom.kept",
			"SELECT * FROM file('/etc/passwd', 'LineAsString')",
			"CREATE DATABASE mine",
			"SELECT count() FROM system.processes SETTINGS max_concurrent_queries_for_user = 0",
		} {
			if answer, err := chQueryAs(e.ClickHouseDSN, "default", "", query); err == nil {
				t.Errorf("%s: allowed, answer %q", query, answer)
			}
		}
	})
	t.Run("clickhouse service user", func(t *testing.T) {
		u, err := url.Parse(e.ClickHouseDSN)
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		if _, err := chQueryAs(e.ClickHouseDSN, serviceName, "wrong", "SELECT 1"); err == nil {
			t.Error("a wrong password is accepted")
		}
		for _, query := range []string{
			"SELECT * FROM file('/etc/passwd', 'LineAsString')",
			"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
			"CREATE TABLE outside (line String) ENGINE = File(LineAsString, '/etc/passwd')",
		} {
			if answer, err := chQuery(e.ClickHouseDSN, query); err == nil || !strings.Contains(err.Error(), "ACCESS_DENIED") {
				t.Errorf("%s: not denied: answer %q, error %v", query, answer, err)
			}
		}
		for _, query := range []string{
			"CREATE DATABASE other", "DROP DATABASE other",
			"CREATE TABLE sums (n UInt64, s SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY n",
			"CREATE MATERIALIZED VIEW sums_mv TO sums AS SELECT n % 10 AS n, sum(n) AS s FROM kept GROUP BY n",
			"INSERT INTO kept SETTINGS insert_deduplication_token = 'a' SELECT number FROM numbers(10)",
			// A dictionary reads as the user it names, and "default" may read nothing.
			"CREATE DICTIONARY dict (n UInt64, m UInt64) PRIMARY KEY n LAYOUT(HASHED()) LIFETIME(0) SOURCE(CLICKHOUSE(USER 'headroom' PASSWORD '" +
				password + "' QUERY 'SELECT n, n AS m FROM headroom.kept'))",
			"SELECT dictGet('headroom.dict', 'm', toUInt64(7))",
			"ALTER TABLE kept DELETE WHERE n = 5 SETTINGS mutations_sync = 1",
			"OPTIMIZE TABLE kept FINAL",
			"CREATE TEMPORARY TABLE temporary (n UInt64)",
			"SELECT count() FROM system.parts",
			"CREATE FUNCTION plus_two AS (x) -> x + 2",
		} {
			mustCH(t, e.ClickHouseDSN, query)
		}
		settings := mustCH(t, e.ClickHouseDSN, `SELECT name || '=' || value FROM system.settings WHERE name IN
			('async_insert', 'deduplicate_blocks_in_dependent_materialized_views', 'cancel_http_readonly_queries_on_client_close') ORDER BY name`)
		want := "async_insert=0\ncancel_http_readonly_queries_on_client_close=1\ndeduplicate_blocks_in_dependent_materialized_views=1"
		if settings != want {
			t.Errorf("settings:\n%s\nwant:\n%s", settings, want)
		}
		if logs := mustCH(t, e.ClickHouseDSN, "SELECT name FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'"); logs != "" {
			t.Errorf("log tables that grow: %s", logs)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		got := mustPG(t, e.PostgresDSN, `SELECT format('%s %s %s %s %s %s %s', rolsuper, rolcreaterole, rolbypassrls,
			pg_get_userbyid(datdba), current_setting('fsync'), current_setting('jit'), rolpassword IS NULL)
			FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()`)
		if want := "f t f headroom on off f"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		mustPG(t, e.PostgresDSN, "CREATE ROLE app")
		mustPG(t, e.PostgresDSN, "CREATE SCHEMA t_1")
		u, err := url.Parse(e.PostgresDSN)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(serviceName, "wrong")
		if _, err := pgQuery(t.Context(), u.String(), "SELECT 1"); err == nil {
			t.Error("a wrong password is accepted")
		}
		if _, err := pgQuery(t.Context(), e.PostgresDSN, "COPY (SELECT 1) TO PROGRAM 'true'"); err == nil {
			t.Error("the service's user may run programs")
		}
	})
	t.Run("secrets", func(t *testing.T) {
		processes := processesIn(t, dir)
		if len(processes) < 2 {
			t.Fatalf("only %d processes found", len(processes))
		}
		for _, dsn := range []string{e.ClickHouseDSN, e.PostgresDSN} {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			password, _ := u.User.Password()
			for pid, cmdline := range processes {
				if strings.Contains(cmdline, password) {
					t.Errorf("the password is in the arguments of process %d", pid)
				}
			}
		}
		for _, file := range []string{"clickhouse/password", "clickhouse/users.xml", "clickhouse/config.xml", "postgres/password", "postgres/admin-password"} {
			st, err := os.Stat(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if st.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", file, st.Mode())
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "postgres", "initdb-password")); !os.IsNotExist(err) {
			t.Errorf("initdb's password file is still there (%v)", err)
		}
	})
}

// Below a directory that only its owner may enter, the case of /root; with a space in the name; and with packages
// installed without their install script.
func TestPathsThatTheServerCannotReachByItself(t *testing.T) {
	t.Parallel()
	private := filepath.Join(t.TempDir(), "only for me")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	packages, err := findPackages("")
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, filepath.Join(private, "the data"))
	o.Packages = filepath.Join(private, "node modules")
	linkTree(t, filepath.Join(packages, postgresPackage), filepath.Join(o.Packages, postgresPackage))
	chdb := filepath.Join(o.Packages, clickhousePackage)
	if err := os.MkdirAll(filepath.Dir(chdb), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, clickhousePackage), chdb); err != nil {
		t.Fatal(err)
	}
	e := startEngines(t, o)
	makeRows(t, e)
	wantRows(t, e)
}

// As root the test runs a copy of itself as an ordinary user; as an ordinary user it does what all tests do.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "headroom-engines-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	executable := filepath.Join(dir, "program")
	b, err := os.ReadFile(testExecutable(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(executable, b, 0o755); err != nil {
		t.Fatal(err)
	}
	var attr *syscall.SysProcAttr
	if os.Geteuid() == 0 {
		const user = 65534 // initdb wants a user with a name
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		if packages, err := findPackages(""); err != nil || !reachable(packages) {
			attr.AmbientCaps = []uintptr{uintptr(traversalCapability())}
		}
		if err := os.Chown(dir, user, user); err != nil {
			t.Fatal(err)
		}
	}
	h := startHelper(t, executable, filepath.Join(dir, "data"), attr)
	makeRows(t, h.Engines)
	wantRows(t, h.Engines)
	if err := h.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	eventually(t, 5*time.Second, func() error {
		if left := processesIn(t, dir); len(left) > 0 {
			return &exec.Error{Name: "left", Err: os.ErrExist}
		}
		return nil
	})
}
