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
	Rotate keyRotateCmd `cmd:"" help:"Replace a key by a new one, print that, and let the old one end after a while."`
	Revoke keyRevokeCmd `cmd:"" help:"End a key now."`
}

// apiKey is a key in the API's answers.
type apiKey struct {
	Prefix     string     `json:"prefix"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	Tenant     string     `json:"tenant"`
	Product    string     `json:"product"`
	Key        string     `json:"key"`
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	Replaces   string     `json:"replaces"`
}

type keyCreateCmd struct {
	clientFlags
	Name    string        `arg:"" help:"What the key is for."`
	Scopes  []string      `env:"-" help:"What it may do: ingest:write, query:read, slo:write, alert:write, status:write, admin." default:"ingest:write"`
	Tenant  *string       `env:"-" help:"Bind it to this tenant: it sends and reads nothing of others. Its scopes are then some of ingest:write, query:read." placeholder:"ID"`
	Product *string       `env:"-" help:"Bind it to this product, in the same way." placeholder:"NAME"`
	TTL     time.Duration `env:"-" help:"How long it works. Default: until it is revoked."`
}

func (c *keyCreateCmd) Run(ctx context.Context) error {
	in := map[string]any{"name": c.Name, "scopes": c.Scopes}
	if c.TTL < 0 {
		return fmt.Errorf("--ttl: must not be negative (got %s)", c.TTL)
	}
	if c.TTL > 0 {
		in["expires_at"] = time.Now().Add(c.TTL).UTC()
	}
	if c.Tenant != nil { // also when it is empty, which is refused: a script's variable that is not set must not unbind a key
		in["tenant"] = *c.Tenant
	}
	if c.Product != nil {
		in["product"] = *c.Product
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
	_, _ = fmt.Fprintln(w, "PREFIX\tNAME\tSCOPES\tBOUND TO\tMADE\tBY\tLAST USED\tEXPIRES\tSTATE")
	for _, k := range out.Keys {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Prefix, k.Name, strings.Join(k.Scopes, ","), k.bounds(),
			k.CreatedAt.UTC().Format(time.DateTime), k.CreatedBy, orNever(k.LastUsedAt), orNever(k.ExpiresAt), k.state(time.Now()))
	}
	return w.Flush()
}

func (k *apiKey) bounds() string {
	var to []string
	if k.Tenant != "" {
		to = append(to, "tenant "+k.Tenant)
	}
	if k.Product != "" {
		to = append(to, "product "+k.Product)
	}
	return strings.Join(to, ", ")
}

func (k *apiKey) state(now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked"
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return "expired"
	}
	return "works"
}

func orNever(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.DateTime)
}

type keyRotateCmd struct {
	clientFlags
	Prefix  string        `arg:"" help:"The part of the key between the underscores, or the key."`
	Overlap time.Duration `env:"-" help:"How long the old key goes on working beside the new one." default:"24h"`
}

func (c *keyRotateCmd) Run(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"overlap": c.Overlap.String()})
	if err != nil {
		return err
	}
	var out struct {
		New apiKey `json:"new"`
		Old apiKey `json:"old"`
	}
	path := "/keys/" + url.PathEscape(prefixOf(c.Prefix)) + "/rotate"
	if err := c.call(ctx, http.MethodPost, path, "application/json", body, &out); err != nil {
		return err
	}
	fmt.Println(out.New.Key) // alone, so that scripts can take it
	_, _ = fmt.Fprintf(os.Stderr, "%s replaces %s, which works until %s\n", out.New.Prefix, out.Old.Prefix, orNever(out.Old.ExpiresAt))
	return nil
}

type keyRevokeCmd struct {
	clientFlags
	Prefix string `arg:"" help:"The part of the key between the underscores, or the key."`
}

func (c *keyRevokeCmd) Run(ctx context.Context) error {
	prefix := prefixOf(c.Prefix)
	if err := c.call(ctx, http.MethodDelete, "/keys/"+url.PathEscape(prefix), "", nil, nil); err != nil {
		return err
	}
	fmt.Printf("%s: revoked\n", prefix)
	return nil
}

// prefixOf returns the prefix of a key that may be given whole: its secret goes nowhere.
func prefixOf(key string) string {
	if parts := strings.Split(key, "_"); len(parts) == 3 {
		return parts[1]
	}
	return key
}
