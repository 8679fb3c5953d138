package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

type tenantExportCmd struct {
	clientFlags
	Tenant string `arg:"" help:"Its id."`
	Out    string `env:"-" help:"The archive to write; - is standard output. Default: headroom-SCHEMA-DATE.tar.zst." placeholder:"FILE"`
}

func (c *tenantExportCmd) Run(ctx context.Context) error {
	out := c.Out
	if out == "" {
		out = fmt.Sprintf("headroom-%s-%s.tar.zst", tenant.SchemaName(tenant.ID(c.Tenant)), time.Now().UTC().Format("2006-01-02"))
	}
	body, err := c.stream(ctx, "/tenants/"+url.PathEscape(c.Tenant)+"/export")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if out == "-" {
		return c.save(body, os.Stdout)
	}
	// Under its name only when it is whole.
	part := out + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = c.save(body, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, out)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	fmt.Fprintln(os.Stderr, out)
	return nil
}

// save copies an export and checks it on its way.
func (c *tenantExportCmd) save(body io.Reader, to io.Writer) error {
	all := io.TeeReader(body, to)
	m, err := tenant.VerifyExport(all)
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	if err != nil {
		return fmt.Errorf("cannot export tenant %q: %w", c.Tenant, err)
	}
	printManifest(os.Stderr, &m)
	return nil
}

// printManifest says what an export holds.
func printManifest(to io.Writer, m *tenant.Manifest) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(to, "tenant %s as of %s\n", m.Tenant, m.At.Format(time.RFC3339))
	for _, t := range m.Tables {
		if t.Rows > 0 {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%d rows\t%d bytes\n", t.Database, t.Table, t.Rows, t.Bytes)
		}
	}
	_ = w.Flush() // to a terminal or a test
}

type tenantVerifyCmd struct {
	File string `arg:"" help:"An archive of \"tenant export\"; - is standard input."`
}

func (c *tenantVerifyCmd) Run() error {
	f := os.Stdin
	if c.File != "-" {
		var err error
		if f, err = os.Open(c.File); err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
	}
	m, err := tenant.VerifyExport(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	printManifest(os.Stdout, &m)
	fmt.Println("complete, and as it was written")
	return nil
}

type tenantDeleteCmd struct {
	clientFlags
	Tenant  string `arg:"" help:"Its id."`
	Confirm string `env:"-" help:"Its id once more, where nobody can be asked." placeholder:"ID"`
}

func (c *tenantDeleteCmd) Run(ctx context.Context) error {
	if c.Confirm == "" {
		fmt.Fprintf(os.Stderr, "This deletes everything that is stored of %s, in both databases, for ever. To keep a copy, first run\n  headroom tenant export %s\nType its id to delete it: ",
			c.Tenant, shellQuote(c.Tenant))
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if c.Confirm = strings.TrimRight(line, "\r\n"); err != nil && c.Confirm == "" {
			return errors.New("--confirm: give the tenant's id once more, nobody can be asked here")
		}
	}
	if c.Confirm != c.Tenant {
		return fmt.Errorf("--confirm: %q is not %q: nothing was deleted", c.Confirm, c.Tenant)
	}
	path := "/tenants/" + url.PathEscape(c.Tenant)
	var is tenant.Deletion
	if err := c.call(ctx, http.MethodDelete, path+"?confirm="+url.QueryEscape(c.Confirm), "", nil, &is); err != nil {
		return err
	}
	told := ""
	for is.DoneAt == nil {
		if is.Detail != told {
			told = is.Detail
			fmt.Fprintln(os.Stderr, told)
		}
		select {
		case <-ctx.Done():
			return errors.New("it goes on without this command: run it again to see how it stands")
		case <-time.After(500 * time.Millisecond):
		}
		if err := c.call(ctx, http.MethodGet, path+"/deletion", "", nil, &is); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "DATABASE\tTABLE\tERASED\tLEFT")
	for _, t := range is.Tables {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", t.Database, t.Table, t.Erased, t.Left)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(is.Awaited) > 0 {
		fmt.Printf("%d collectors were not running; what they have of it is dropped when they come back: %s\n", len(is.Awaited), strings.Join(is.Awaited, ", "))
	}
	if is.Quarantined > 0 {
		fmt.Printf("%d files in quarantines of collectors may hold rows of it: docs/tenants.md says what to do\n", is.Quarantined)
	}
	return nil
}

// shellQuote writes an argument for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// stream is call for an answer that is large.
func (f *clientFlags) stream(ctx context.Context, path string) (io.ReadCloser, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(f.Server, "/")+"/api/v1"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("--server %q: cannot reach headroom: %w", f.Server, err)
	}
	if res.StatusCode >= 300 {
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return nil, err
		}
		return nil, problem(res.Status, b)
	}
	return res.Body, nil
}
