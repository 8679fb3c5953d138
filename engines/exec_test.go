package engines

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func execHelper(t *testing.T, argv ...string) (*exec.Cmd, *bytes.Buffer, string) {
	t.Helper()
	temporary := t.TempDir()
	cmd := exec.Command(testExecutable(t), argv...)
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, os.Stderr
	cmd.Env = append(os.Environ(), helperEnv+"=exec", "TMPDIR="+temporary)
	return cmd, &stdout, temporary
}

func wantExit(t *testing.T, err error, code int) {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case code == 0 && err == nil:
	case errors.As(err, &exit) && exit.ExitCode() == code:
	default:
		t.Errorf("exit %v, want status %d", err, code)
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("left behind: %s", entry.Name())
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	cmd, stdout, temporary := execHelper(t, "sh", "-c",
		`echo "$HEADROOM_CLICKHOUSE|$HEADROOM_POSTGRES|$HEADROOM_BIN|$HEADROOM_ENGINES|$EXTRA"; exit 7`)
	wantExit(t, cmd.Run(), 7)
	fields := strings.Split(strings.TrimSpace(stdout.String()), "|")
	if len(fields) != 5 {
		t.Fatalf("output %q", stdout)
	}
	for i, prefix := range []string{"clickhouse://headroom:", "postgres://headroom:", testExecutable(t), "/", "extra"} {
		if !strings.HasPrefix(fields[i], prefix) {
			t.Errorf("field %d is %q, want %q…", i, fields[i], prefix)
		}
	}
	wantEmpty(t, temporary)
}

func TestExecPassesSignals(t *testing.T) {
	t.Parallel()
	started := filepath.Join(t.TempDir(), "started")
	cmd, _, temporary := execHelper(t, "sh", "-c", `trap 'exit 9' TERM; touch "$0"; while :; do sleep 0.05; done`, started)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, 30*time.Second, func() error { _, err := os.Stat(started); return err })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wantExit(t, cmd.Wait(), 9)
	wantEmpty(t, temporary)
}

func TestExecReportsTheSignalThatEndedTheCommand(t *testing.T) {
	t.Parallel()
	cmd, _, temporary := execHelper(t, "sh", "-c", "kill -KILL $$")
	wantExit(t, cmd.Run(), 128+int(syscall.SIGKILL))
	wantEmpty(t, temporary)
}

func TestExecOfNothing(t *testing.T) {
	t.Parallel()
	cmd, _, temporary := execHelper(t, filepath.Join(t.TempDir(), "no such program"))
	wantExit(t, cmd.Run(), 99)
	wantEmpty(t, temporary)
}
