package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/nexis-limited/headroom/slo"
)

type sloCmd struct {
	Validate sloValidateCmd `cmd:"" help:"Check OpenSLO files; nothing is sent."`
	Apply    sloApplyCmd    `cmd:"" help:"Apply OpenSLO files."`
	Status   sloStatusCmd   `cmd:"" help:"Print how an SLO stands."`
	Backtest sloBacktestCmd `cmd:"" help:"Print which alerts OpenSLO files would have raised; nothing is applied."`
}

type sloValidateCmd struct {
	Files []string `arg:"" help:"OpenSLO files, YAML or JSON; - is standard input."`
}

func (c *sloValidateCmd) Run() error {
	_, defs, err := readDefinitions(c.Files)
	if err != nil {
		return err
	}
	for _, d := range defs {
		fmt.Printf("%s: fine\n", d.Name)
	}
	return nil
}

type sloApplyCmd struct {
	clientFlags
	DryRun bool     `env:"-" help:"Say what would change, and change nothing."`
	JSON   bool     `name:"json" env:"-" help:"Print the API's answer."`
	Files  []string `arg:"" help:"OpenSLO files, YAML or JSON; - is standard input."`
}

func (c *sloApplyCmd) Run(ctx context.Context) error {
	files, _, err := readDefinitions(c.Files)
	if err != nil {
		return err
	}
	// One body, and so one transaction: the documents of all files, which may refer to each other.
	sources := make([][]byte, len(files))
	for i, f := range files {
		sources[i] = f.Source
	}
	path := "/slos"
	if c.DryRun {
		path += "?dry_run=true"
	}
	var out json.RawMessage
	if err := c.call(ctx, http.MethodPut, path, "application/yaml", bytes.Join(sources, []byte("\n---\n")), &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	return printChanges(out, c.DryRun)
}

// readDefinitions reads and checks files here, where mistakes can be told with the file's name and line.
func readDefinitions(names []string) ([]slo.File, []slo.Definition, error) {
	files := make([]slo.File, len(names))
	for i, name := range names {
		src, err := readFile(name)
		if err != nil {
			return nil, nil, err
		}
		files[i] = slo.File{Name: name, Source: src}
	}
	defs, err := slo.ParseFiles(files)
	return files, defs, err
}

type sloStatusCmd struct {
	clientFlags
	Name   string `arg:"" help:"The SLO's name."`
	Tenant string `env:"-" help:"One tenant. Default: all together."`
	JSON   bool   `name:"json" env:"-" help:"Print the API's answer."`
}

func (c *sloStatusCmd) Run(ctx context.Context) error {
	path := "/slos/" + url.PathEscape(c.Name) + "/status"
	if c.Tenant != "" {
		path += "?tenant=" + url.QueryEscape(c.Tenant)
	}
	var out json.RawMessage
	if err := c.call(ctx, http.MethodGet, path, "", nil, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	return printStatus(out)
}

type sloBacktestCmd struct {
	clientFlags
	Tenant string   `env:"-" help:"One tenant. Default: all."`
	Days   int      `env:"-" default:"7" help:"How many days back from now, 31 at most."`
	JSON   bool     `name:"json" env:"-" help:"Print the API's answer."`
	Files  []string `arg:"" help:"OpenSLO files, YAML or JSON; - is standard input."`
}

func (c *sloBacktestCmd) Run(ctx context.Context) error {
	files, _, err := readDefinitions(c.Files)
	if err != nil {
		return err
	}
	sources := make([][]byte, len(files))
	for i, f := range files {
		sources[i] = f.Source
	}
	query := url.Values{"from": {time.Now().UTC().AddDate(0, 0, -c.Days).Format(time.RFC3339)}}
	if c.Tenant != "" {
		query.Set("tenant", c.Tenant)
	}
	var out json.RawMessage
	path := "/slos/backtest?" + query.Encode()
	if err := c.call(ctx, http.MethodPost, path, "application/yaml", bytes.Join(sources, []byte("\n---\n")), &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	return printBacktest(out)
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

func printJSON(raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	_, err := fmt.Println(b.String())
	return err
}
