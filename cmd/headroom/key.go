package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make a key and print it; it is shown this once."`
	List   keyListCmd   `cmd:"" help:"List the keys."`
	Revoke keyRevokeCmd `cmd:"" help:"End a key."`
}

// apiKey is a key in the API's answers.
type apiKey struct {
	Prefix     string     `json:"prefix"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Key        string     `json:"key"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

type keyCreateCmd struct {
	clientFlags
	Name   string        `arg:"" help:"What the key is for."`
	Scopes []string      `env:"-" help:"What it may do: ingest:write, query:read, slo:write, alert:write, status:write, admin." default:"ingest:write"`
	TTL    time.Duration `env:"-" help:"How long it works. Default: until it is revoked."`
}

func (c *keyCreateCmd) Run(ctx context.Context) error {
	in := map[string]any{"name": c.Name, "scopes": c.Scopes}
	if c.TTL < 0 {
		return fmt.Errorf("--ttl: must not be negative (got %s)", c.TTL)
	}
	if c.TTL > 0 {
		in["expires_at"] = time.Now().Add(c.TTL).UTC()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var out apiKey
	if err := c.call(ctx, http.MethodPost, "/keys", "application/json", body, &out); err != nil {
		return err
	}
	fmt.Println(out.Key)
	return nil
}

type keyListCmd struct{ clientFlags }

func (c *keyListCmd) Run(ctx context.Context) error {
	var out struct {
		Keys []apiKey `json:"keys"`
	}
	if err := c.call(ctx, http.MethodGet, "/keys", "", nil, &out); err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PREFIX\tNAME\tSCOPES\tMADE\tLAST USED\tEXPIRES\tSTATE")
	for _, k := range out.Keys {
		used, expires, state := "never", "never", "works"
		if k.ExpiresAt != nil {
			expires = k.ExpiresAt.UTC().Format(time.DateTime)
			if !time.Now().Before(*k.ExpiresAt) {
				state = "expired"
			}
		}
		if k.LastUsedAt != nil {
			used = k.LastUsedAt.UTC().Format(time.DateTime)
		}
		if k.RevokedAt != nil {
			state = "revoked"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Prefix, k.Name, strings.Join(k.Scopes, ","), k.CreatedAt.UTC().Format(time.DateTime),
			used, expires, state)
	}
	return w.Flush()
}

type keyRevokeCmd struct {
	clientFlags
	Prefix string `arg:"" help:"The part of the key between the underscores, or the key."`
}

func (c *keyRevokeCmd) Run(ctx context.Context) error {
	prefix := c.Prefix
	if parts := strings.Split(prefix, "_"); len(parts) == 3 { // the whole key: its secret goes nowhere
		prefix = parts[1]
	}
	if err := c.call(ctx, http.MethodDelete, "/keys/"+url.PathEscape(prefix), "", nil, nil); err != nil {
		return err
	}
	fmt.Printf("%s: revoked\n", prefix)
	return nil
}
