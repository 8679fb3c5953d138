package harness

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// ClickHouse asks a ClickHouse past headroom.
type ClickHouse struct{ dsn *url.URL }

// NewClickHouse returns the server and database of the DSN.
func NewClickHouse(dsn string) (ClickHouse, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return ClickHouse{}, fmt.Errorf("cannot read the DSN of ClickHouse: %w", err)
	}
	return ClickHouse{u}, nil
}

// ClickHouse returns the embedded ClickHouse, which keeps its password and ports in the data directory.
func (h *Headroom) ClickHouse() (ClickHouse, error) {
	dir := filepath.Join(h.Data, "clickhouse")
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		return ClickHouse{}, err
	}
	ports, err := os.ReadFile(filepath.Join(dir, "ports"))
	if err != nil {
		return ClickHouse{}, err
	}
	var native, web int
	if _, err := fmt.Sscan(string(ports), &native, &web); err != nil {
		return ClickHouse{}, fmt.Errorf("cannot read ClickHouse's ports %q: %w", ports, err)
	}
	return NewClickHouse(fmt.Sprintf("clickhouse://headroom:%s@127.0.0.1:%d/headroom?http_port=%d",
		strings.TrimSpace(string(password)), native, web))
}

// Query returns the answer as ClickHouse's TabSeparated has it.
func (c ClickHouse) Query(ctx context.Context, sql string) (string, error) {
	address := "http://" + c.dsn.Hostname() + ":" + c.dsn.Query().Get("http_port") + "/?database=" +
		url.QueryEscape(strings.TrimPrefix(c.dsn.Path, "/"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	password, _ := c.dsn.User.Password()
	req.SetBasicAuth(c.dsn.User.Username(), password)
	a, err := Do(req)
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusOK {
		return "", fmt.Errorf("ClickHouse: %d %s", a.Status, a.Body)
	}
	return strings.TrimSpace(string(a.Body)), nil
}
