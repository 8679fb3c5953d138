package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// Exec runs argv with fresh, ephemeral engines and returns its exit code: 128 plus the signal if one ended it. The
// command finds HEADROOM_CLICKHOUSE and HEADROOM_POSTGRES (the DSNs), HEADROOM_BIN (this executable) and
// HEADROOM_ENGINES (the packages) in its environment, beside env. Signals are passed on. The engines' files are in a
// temporary directory, gone when Exec returns; Options.Dir is not used. When ctx ends the command is asked to end, and
// killed ten seconds later. An error means that the command could not be run.
func Exec(ctx context.Context, o Options, argv []string, env []string) (exitCode int, err error) {
	if len(argv) == 0 {
		return 0, errors.New("cannot run a command with the engines: none given")
	}
	dir, err := os.MkdirTemp("", "headroom-engines-")
	if err != nil {
		return 0, fmt.Errorf("cannot make a directory for the engines: %w", err)
	}
	defer func() {
		if rmErr := os.RemoveAll(dir); err == nil && rmErr != nil {
			err = fmt.Errorf("cannot remove the engines' directory: %w", rmErr)
		}
	}()
	o.Dir = filepath.Join(dir, "data")
	o.Ephemeral = true
	if o, err = o.withDefaults(); err != nil {
		return 0, err
	}
	if os.Geteuid() == 0 {
		// Spare the PostgreSQL server's user the capability that it would need to pass through.
		if err := os.Chmod(dir, 0o711); err != nil {
			return 0, fmt.Errorf("cannot open the engines' directory: %w", err)
		}
	}

	// From before the engines start: a signal must not leave the directory behind.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)

	e, early, err := startUnlessSignalled(ctx, o, signals)
	if err != nil || early != 0 {
		return 128 + int(early), err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if stopErr := e.Stop(stopCtx); err == nil {
			err = stopErr
		}
	}()

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	for name, value := range map[string]string{
		"HEADROOM_CLICKHOUSE": e.ClickHouseDSN,
		"HEADROOM_POSTGRES":   e.PostgresDSN,
		"HEADROOM_BIN":        realPath(o.Executable),
		"HEADROOM_ENGINES":    o.Packages,
	} {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return runPassingSignals(cmd, signals)
}

// startUnlessSignalled returns the signal that came before the engines were there, if one did.
func startUnlessSignalled(ctx context.Context, o Options, signals <-chan os.Signal) (*Engines, syscall.Signal, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type started struct {
		e   *Engines
		err error
	}
	result := make(chan started, 1)
	go func() {
		e, err := Start(ctx, o)
		result <- started{e, err}
	}()
	select {
	case r := <-result:
		return r.e, 0, r.err
	case sig := <-signals:
		cancel()
		if r := <-result; r.e != nil {
			return nil, sig.(syscall.Signal), r.e.Stop(context.WithoutCancel(ctx))
		}
		return nil, sig.(syscall.Signal), nil
	}
}

func runPassingSignals(cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot run %q: %w", cmd.Path, err)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-signals:
				// A terminal sends its signals to the whole group, the command included; twice would be once too often.
				if sig == syscall.SIGTERM || !onTerminal() {
					_ = cmd.Process.Signal(sig)
				}
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(done)
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && cmd.ProcessState == nil {
		return 0, fmt.Errorf("cannot wait for %q: %w", cmd.Path, err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// realPath turns /proc/self/exe into what another process can run.
func realPath(executable string) string {
	if path, err := filepath.EvalSymlinks(executable); err == nil {
		return path
	}
	return executable
}
