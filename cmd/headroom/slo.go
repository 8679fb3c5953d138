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

	"github.com/nexis-limited/headroom/slo"
)

type sloCmd struct {
	Validate sloValidateCmd `cmd:"" help:"Check OpenSLO files; nothing is sent."`
	Apply    sloApplyCmd    `cmd:"" help:"Apply OpenSLO files."`
	Status   sloStatusCmd   `cmd:"" help:"Print how an SLO stands."`
}

type sloValidateCmd struct {
	Files []string `arg:"" help:"OpenSLO files, YAML or JSON; - is standard input."`
}

func (c *sloValidateCmd) Run() error {
	failed := false
	for _, file := range c.Files {
		src, err := readFile(file)
		if err != nil {
			return err
		}
		defs, err := slo.Parse(file, src)
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		fmt.Printf("%s: %d SLOs\n", file, len(defs))
	}
	if failed {
		return exitError(1)
	}
	return nil
}

type sloApplyCmd struct {
	clientFlags
	DryRun bool     `help:"Say what would change, and change nothing."`
	Files  []string `arg:"" help:"OpenSLO files, YAML or JSON; - is standard input."`
}

func (c *sloApplyCmd) Run(ctx context.Context) error {
	for _, file := range c.Files {
		src, err := readFile(file)
		if err != nil {
			return err
		}
		if _, err := slo.Parse(file, src); err != nil { // its lines carry the file's name; the server's would not
			return err
		}
		path := "/slos"
		if c.DryRun {
			path += "?dry_run=true"
		}
		var out json.RawMessage
		if err := c.call(ctx, http.MethodPut, path, "application/yaml", src, &out); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := printJSON(out); err != nil {
			return err
		}
	}
	return nil
}

type sloStatusCmd struct {
	clientFlags
	Name   string `arg:"" help:"The SLO's name."`
	Tenant string `help:"One tenant. Default: all together."`
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
	return printJSON(out)
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
