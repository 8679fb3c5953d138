//go:build mounts

package collector

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// smallDisk is a real file system of few bytes: a tmpfs in a mount namespace of its own, which ends with the test. Root
// may make one where it has CAP_SYS_ADMIN, and anybody where user namespaces are allowed. The test sees it through /proc.
type smallDisk struct {
	dir     string
	command io.Writer
	answer  *bufio.Reader
}

func newSmallDisk(t *testing.T, mebibytes int) *smallDisk {
	t.Helper()
	const script = `mount -t tmpfs -o size=%dm,mode=700 tmpfs %[2]q && echo mounted
		while read -r option; do mount -o "remount,$option" %[2]q && echo "$option" || echo failed; done`
	at := t.TempDir()
	var refused []string
	for _, namespaces := range [][]string{{"--mount"}, {"--user", "--map-root-user", "--mount"}} {
		var stderr strings.Builder
		cmd := exec.Command("unshare", append(namespaces, "sh", "-c", fmt.Sprintf(script, mebibytes, at))...)
		cmd.Stderr = &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatalf("cannot run unshare, of util-linux: %v", err)
		}
		d := &smallDisk{dir: filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "root", at), command: in, answer: bufio.NewReader(out)}
		if line, _ := d.answer.ReadString('\n'); line == "mounted\n" {
			t.Cleanup(func() {
				_ = in.Close()
				_ = cmd.Wait()
			})
			return d
		}
		_ = in.Close()
		_ = cmd.Wait()
		refused = append(refused, fmt.Sprintf("unshare %s: %s", strings.Join(namespaces, " "), strings.TrimSpace(stderr.String())))
	}
	t.Fatalf("cannot mount a small disk; run this as root with CAP_SYS_ADMIN (docker run --privileged), or allow user namespaces:\n%s",
		strings.Join(refused, "\n"))
	return nil
}

// remount makes the disk "ro" or "rw". No file on it may be open for writing when it becomes read-only.
func (d *smallDisk) remount(t *testing.T, option string) {
	t.Helper()
	if _, err := fmt.Fprintln(d.command, option); err != nil {
		t.Fatal(err)
	}
	if line, err := d.answer.ReadString('\n'); line != option+"\n" {
		t.Fatalf("cannot remount the disk %s: %q, %v", option, line, err)
	}
}

// fill leaves no byte on the disk; what it returns frees them again.
func (d *smallDisk) fill(t *testing.T) (free func()) {
	t.Helper()
	path := filepath.Join(d.dir, "something-else")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
