package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Process is a process of this machine, told from a later one of the same id by when it began.
type Process struct {
	PID     int
	Cmdline string
	parent  int
	began   string // in clock ticks since the machine's start
}

func (p Process) String() string { return fmt.Sprintf("process %d (%s)", p.PID, p.Cmdline) }

// Alive reports whether the process still runs.
func (p Process) Alive() bool {
	now, err := readProcess(p.PID)
	return err == nil && now.began == p.began
}

// ErrGone says that a process had ended before it could be killed.
var ErrGone = errors.New("is gone")

// Kill ends the process as kill -9 does. It must be a descendant of a process that the caller started.
func (p Process) Kill() error {
	return p.signal(syscall.SIGKILL)
}

// Pause stops the process where it is until Resume, as a machine that hangs does. The same holds as for Kill.
func (p Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p Process) signal(s syscall.Signal) error {
	if !p.Alive() {
		return fmt.Errorf("%s: %w", p, ErrGone)
	}
	return syscall.Kill(p.PID, s)
}

// Descendants returns the processes below pid, those started last not always last.
func Descendants(pid int) []Process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	below := map[int][]Process{}
	for _, file := range stats {
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if p, err := readProcess(id); err == nil {
			below[p.parent] = append(below[p.parent], p)
		}
	}
	var found []Process
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, p := range below[next[0]] {
			found = append(found, p)
			next = append(next, p.PID)
		}
	}
	return found
}

// Engine returns the process of the embedded engine, "clickhouse" or "postgres", that runs below pid on the data
// directory.
func (h *Headroom) Engine(name string) (Process, error) {
	for _, p := range Descendants(h.PID()) {
		if p.parent == h.PID() && strings.Contains(p.Cmdline, filepath.Join(h.Data, name)) {
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("headroom runs no %s", name)
}

func readProcess(pid int) (Process, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, err
	}
	// The name, in parentheses, may hold anything; the fields after it are numbers: state, parent, …
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const state, parent, began = 0, 1, 19
	if len(fields) <= began || fields[state] == "Z" {
		return Process{}, errors.New("ended")
	}
	p := Process{PID: pid, began: fields[began]}
	p.parent, _ = strconv.Atoi(fields[parent])
	cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	p.Cmdline = strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))
	return p, nil
}
