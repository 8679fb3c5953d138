package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Engines are fresh databases that outlive the headrooms that use them.
type Engines struct {
	ClickHouse, Postgres string // DSNs

	cmd   *exec.Cmd
	stdin io.Closer
	log   *tail
}

// StartEngines runs "headroom engines exec" around a command that waits until Stop.
func StartEngines(ctx context.Context) (*Engines, error) {
	cmd, err := Command(context.WithoutCancel(ctx), "--log-level=warn", "engines", "exec", "--", "sh", "-c",
		`echo "$HEADROOM_CLICKHOUSE"; echo "$HEADROOM_POSTGRES"; cat`)
	if err != nil {
		return nil, err
	}
	e := &Engines{cmd: cmd, log: newTail(nil)}
	cmd.Stderr = e.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	e.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start headroom: %w", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(stdout)
		for _, dsn := range []*string{&e.ClickHouse, &e.Postgres} {
			s, _ := lines.ReadString('\n')
			*dsn = strings.TrimSpace(s)
		}
	}()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	select {
	case <-read:
	case <-late.C:
	case <-ctx.Done():
	}
	if e.ClickHouse == "" || e.Postgres == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("headroom engines exec told no addresses\n%s", e.log)
	}
	return e, nil
}

// Stop ends the databases and removes them.
func (e *Engines) Stop() error {
	_ = e.stdin.Close() // "cat" ends
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("headroom engines exec ended with %w\n%s", err, e.log)
	}
	return nil
}
