package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one run of an engine. Its standard input is a pipe whose other end only this process holds, so that the
// kernel closes it however this process ends.
type process struct {
	name     string
	pid      int
	cmd      *exec.Cmd
	lifeline *os.File
	farewell []step
	log      logMark
	done     chan struct{} // closed after the process has been waited for
	err      error         // why it ended; read it after done
}

// step is one way to ask a process to end, and how long it has to comply.
type step struct {
	signal syscall.Signal // zero: close the lifeline
	grace  time.Duration
}

// startProcess starts cmd with its output appended to the file at logPath.
//
// The goroutine that starts the process stays locked to its thread until the process has ended: the kernel sends the
// parent-death signal when the *thread* that forked ends, and the Go runtime is free to end a thread that nobody holds.
func startProcess(name string, cmd *exec.Cmd, logPath string, farewell []step) (*process, error) {
	logFile, mark, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe for %s: %w", name, err)
	}
	defer r.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, logFile, logFile
	p := &process{name: name, cmd: cmd, lifeline: w, farewell: farewell, log: mark, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		if p.err == nil {
			p.err = errors.New("exited with status 0")
		}
		p.lifeline.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		w.Close()
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// ready calls ping until it succeeds. It fails when the process ends first (with the last lines of its log), when ctx
// ends, or after the timeout; then the process is no longer there.
func (p *process) ready(ctx context.Context, timeout time.Duration, ping func(context.Context) error) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		pingCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		pingErr := ping(pingCtx)
		cancel()
		if pingErr == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("cannot start %s: %w; %s", p.name, p.err, p.log)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("cannot start %s: %w", p.name, context.Cause(ctx)), p.kill())
		case <-tick.C:
			if time.Now().After(deadline) {
				err := fmt.Errorf("cannot start %s: no answer in %s: %w; %s", p.name, timeout, pingErr, p.log)
				return errors.Join(err, p.kill())
			}
		}
	}
}

// stop goes through the steps of the farewell and at last kills. It returns an error only when even that has failed.
func (p *process) stop(ctx context.Context) error {
	for _, s := range p.farewell {
		if s.signal == 0 {
			p.lifeline.Close()
		} else {
			_ = p.cmd.Process.Signal(s.signal) // an error means that it has ended
		}
		t := time.NewTimer(s.grace)
		select {
		case <-p.done:
			t.Stop()
			return nil
		case <-t.C:
		case <-ctx.Done(): // the caller's patience has ended, so go through the rest quickly
			t.Stop()
		}
	}
	return p.kill()
}

func (p *process) kill() error {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.done:
		return nil
	case <-time.After(stopBeforeGivingUp):
		return fmt.Errorf("cannot stop %s: process %d did not end after SIGKILL", p.name, p.pid)
	}
}

// exitError is nil while the process runs.
func (p *process) exitError() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}
