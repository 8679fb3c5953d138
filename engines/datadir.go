package engines

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DirLock says that this process, and no other, uses a directory. The kernel takes it away when the process ends.
type DirLock struct{ f *os.File }

// LockDir makes the directory if need be and locks it with flock on DIR/lock. If another process has it, the error
// names the directory and that process.
func LockDir(dir string) (*DirLock, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open lock file %q: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			pid, _ := os.ReadFile(path)
			return nil, fmt.Errorf("data directory %q is in use by process %s", dir, strings.TrimSpace(string(pid)))
		}
		return nil, fmt.Errorf("cannot lock %q: %w", path, err)
	}
	// A short write over the old content: the file must never be seen empty by someone who asks who holds it.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot write lock file %q: %w", path, err)
	}
	return &DirLock{f}, nil
}

// Unlock gives the directory back. The file stays: to remove it would let two processes lock different files.
func (l *DirLock) Unlock() error {
	if l == nil {
		return nil
	}
	if err := l.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil // given back before
}

// makeDir makes a directory that others can pass through but not list: the PostgreSQL server runs as another user
// when headroom runs as root. What is secret in it has mode 0600 itself. An existing directory keeps its mode.
func makeDir(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("cannot make data directory %q: %w", dir, err)
	}
	return nil
}

// writeFile replaces a file atomically, so that a crash, of the machine too, leaves the old or the new content and
// nothing else: a cluster whose password is lost is lost.
func writeFile(path, content string) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("cannot make %q durable: %w", path, err)
	}
	return nil
}

// secret returns the password stored in the file, making one on first use.
func secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) >= 32 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read password %q: %w", path, err)
	}
	random := make([]byte, 24)
	_, _ = rand.Read(random) // documented never to fail
	s := hex.EncodeToString(random)
	return s, writeFile(path, s+"\n")
}

// pickPorts returns n free loopback ports: those that the file remembers if they are all free, so that a DSN that
// somebody has copied outlives a restart of headroom, else new ones, which it writes to the file.
func pickPorts(path string, n int) ([]int, error) {
	if b, err := os.ReadFile(path); err == nil {
		var ports []int
		for field := range strings.FieldsSeq(string(b)) {
			if port, err := strconv.Atoi(field); err == nil && portFree(port) {
				ports = append(ports, port)
			}
		}
		if len(ports) == n {
			return ports, nil
		}
	}
	// Below the range from which the kernel takes the ports of outgoing connections: one of those could take the
	// port between this look and the engine's bind.
	const lowest, highest = 20000, 32000
	var ports []int
	var text strings.Builder
	for range 1000 {
		port := lowest + mathrand.IntN(highest-lowest)
		if !portFree(port) {
			continue
		}
		ports = append(ports, port)
		fmt.Fprintf(&text, "%d\n", port)
		if len(ports) == n {
			return ports, writeFile(path, text.String())
		}
	}
	return nil, fmt.Errorf("cannot find %d free ports from %d to %d on 127.0.0.1", n, lowest, highest)
}

func portFree(port int) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
