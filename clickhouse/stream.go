package clickhouse

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HTTP sends statements over ClickHouse's HTTP interface: what is read comes in a format of ClickHouse's and is never held
// whole. It has no second wall. It is for what concerns all tables, whatever they are: exports and deletions of tenants.
type HTTP struct {
	cfg    *Config
	client *http.Client
}

// OpenHTTP returns the HTTP interface of a DSN. It does not wait for the server.
func OpenHTTP(dsn string) (*HTTP, error) {
	cfg, err := ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	return &HTTP{cfg: cfg, client: &http.Client{Transport: &http.Transport{TLSClientConfig: cfg.Options.TLS, IdleConnTimeout: time.Minute}}}, nil
}

// Statement is SQL with the values of its {name:Type} parameters.
type Statement struct {
	SQL        string
	Parameters map[string]string
	Settings   map[string]string
}

var escapeParameter = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// Query returns the answer as it comes. An answer that breaks off ends in an error.
func (h *HTTP) Query(ctx context.Context, s Statement) (io.ReadCloser, error) {
	q := url.Values{"database": {h.cfg.Options.Auth.Database}}
	for k, v := range s.Settings {
		q.Set(k, v)
	}
	for k, v := range s.Parameters {
		q.Set("param_"+k, escapeParameter.Replace(v))
	}
	u := *h.cfg.HTTP
	u.Path, u.RawQuery = "/", q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(s.SQL))
	if err != nil {
		return nil, fmt.Errorf("cannot make a query of ClickHouse: %w", err)
	}
	req.Header.Set("X-ClickHouse-User", h.cfg.Options.Auth.Username)
	req.Header.Set("X-ClickHouse-Key", h.cfg.Options.Auth.Password)
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot reach ClickHouse: %w", err)
	}
	if code := res.Header.Get("X-ClickHouse-Exception-Code"); res.StatusCode != http.StatusOK || code != "" {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		_ = res.Body.Close()
		return nil, fmt.Errorf("ClickHouse answered HTTP %d: %s", res.StatusCode, strings.TrimSpace(strings.ToValidUTF8(string(text), "?")))
	}
	return res.Body, nil
}

// Exec is Query for statements of which only matters that they ended well.
func (h *HTTP) Exec(ctx context.Context, s Statement) error {
	body, err := h.Query(ctx, s)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body)
	_ = body.Close()
	return err
}

// Close gives idle connections back.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }
