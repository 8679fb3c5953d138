package engines

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// helperEnv makes the test binary a program that uses this package, to be killed or watched from outside:
// "serve" starts the engines in a directory, says so, and waits for the end of its standard input;
// "exec" runs the rest of its arguments with fresh engines and exits as they do.
const helperEnv = "HEADROOM_ENGINES_TEST_HELPER"

func helperMain() {
	role := os.Getenv(helperEnv)
	os.Unsetenv(helperEnv)
	ctx := context.Background()
	switch role {
	case "":
		return
	case "serve":
		e, err := Start(ctx, Options{Dir: os.Args[1], ClickHouseMemory: 1 << 30})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready", e.ClickHouseDSN, e.PostgresDSN)
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err := e.Stop(ctx); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "exec":
		code, err := Exec(ctx, Options{}, os.Args[1:], []string{"EXTRA=extra"})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		os.Exit(code)
	}
	os.Exit(0)
}

// helper is a running "serve" program.
type helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	*Engines
}

func startHelper(t *testing.T, executable, dir string, attr *syscall.SysProcAttr) *helper {
	t.Helper()
	cmd := exec.Command(executable, dir)
	cmd.Env = append(os.Environ(), helperEnv+"=serve")
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd, stdin: stdin}
	t.Cleanup(h.kill)
	output := bufio.NewReader(stdout)
	line, _ := output.ReadString('\n')
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "ready" {
		rest, _ := io.ReadAll(output)
		t.Fatalf("the helper did not start: %s%s", line, rest)
	}
	h.Engines = &Engines{ClickHouseDSN: fields[1], PostgresDSN: fields[2]}
	return h
}

// kill ends the helper as nothing can prevent, and waits until the kernel has done so.
func (h *helper) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// processesIn returns the command lines of the processes that work in dir or were told of it, by process id.
func processesIn(t *testing.T, dir string) map[int]string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		cmdline := strings.Join(arguments(pid), " ")
		// A container's root may not see another user's working directory, but then the arguments.
		cwd, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if strings.HasPrefix(cwd, dir) || strings.Contains(cmdline, dir) {
			found[pid] = cmdline
		}
	}
	return found
}

// linkTree copies a directory, by hard links where the file system allows.
func linkTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			return nil // what linkLibraries is for
		}
		if os.Link(path, target) == nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
}
