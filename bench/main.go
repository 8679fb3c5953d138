// Command bench measures how fast headroom takes spans, beside what a user would pick instead: the OpenTelemetry
// Collector with its ClickHouse exporter. Both get the same spans from the same load generator on the same machine, one
// after the other, each with a ClickHouse of the same kind and settings; both acknowledge only what will survive. What
// it measures and what not: docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nexis-limited/headroom/engines"
)

func main() {
	if engines.ChildMain() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	plan
	headroom, otelcol, packages, dir string
	runs                             int
	only                             string
	peer                             peerSettings
	peerConnections                  int
	sweep, columns                   bool
}

func run(ctx context.Context) error {
	var o options
	flag.StringVar(&o.headroom, "headroom", "bin/headroom", "headroom's binary")
	flag.StringVar(&o.otelcol, "otelcol", "bin/otelcol", "the Collector's binary, of the module bench/otelcol")
	flag.StringVar(&o.packages, "engines", "engines/node_modules", "the embedded databases' packages")
	flag.StringVar(&o.dir, "dir", "", "directory for data, on the disk to be measured (a temporary one)")
	flag.IntVar(&o.runs, "runs", 5, "runs of each system, one after the other in turn")
	flag.DurationVar(&o.length, "length", 20*time.Second, "how long to send as fast as it goes")
	flag.DurationVar(&o.pacedLength, "paced-length", 10*time.Second, "how long to send at half that rate; 0 leaves it out")
	flag.Float64Var(&o.pacedRate, "paced-rate", 0, "spans a second instead of half the rate")
	flag.IntVar(&o.connections, "connections", 32, "senders, each with one request under way")
	flag.IntVar(&o.peerConnections, "peer-connections", 256, "the same for the Collector, which answers later and so needs more under way at a time")
	flag.IntVar(&o.bodySpans, "body-spans", 2000, "spans of a request, about")
	flag.StringVar(&o.only, "only", "", "measure only headroom or otelcol")
	flag.IntVar(&o.peer.batch, "peer-batch", 50_000, "spans that the Collector gathers for an insert; 0 inserts every request by itself")
	flag.IntVar(&o.peer.consumers, "peer-consumers", 2, "inserts that the Collector does at a time, with -peer-batch")
	flag.BoolVar(&o.peer.async, "peer-async", false, "let ClickHouse gather the Collector's inserts, and wait for that")
	flag.BoolVar(&o.sweep, "peer-sweep", false, "try the Collector's settings, one run each")
	flag.BoolVar(&o.columns, "columns", false, "measure what each column of a span costs ClickHouse, and nothing else")
	flag.StringVar(&o.profile, "profile", "", "directory for profiles of headroom")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	var err error
	for _, path := range []*string{&o.headroom, &o.otelcol, &o.packages} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "headroom-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(o.dir) }()
		if err := os.Chmod(o.dir, 0o711); err != nil { // PostgreSQL's user passes through
			return err
		}
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	if o.columns {
		return measureColumns(ctx, o)
	}
	printSetting(o)
	if o.sweep {
		return sweep(ctx, o)
	}
	var results []*result
	for i := range o.runs {
		for _, name := range []string{"headroom", "otelcol"} {
			if o.only != "" && o.only != name {
				continue
			}
			r, err := oneRun(ctx, o, name)
			if err != nil {
				return err
			}
			printRun(i+1, r)
			results = append(results, r)
		}
	}
	printTable(results)
	return nil
}

// oneRun starts a system afresh, measures it and removes what it leaves.
func oneRun(ctx context.Context, o options, name string) (r *result, err error) {
	dir, err := os.MkdirTemp(o.dir, name+"-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, err
	}
	var s *system
	if name == "headroom" {
		s, err = startHeadroom(ctx, o.headroom, o.packages, dir)
	} else {
		o.connections = o.peerConnections
		s, err = startPeer(ctx, o.otelcol, o.headroom, o.packages, dir, o.peer)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r, err = measure(ctx, s, o.plan)
	if err != nil { // what the system itself says of it
		for _, file := range []string{"headroom.log", "otelcol.log"} {
			if text, readErr := os.ReadFile(filepath.Join(dir, file)); readErr == nil && len(text) > 0 {
				err = fmt.Errorf("%w\n%s: %s", err, file, text[max(0, len(text)-3000):])
			}
		}
	}
	return r, err
}

// sweep tries ways to configure the Collector, so that headroom is compared to its best.
func sweep(ctx context.Context, o options) error {
	var results []*result
	for _, p := range []peerSettings{
		{name: "every request an insert"},
		{name: "every request, gathered by ClickHouse", async: true},
		{name: "batches of 10,000, 4 inserts at a time", batch: 10_000, consumers: 4},
		{name: "batches of 20,000, 2 inserts at a time", batch: 20_000, consumers: 2},
		{name: "batches of 20,000, 4 inserts at a time", batch: 20_000, consumers: 4},
		{name: "batches of 50,000, 2 inserts at a time", batch: 50_000, consumers: 2},
		{name: "batches of 50,000, 4 inserts at a time", batch: 50_000, consumers: 4},
		{name: "batches of 100,000, 2 inserts at a time", batch: 100_000, consumers: 2},
		{name: "batches of 100,000, 4 inserts at a time", batch: 100_000, consumers: 4},
	} {
		o.peer = p
		r, err := oneRun(ctx, o, "otelcol")
		if err != nil {
			fmt.Printf("%-42s %v\n", p.name, err)
			continue
		}
		fmt.Printf("%-42s ", p.name)
		printRun(1, r)
		results = append(results, r)
	}
	if len(results) == 0 {
		return errors.New("no settings of the Collector worked")
	}
	return nil
}

func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot get a profile: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s: %.200s", resp.Status, strings.TrimSpace(string(b)))
	}
	if err != nil {
		return fmt.Errorf("cannot get %q: %w", url, err)
	}
	return os.WriteFile(file, b, 0o644)
}
