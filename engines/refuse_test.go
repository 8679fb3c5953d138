package engines

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	f := func(name string, o Options, want ...string) {
		t.Helper()
		e, err := Start(t.Context(), o)
		if err == nil {
			stopEngines(t, e)
			t.Errorf("%s: started", name)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error does not say %q: %v", name, w, err)
			}
		}
	}
	put := func(path, content string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}

	f("no directory", Options{}, "no data directory")

	dir := t.TempDir()
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	f("in use", testOptions(t, dir), strconv.Quote(dir), "in use by process "+strconv.Itoa(os.Getpid()))
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}

	dir = t.TempDir()
	put(filepath.Join(dir, "clickhouse", "VERSION"), "99.1.0-stable.1\n")
	o := testOptions(t, dir)
	o.SkipPostgres = true
	f("newer ClickHouse", o, dir, "99.1.0-stable.1", "make engines")

	dir = t.TempDir()
	put(filepath.Join(dir, "postgres", "data", "PG_VERSION"), "17\n")
	o = testOptions(t, dir)
	o.SkipClickHouse = true
	f("older PostgreSQL", o, dir, "PostgreSQL 17", "18")

	o = testOptions(t, t.TempDir())
	o.Packages = filepath.Join(t.TempDir(), "nowhere")
	f("no packages", o, o.Packages, "make engines")
	o.Packages = t.TempDir()
	f("empty packages", o, clickhousePackage, postgresPackage, "make engines")
	put(filepath.Join(o.Packages, clickhousePackage, "package.json"), `{"version": "26.7.3-stable.1"}`)
	put(filepath.Join(o.Packages, postgresPackage, "package.json"), `{"version": "18.4.0-beta.17"}`)
	f("no libraries", o, "libchdb.so", "postgres", "make engines")
	put(filepath.Join(o.Packages, clickhousePackage, "libchdb.so"), "not a library")
	o.SkipPostgres = true
	f("broken library", o, "cannot load the ClickHouse library", "libchdb.so")
}

// A failed start must leave nothing behind that is in the way of the next.
func TestStartAfterAFailedStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	versionFile := filepath.Join(dir, "clickhouse", "VERSION")
	if err := os.MkdirAll(filepath.Dir(versionFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(versionFile, []byte("99.1.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := Start(t.Context(), testOptions(t, dir)); err == nil {
		stopEngines(t, e)
		t.Fatal("started on data of a newer ClickHouse")
	}
	if left := processesIn(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(versionFile); err != nil {
		t.Fatal(err)
	}
	startEngines(t, testOptions(t, dir))
}
