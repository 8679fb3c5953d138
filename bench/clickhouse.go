package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// database is a ClickHouse that is asked over HTTP.
type database struct {
	host           string // with the HTTP port
	tcpPort        string
	user, password string
	name           string
}

// parseDSN reads a DSN of package engines.
func parseDSN(dsn string) (*database, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("cannot parse the engine's DSN")
	}
	password, _ := u.User.Password()
	return &database{
		host: u.Hostname() + ":" + u.Query().Get("http_port"), tcpPort: u.Port(),
		user: u.User.Username(), password: password, name: strings.TrimPrefix(u.Path, "/"),
	}, nil
}

// query runs a statement and returns the answer as text.
func (d *database) query(ctx context.Context, sql string) (string, error) {
	answer, err := d.send(ctx, sql, nil, nil)
	return strings.TrimSpace(answer), err
}

// send runs a statement with settings and a body for it.
func (d *database) send(ctx context.Context, sql string, settings map[string]string, data io.Reader) (string, error) {
	q := url.Values{"database": {d.name}, "query": {sql}, "wait_end_of_query": {"1"}}
	for k, v := range settings {
		q.Set(k, v)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.host+"/?"+q.Encode(), data)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-ClickHouse-User", d.user)
	req.Header.Set("X-ClickHouse-Key", d.password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("cannot ask ClickHouse: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("cannot read ClickHouse's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("cannot run %.200q: %s: %.500s", sql, resp.Status, answer)
	}
	return string(answer), nil
}

func (d *database) count(ctx context.Context, table string) (int64, error) {
	answer, err := d.query(ctx, "SELECT count() FROM "+table)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(answer, 10, 64)
}

// await returns when the table has so many rows. More than that is an error: something was counted twice.
func (d *database) await(ctx context.Context, table string, want int64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		n, err := d.count(ctx, table)
		switch {
		case err != nil:
			return fmt.Errorf("waiting for %d rows in %s: %w", want, table, err)
		case n == want:
			return nil
		case n > want:
			return fmt.Errorf("%s has %d rows, but only %d spans were acknowledged", table, n, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tableSize is what a table needs on disk.
type tableSize struct {
	Table string
	Rows  int64
	Bytes int64
}

// sizes merges every table to the end, so that both systems are looked at in the same state, and returns what they need.
func (d *database) sizes(ctx context.Context) ([]tableSize, error) {
	names, err := d.query(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
	if err != nil {
		return nil, err
	}
	for name := range strings.FieldsSeq(names) {
		if _, err := d.query(ctx, "OPTIMIZE TABLE "+name+" FINAL"); err != nil {
			return nil, err
		}
	}
	answer, err := d.query(ctx, `SELECT table AS Table, toInt64(sum(rows)) AS Rows, toInt64(sum(bytes_on_disk)) AS Bytes FROM system.parts
		WHERE database = currentDatabase() AND active GROUP BY table ORDER BY Bytes DESC
		FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0`)
	if err != nil {
		return nil, err
	}
	var sizes []tableSize
	for dec := json.NewDecoder(strings.NewReader(answer)); ; {
		var s tableSize
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return sizes, nil
		} else if err != nil {
			return nil, fmt.Errorf("cannot read the sizes of tables: %w", err)
		}
		sizes = append(sizes, s)
	}
}
