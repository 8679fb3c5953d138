package engines

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// childEnv, when set, makes this program an engine. It is the environment and not an argument so that any program
// whose main calls ChildMain can be the child, a test binary too. parentEnv is the process id of the one that set it.
const (
	childEnv  = "HEADROOM_ENGINE_CHILD"
	parentEnv = "HEADROOM_ENGINE_PARENT"
)

// ChildMain must be the first call in main. In a process that was started as an engine it runs the engine and never
// returns; in any other it returns false at once.
func ChildMain() bool {
	var err error
	child := os.Getenv(childEnv)
	switch child {
	case "":
		return false
	case "clickhouse":
		err = runClickHouse(os.Args)
	case "postgres":
		err = runPostgres(os.Args)
	default:
		err = fmt.Errorf("BUG: %s=%q", childEnv, child)
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", child, err)
	os.Exit(1)
	return true
}

// runPostgres becomes the program that its arguments name: argv[0], capability, signal, program, its arguments.
func runPostgres(args []string) error {
	if len(args) < 4 {
		return errors.New("BUG: the PostgreSQL child was started without arguments")
	}
	capability, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	onParentDeath, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, childEnv+"=") || strings.HasPrefix(s, parentEnv+"=")
	})
	return becomePostgres(capability, syscall.Signal(onParentDeath), args[3:], env)
}

// The ClickHouse child's arguments after argv[0]: the library, the file that only one server may hold, and the
// engine's own.
const (
	childLibrary = 1 + iota
	childLockFile
	childFirstEngineArg
)

func runClickHouse(args []string) error {
	if len(args) <= childFirstEngineArg {
		return errors.New("BUG: the ClickHouse child was started without arguments")
	}
	os.Unsetenv(childEnv) // the engine may start programs
	if err := dieWithParent(); err != nil {
		return err
	}
	if err := lockEngine(args[childLockFile]); err != nil {
		return err
	}
	// The engine's threads are none that Go knows, and for a signal there that nobody asked for Go restores what the system
	// does by default. For SIGPIPE that is to end the process: a client that resets its connection would end the server.
	signal.Ignore(syscall.SIGPIPE)
	lib, err := purego.Dlopen(args[childLibrary], purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("cannot load the ClickHouse library: %w: run `make engines`", err)
	}
	var queryCmdline func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	purego.RegisterLibFunc(&queryCmdline, lib, "chdb_query_cmdline")

	argv, pinner := cStrings(append([]string{"clickhouse"}, args[childFirstEngineArg:]...))
	defer pinner.Unpin()
	runtime.LockOSThread() // the engine keeps state in its main thread
	queryCmdline(int32(len(args)-childFirstEngineArg+1), argv)
	// The last query sleeps for longer than a machine lives: coming back means that an earlier one has failed, and the
	// engine has printed why.
	return errors.New("the server has ended by itself")
}

// dieWithParent ends this process when the parent closes its end of standard input or ceases to be. Ending at once and
// not in an orderly way loses nothing: what the engine has acknowledged survives kill -9, and since it must, there is
// only this one way to stop it.
func dieWithParent() error {
	lifeline, err := syscall.Dup(0)
	if err != nil {
		return fmt.Errorf("cannot keep the parent's pipe: %w", err)
	}
	syscall.CloseOnExec(lifeline)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	// The engine must not compete for standard input.
	if err := replaceStdin(null); err != nil {
		return fmt.Errorf("cannot redirect standard input: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(uintptr(lifeline), "lifeline"))
		os.Exit(0)
	}()
	return nil
}

// lockEngine waits until the server of an earlier run, which dies with its parent but not before it, is gone. The
// kernel gives the lock back when this process ends.
func lockEngine(path string) error {
	fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open %q: %w", path, err)
	}
	for {
		err = syscall.Flock(fd, syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot lock %q: %w", path, err)
	}
	return nil
}

// cStrings makes a C argument vector out of Go memory, pinned until the pinner is released.
func cStrings(args []string) (unsafe.Pointer, *runtime.Pinner) {
	pinner := new(runtime.Pinner)
	argv := make([]*byte, len(args)+1) // C expects a null pointer at the end
	for i, a := range args {
		b := append([]byte(a), 0)
		pinner.Pin(&b[0])
		argv[i] = &b[0]
	}
	pinner.Pin(&argv[0])
	return unsafe.Pointer(&argv[0]), pinner
}
