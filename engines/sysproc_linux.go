package engines

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts an engine in a process group of its own, so that Ctrl-C in a terminal reaches headroom alone,
// which then stops the engines in order; and has the kernel send it a signal when the thread that started it ends.
// That is the second line behind the pipe on standard input, for a child that is too busy or too broken to notice.
func childAttributes(onParentDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: onParentDeath}
}

// The capabilities that let a process pass through directories that its user cannot. The first lets it only read and
// pass, but a container may lack it.
const (
	capNone          = -1
	capDACOverride   = unix.CAP_DAC_OVERRIDE
	capDACReadSearch = unix.CAP_DAC_READ_SEARCH
)

// neededCapability returns what postgresUser lacks for reaching the given paths, a data directory below /root, say.
// Nothing is granted without need, because with it the server could read every file. (The service's user in the
// database is not a superuser and so cannot ask it to.)
func neededCapability(paths ...string) int {
	for _, path := range paths {
		if !reachable(path) {
			return traversalCapability()
		}
	}
	return capNone
}

// becomePostgres replaces this process, which is root's, with a program that runs as postgresUser, holding the one
// capability if that is not capNone. exec.Cmd with a Credential and AmbientCaps does not do: the capability takes
// effect only after the exec, and it is the exec that needs it.
func becomePostgres(capability int, onParentDeath syscall.Signal, argv, env []string) error {
	// Identity, capabilities and the death signal belong to the thread; exec makes this thread the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := rawSyscall("drop root's groups", unix.SYS_SETGROUPS, 0, 0, 0); err != nil {
		return err
	}
	if err := rawSyscall("change the group", unix.SYS_SETRESGID, postgresUser, postgresUser, postgresUser); err != nil {
		return err
	}
	if capability != capNone {
		// Keeps the capabilities through the change of user, and has access(2), with which initdb looks for its
		// programs, count them: without this bit it pretends that any user but root has none.
		const noSetuidFixup = 1 << 2
		if err := unix.Prctl(unix.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot keep capability %d, which user %d needs to reach the data directory: %w",
				capability, postgresUser, err)
		}
	}
	if err := rawSyscall("change the user", unix.SYS_SETRESUID, postgresUser, postgresUser, postgresUser); err != nil {
		return err
	}
	if capability != capNone {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		bit := uint32(1) << capability
		data := [2]unix.CapUserData{{Effective: bit, Permitted: bit, Inheritable: bit}}
		if err := unix.Capset(&header, &data[0]); err != nil {
			return fmt.Errorf("cannot drop to capability %d: %w", capability, err)
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(capability), 0, 0); err != nil {
			return fmt.Errorf("cannot pass on capability %d: %w", capability, err)
		}
	}
	// The change of user has cleared it. From here on the parent may be gone already: then the signal would never come.
	parent := os.Getppid()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(onParentDeath), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot ask for the parent's death signal: %w", err)
	}
	if strconv.Itoa(parent) != os.Getenv(parentEnv) || os.Getppid() != parent {
		return errors.New("the parent has ended")
	}
	return fmt.Errorf("cannot run %q: %w", argv[0], unix.Exec(argv[0], argv, env))
}

// rawSyscall changes the calling thread only, where the syscall package changes all threads and, under cgo, asks libc.
func rawSyscall(what string, trap, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(trap, a, b, c); errno != 0 {
		return fmt.Errorf("cannot %s: %w", what, errno)
	}
	return nil
}

// traversalCapability is the smaller of the two capabilities that this process may pass on.
func traversalCapability() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return capDACReadSearch
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			permitted, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err == nil && permitted&(1<<capDACReadSearch) == 0 {
				return capDACOverride
			}
		}
	}
	return capDACReadSearch
}

// replaceStdin puts f in the place of standard input.
func replaceStdin(f *os.File) error { return unix.Dup3(int(f.Fd()), 0, 0) }

// onTerminal reports whether standard input is a terminal.
func onTerminal() bool {
	_, err := unix.IoctlGetTermios(0, unix.TCGETS)
	return err == nil
}
