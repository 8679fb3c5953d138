package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// clientFlags say which headroom a command talks to.
type clientFlags struct {
	Server string `help:"The console's address." default:"http://localhost:8080" placeholder:"URL"`
	APIKey string `name:"api-key" help:"API key. Default: the one in DIR/admin-key." placeholder:"KEY"`
	Data   string `help:"Data directory of a headroom on this machine, for its admin-key." default:".data" placeholder:"DIR"`
}

// call sends a request to the API and decodes its answer into out, unless out is nil. A problem document becomes an
// error that lists every mistake in it.
func (f *clientFlags) call(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	key, err := f.key()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if u, err := url.Parse(f.Server); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--server %q: want an address such as http://localhost:8080", f.Server)
	}
	address := strings.TrimSuffix(f.Server, "/") + "/api/v1" + path
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("--server %q: cannot reach headroom: %w", f.Server, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("cannot read the answer of %q: %w", address, err)
	}
	if res.StatusCode >= 300 {
		return problem(res.Status, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("cannot read the answer of %q: %w", address, err)
	}
	return nil
}

func (f *clientFlags) key() (string, error) {
	if f.APIKey != "" {
		return f.APIKey, nil
	}
	file := filepath.Join(f.Data, "admin-key")
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("no API key: give --api-key, or --data with the directory of a headroom on this machine (%w)", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func problem(status string, body []byte) error {
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
			Value    any    `json:"value"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("headroom answered %s", status)
	}
	if len(p.Errors) == 0 {
		return errors.New(p.Detail)
	}
	lines := make([]string, 0, len(p.Errors))
	for _, e := range p.Errors {
		line := strings.TrimPrefix(e.Location+": "+e.Message, ": ")
		if v, ok := e.Value.(string); ok {
			line += fmt.Sprintf(" (got %q)", v)
		}
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "\n"))
}
