package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestKilledEngineIsRestartedOnTheSameDSN(t *testing.T) {
	t.Parallel()
	e := startEngines(t, testOptions(t, t.TempDir()))
	makeRows(t, e)

	f := func(name string, pid func() int, answers func() error) {
		t.Helper()
		before := pid()
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, func() error {
			if now := pid(); now == 0 || now == before {
				return fmt.Errorf("%s has process id %d, before the kill %d", name, now, before)
			}
			return answers()
		})
		wantRows(t, e)
	}
	clickhouse := func() error { _, err := chQuery(e.ClickHouseDSN, "SELECT 1"); return err }
	postgres := func() error { _, err := pgQuery(t.Context(), e.PostgresDSN, "SELECT 1"); return err }
	f("ClickHouse", e.ClickHousePID, clickhouse)
	f("PostgreSQL", e.PostgresPID, postgres)
	f("ClickHouse, again,", e.ClickHousePID, clickhouse)
	f("PostgreSQL, again,", e.PostgresPID, postgres)
}

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startHelper(t, testExecutable(t), dir, nil)
	makeRows(t, h.Engines)
	if len(processesIn(t, dir)) < 2 {
		t.Fatalf("no engines in %s: the test cannot see them", dir)
	}
	h.kill()
	eventually(t, 5*time.Second, func() error {
		if left := processesIn(t, dir); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
	wantRows(t, startEngines(t, testOptions(t, dir)))
}

// A service manager starts headroom again at once, when the engines of the killed one may still be on their way out.
func TestStartRightAfterTheParentWasKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startHelper(t, testExecutable(t), dir, nil)
	makeRows(t, h.Engines)
	h.kill()
	e := startEngines(t, testOptions(t, dir))
	wantRows(t, e)
}

// The pipe is what ends ClickHouse when the parent closes it while it lives on, and the parent's death signal is not
// sent then.
func TestClosedPipeEndsClickHouse(t *testing.T) {
	t.Parallel()
	ch, err := StartClickHouse(t.Context(), testOptions(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Err(); err != nil {
		t.Errorf("an error of an engine that runs: %v", err)
	}
	ch.process.lifeline.Close()
	select {
	case <-ch.Done():
	case <-time.After(5 * time.Second):
		t.Error("ClickHouse runs on")
	}
	if ch.Err() == nil {
		t.Error("no error of an engine that has ended")
	}
	if err := ch.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// After a reboot or in a new container the process id in postmaster.pid often belongs to somebody else.
func TestStalePostmasterPID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions(t, dir)
	o.SkipClickHouse = true
	e, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	stopEngines(t, e)
	stale := fmt.Sprintf("%d\n%s\n0\n1\n\n\n\n", os.Getpid(), filepath.Join(dir, "postgres", "data"))
	if err := os.WriteFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	e = startEngines(t, o)
	mustPG(t, e.PostgresDSN, "SELECT 1")
}

// A server that has lost its parent and yet runs on is ended, not joined by a second one on the same files.
func TestLeftOverPostgresIsEnded(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.SkipClickHouse = true
	pg, err := StartPostgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := pg.spec.endEarlierRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-pg.Done():
	case <-time.After(5 * time.Second):
		t.Error("it runs on")
	}
	if err := pg.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	startEngines(t, o)
}

// Another program took the port between our look and the engine's bind: that must be an error soon, not a wait.
func TestPortTakenMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startEngines(t, testOptions(t, filepath.Join(dir, "first")))

	o, err := testOptions(t, filepath.Join(dir, "second")).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	ch, err := startClickHouse(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := func(taken *int, by string) {
		t.Helper()
		free := *taken
		if _, err := fmt.Sscan(by, taken); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if p, err := ch.spec.launch(t.Context()); err == nil {
			t.Errorf("ClickHouse started on port %s, which is taken", by)
			_ = p.kill()
		} else if time.Since(start) > 20*time.Second {
			t.Errorf("only after %s: %v", time.Since(start), err)
		}
		*taken = free
	}
	http := e.ClickHouseDSN[strings.LastIndex(e.ClickHouseDSN, "=")+1:]
	f(&ch.spec.tcpPort, http)
	f(&ch.spec.httpPort, http)
}

func testExecutable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A client that goes while the server writes to it makes a signal that by default ends the process. It seldom hits a thread
// that does not block it, so what is looked at is the kernel's mask of what is ignored.
func TestBrokenConnectionDoesNotEndClickHouse(t *testing.T) {
	t.Parallel()
	e := startEngines(t, testOptions(t, t.TempDir()))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.ClickHousePID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:")
	line, _, _ := strings.Cut(rest, "\n")
	ignored, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if ignored&(1<<(syscall.SIGPIPE-1)) == 0 {
		t.Errorf("SIGPIPE is not ignored: the mask is %x", ignored)
	}
}
