// Command screenshots takes the pictures of the documentation: it runs "headroom demo", waits until an alert is open, and
// photographs console and status page into the directory that it is given.
//
//	go run ./e2e/screenshots docs/images
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/nexis-limited/headroom/e2e/harness"
)

// alertWithin bounds how long the demo may take until something burns.
const alertWithin = 8 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: screenshots DIRECTORY")
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := harness.Root()
	if err != nil {
		return err
	}
	data, err := os.MkdirTemp("", "headroom-screenshots-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	fmt.Println("starting the demo")
	h, err := harness.Start(ctx, harness.Options{Command: "demo", Data: filepath.Join(data, "data")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Stop()) }()
	fmt.Println("waiting for an alert")
	tenant, err := awaitAlert(ctx, h)
	if err != nil {
		return err
	}
	in, err := json.Marshal(map[string]string{"console": h.Console, "status": h.Status, "key": h.AdminKey, "tenant": tenant, "dir": dir})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(root, "e2e", "browser", "screenshots.mjs"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), os.Stdout, os.Stderr
	return cmd.Run()
}

// awaitAlert returns the tenant that an open page is about first.
func awaitAlert(ctx context.Context, h *harness.Headroom) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, alertWithin)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var out struct {
			Alerts []struct {
				Severity, State string
				Tenants         []struct{ Tenant, State string }
			}
		}
		if err := h.API().JSON(ctx, http.MethodGet, "/alerts", nil, &out); err != nil {
			return "", err
		}
		for _, a := range out.Alerts {
			// Several tenants tell more than the first.
			if a.Severity == "page" && a.State == "firing" && len(a.Tenants) > 2 {
				return a.Tenants[0].Tenant, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("no alert: %w", ctx.Err())
		}
	}
}
