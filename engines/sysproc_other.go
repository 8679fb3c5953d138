//go:build !linux

package engines

import (
	"errors"
	"os"
	"syscall"
)

// Elsewhere the package compiles, so that the rest of headroom can be worked on there, and findPackages says what to
// do instead of starting engines.

var errNotLinux = errors.New("the embedded engines run on linux only")

func childAttributes(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func neededCapability(...string) int { return 0 }

func becomePostgres(int, syscall.Signal, []string, []string) error { return errNotLinux }

func replaceStdin(*os.File) error { return errNotLinux }

func onTerminal() bool { return false }
