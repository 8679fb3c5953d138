package testenv

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// nobody is whom PgBouncer runs as when the test is root, which it refuses.
const nobody = 65534

// NewPgBouncer runs Debian's PgBouncer in transaction mode before a test's database, with at most so many connections
// to it, and returns the user's DSN there. It ends with the test. One that is missing fails the test.
func NewPgBouncer(t testing.TB, user PostgresUser, connections int) (dsn string) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("%v: apt-get install pgbouncer", err)
	}
	server, err := url.Parse(user.DSN)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "headroom-pgbouncer-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := freePort(t)
	users := filepath.Join(dir, "users.txt")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(users, fmt.Sprintf("%q %q\n", user.Name, user.Password))
	ini := filepath.Join(dir, "pgbouncer.ini")
	write(ini, fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = %d
`, server.Hostname(), server.Port(), port, users, connections))

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, ini) // as long as what the test cleans up
	cmd.Stdout, cmd.Stderr = log, log
	if os.Geteuid() == 0 {
		for _, name := range []string{dir, users, ini} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("PgBouncer:\n%s", out)
		}
		_ = log.Close()
	})
	server.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	awaitPostgres(t, server.String())
	return server.String()
}

// awaitPostgres waits until somebody answers queries.
func awaitPostgres(t testing.TB, dsn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			_ = conn.Close(ctx)
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("PgBouncer does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
