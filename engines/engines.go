// Package engines runs the databases that headroom brings along: a ClickHouse and a PostgreSQL server, each in a
// process of its own on the loopback interface, their files under one data directory. Package.json beside this file
// pins the binaries (ADR 0003).
//
// It promises that
//   - a returned DSN answers queries, and stays valid while headroom runs: an engine that dies is started again on the
//     same port with the same password;
//   - no engine outlives the process that started it, however that process ends;
//   - what an engine has acknowledged is there again after a kill -9 of it, or of headroom;
//   - passwords are in files of mode 0600, never in an argument list.
//
// The process that calls Start must call ChildMain first thing in main: the ClickHouse server is this same executable,
// started again. Only app, cmd and tests import this package.
package engines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options says where the engines keep their files and what they may use. Only Dir is required.
type Options struct {
	// Dir is the data directory; DIR/clickhouse and DIR/postgres are made in it.
	Dir string

	// Packages is the node_modules directory that holds the engines' npm packages. Empty: $HEADROOM_ENGINES, else
	// ../engines/node_modules beside the executable, else engines/node_modules in the working directory or above it.
	Packages string

	// Executable is started again as the ClickHouse server; its main must call ChildMain. Empty: this executable.
	Executable string

	// ClickHouseMemory is the most that the ClickHouse server may use, in bytes. Zero: 40 % of what this machine or
	// control group has, at most 4 GiB.
	ClickHouseMemory int64

	// SkipClickHouse and SkipPostgres leave out an engine for which the user has given a DSN.
	SkipClickHouse, SkipPostgres bool

	// Ephemeral trades durability for speed: both engines leave it to the kernel when to write. For tests.
	Ephemeral bool

	// StartTimeout bounds how long an engine may take to answer, recovery after a crash included. Zero: two minutes.
	StartTimeout time.Duration

	// Logger gets one line for each start, stop and restart. Nil: slog.Default.
	Logger *slog.Logger

	// Progress, when set, is told in a few words what the user is waiting for ("starting ClickHouse").
	Progress func(msg string)
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("cannot start engines: no data directory given")
	}
	if os.Getenv(childEnv) != "" {
		// Else each child would start engines of its own, without end.
		return o, errors.New("BUG: a program that starts engines must call engines.ChildMain first thing in main")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("cannot resolve data directory %q: %w", o.Dir, err)
	}
	o.Dir = dir
	if o.Packages, err = findPackages(o.Packages); err != nil {
		return o, err
	}
	if o.Executable == "" {
		o.Executable = selfExecutable()
	}
	if o.ClickHouseMemory == 0 {
		o.ClickHouseMemory = defaultClickHouseMemory()
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("component", "engines")
	return o, nil
}

func (o Options) progress(msg string) {
	o.Logger.Info("start", "step", msg)
	if o.Progress != nil {
		o.Progress(msg)
	}
}

// Engines are the running databases and what keeps them running.
type Engines struct {
	// ClickHouseDSN is clickhouse://USER:PASSWORD@127.0.0.1:TCPPORT/headroom?http_port=HTTPPORT, empty if skipped.
	ClickHouseDSN string
	// PostgresDSN is postgres://USER:PASSWORD@127.0.0.1:PORT/headroom?sslmode=disable, empty if skipped.
	PostgresDSN string

	lock       *DirLock
	clickhouse *supervisor
	postgres   *supervisor
	chLock     *DirLock
	pgLock     *DirLock
}

// Start locks the data directory, starts the engines that are wanted, both at once, and returns when they answer. An
// engine that dies later is started again, with a growing delay, until Stop. The context bounds the start only.
func Start(ctx context.Context, o Options) (*Engines, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := LockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engines{lock: lock}
	var wg sync.WaitGroup
	var errs [2]error
	if !o.SkipClickHouse {
		wg.Go(func() {
			ch, err := startClickHouse(ctx, o)
			if err != nil {
				errs[0] = err
				return
			}
			e.ClickHouseDSN, e.chLock = ch.DSN(), ch.spec.lock
			e.clickhouse = supervise("ClickHouse", o.Logger, ch.process, ch.spec.launch)
		})
	}
	if !o.SkipPostgres {
		wg.Go(func() {
			pg, err := startPostgres(ctx, o)
			if err != nil {
				errs[1] = err
				return
			}
			e.PostgresDSN, e.pgLock = pg.DSN(), pg.spec.lock
			e.postgres = supervise("PostgreSQL", o.Logger, pg.process, pg.spec.launch)
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		// The caller's context may be what ended the start, so the clean-up has a bound of its own.
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return nil, errors.Join(err, e.Stop(stopCtx))
	}
	return e, nil
}

// Stop ends the supervision and stops both engines; those that have not ended when ctx ends are killed. The data
// directory is free for another process when it returns.
func (e *Engines) Stop(ctx context.Context) error {
	var wg sync.WaitGroup
	var errs [2]error
	for i, s := range []*supervisor{e.clickhouse, e.postgres} {
		if s != nil {
			wg.Go(func() { errs[i] = s.stop(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(errs[0], errs[1], e.chLock.Unlock(), e.pgLock.Unlock(), e.lock.Unlock())
}

// ClickHousePID returns the process id of the ClickHouse server that runs now, or zero between a death and the restart.
func (e *Engines) ClickHousePID() int { return e.clickhouse.pid() }

// PostgresPID returns the process id of the postmaster that runs now, or zero between a death and the restart.
func (e *Engines) PostgresPID() int { return e.postgres.pid() }

// selfExecutable names this very program even after its file was replaced by an upgrade: an engine that is restarted
// must get the code that its parent runs.
func selfExecutable() string {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
