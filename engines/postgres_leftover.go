package engines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endEarlierRun deals with what postmaster.pid may say after a kill -9 of headroom: the server is still on its way
// out, or is gone and its process id belongs to somebody else by now, which PostgreSQL would take for a running server.
func (s *postgresSpec) endEarlierRun(ctx context.Context) error {
	path := filepath.Join(s.data, "postmaster.pid")
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 0 {
		return nil // PostgreSQL itself says best what is wrong with its file
	}
	// We hold the directory's lock, so a server that still works here has lost its parent.
	worksHere := func() bool { return slices.Contains(arguments(pid), s.data) }
	if !worksHere() {
		if arguments(pid) == nil && syscall.Kill(pid, 0) == nil {
			return nil // alive, and hidden from us: PostgreSQL has a second way to tell, by its shared memory
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("cannot remove stale %q: %w", path, err)
		}
		return nil
	}
	// We hold the directory's lock, so this server has lost its parent.
	for _, signal := range []syscall.Signal{0, syscall.SIGQUIT, syscall.SIGKILL} {
		if signal != 0 {
			_ = syscall.Kill(pid, signal)
		}
		for range 100 {
			if !worksHere() {
				return nil
			}
			if !wait(ctx, 50*time.Millisecond) {
				return context.Cause(ctx)
			}
		}
	}
	return fmt.Errorf("cannot stop PostgreSQL process %d, left over from an earlier run in %q", pid, s.data)
}

// arguments returns a process's argument list, nil if there is none to be seen. Unlike its working directory, root
// may see it without any capability when the process is another user's.
func arguments(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
