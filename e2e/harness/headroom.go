// Package harness runs the built headroom as a user does: it starts the binary, reads the addresses from its line
// "ready", and stops or kills it. The end-to-end tests and the program that takes the screenshots share it.
package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Options say how to start headroom. Zero values take the defaults named here.
type Options struct {
	Command string   // "up" by default; "demo"
	Data    string   // data directory; required
	Args    []string // further flags
	Listen  *Listen  // free ports by default
	Log     io.Writer
	Within  time.Duration // how long it may take to be ready; 60 s by default
}

// Listen holds the addresses of the listeners, HOST:PORT. To restart headroom in its place, give those of the one before.
type Listen struct{ HTTP, Status, OTLP, GRPC, Internal string }

// Headroom is a running headroom.
type Headroom struct {
	Console, Status, OTLP, GRPC, Internal string // base URLs
	Data                                  string
	AdminKey                              string
	Ready                                 time.Duration // how long it took to be ready

	options Options
	cmd     *exec.Cmd
	log     *tail
	ready   chan string   // gets what follows "ready" in its line
	done    chan struct{} // closed when the process has ended
	err     error         // of Wait; valid after done
	ended   bool          // by Kill or Stop
}

// Binary returns the headroom to test: $HEADROOM_BIN, else bin/headroom of the repository that contains the working
// directory.
func Binary() (string, error) {
	if file := os.Getenv("HEADROOM_BIN"); file != "" {
		return isProgram(file)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return isProgram(filepath.Join(root, "bin", "headroom"))
}

func isProgram(file string) (string, error) {
	st, err := os.Stat(file)
	if err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
		return "", fmt.Errorf("cannot find the headroom to test, %q: run `make build`", file)
	}
	return filepath.Abs(file)
}

// Root returns the repository's directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("cannot find the repository: no go.mod here or above")
		}
	}
}

// environment returns this process's without what would configure headroom: DSNs of "engines exec", a Slack token.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HEADROOM_") || strings.HasPrefix(v, "HEADROOM_ENGINES=") {
			env = append(env, v)
		}
	}
	return env
}

// Command returns a call of the headroom to test, in an environment that configures nothing.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = environment()
	return cmd, nil
}

// Start starts headroom and returns when it is ready. It outlives ctx, which bounds the start only.
func Start(ctx context.Context, o Options) (*Headroom, error) {
	if o.Command == "" {
		o.Command = "up"
	}
	if o.Listen == nil {
		o.Listen = &Listen{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}
	}
	if o.Within == 0 {
		o.Within = time.Minute
	}
	args := append([]string{o.Command, "--data", o.Data, "--listen-http", o.Listen.HTTP, "--listen-status", o.Listen.Status,
		"--listen-otlp-http", o.Listen.OTLP, "--listen-otlp-grpc", o.Listen.GRPC, "--listen-internal", o.Listen.Internal}, o.Args...)
	cmd, err := Command(context.WithoutCancel(ctx), args...)
	if err != nil {
		return nil, err
	}
	h := &Headroom{Data: o.Data, options: o, cmd: cmd, log: newTail(o.Log), ready: make(chan string, 1), done: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = h.log
	// Should this process be killed, so is headroom. The signal comes when the starting thread ends, which therefore
	// waits for as long as headroom runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			h.wait(stdout)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start headroom: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Within)
	defer cancel()
	select {
	case line := <-h.ready:
		h.Ready = time.Since(began)
		err = h.learn(line)
	case <-h.done:
		err = fmt.Errorf("ended before it was ready: %w", h.exit())
	case <-ctx.Done():
		err = fmt.Errorf("was not ready within %v", o.Within)
	}
	if err != nil {
		_ = h.Kill()
		return nil, fmt.Errorf("headroom %s %w\n%s", o.Command, err, h.Log())
	}
	return h, nil
}

// wait reads standard output to its end and then waits for the process.
func (h *Headroom) wait(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		_, _ = fmt.Fprintln(h.log, lines.Text())
		if line, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			h.ready <- line
		}
	}
	h.err = h.cmd.Wait()
	close(h.done)
}

// learn reads the addresses of the line "ready" and the first API key.
func (h *Headroom) learn(line string) error {
	urls := map[string]*string{"console": &h.Console, "status": &h.Status, "otlp": &h.OTLP, "otlp-grpc": &h.GRPC, "internal": &h.Internal}
	for field := range strings.FieldsSeq(line) {
		name, url, _ := strings.Cut(field, "=")
		if dst, ok := urls[name]; ok {
			*dst = url
		}
	}
	for name, url := range urls {
		if *url == "" {
			return fmt.Errorf("names no %s in its line %q", name, "ready "+line)
		}
	}
	key, err := os.ReadFile(filepath.Join(h.Data, "admin-key"))
	if err != nil {
		return fmt.Errorf("left no API key: %w", err)
	}
	h.AdminKey = strings.TrimSpace(string(key))
	return nil
}

// exit says how the process ended.
func (h *Headroom) exit() error {
	if h.err == nil {
		return errors.New("exit status 0")
	}
	return h.err
}

// PID returns the process's id.
func (h *Headroom) PID() int { return h.cmd.Process.Pid }

// Done is closed when the process has ended.
func (h *Headroom) Done() <-chan struct{} { return h.done }

// Ended reports whether Kill or Stop was called.
func (h *Headroom) Ended() bool { return h.ended }

// Log returns the last of what it wrote.
func (h *Headroom) Log() string { return h.log.String() }

// Kill ends the process as kill -9 does and returns when it is gone. Its engines follow by themselves.
func (h *Headroom) Kill() error {
	h.ended = true
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-h.done
	return nil
}

// stopWithin bounds an orderly stop.
const stopWithin = time.Minute

// Stop asks the process to end and returns when it has. It is an error when it does not end with status 0, or leaves a
// process behind.
func (h *Headroom) Stop() error {
	h.ended = true
	children := Descendants(h.PID())
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("cannot stop headroom: %w (%w)\n%s", err, h.exit(), h.Log())
	}
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-h.done:
	case <-late.C:
		_ = h.Kill()
		return fmt.Errorf("headroom did not stop within %v\n%s", stopWithin, h.Log())
	}
	if h.err != nil {
		return fmt.Errorf("headroom stopped with %w\n%s", h.err, h.Log())
	}
	for _, p := range children {
		if p.Alive() {
			return fmt.Errorf("headroom left a process behind: %s", p)
		}
	}
	return nil
}

// Restart starts headroom again on the same data and addresses, with the same flags, after Kill or Stop.
func (h *Headroom) Restart(ctx context.Context) (*Headroom, error) {
	o := h.options
	address := func(url string) string { return strings.TrimPrefix(url, "http://") }
	o.Listen = &Listen{address(h.Console), address(h.Status), address(h.OTLP), address(h.GRPC), address(h.Internal)}
	return Start(ctx, o)
}
