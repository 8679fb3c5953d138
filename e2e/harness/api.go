package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Client calls the API with a key.
type Client struct {
	Base string // such as http://127.0.0.1:8080/api/v1
	Key  string
}

// API returns a client that may do everything.
func (h *Headroom) API() Client { return Client{h.Console + "/api/v1", h.AdminKey} }

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request. Only a request that got no answer is an error.
func (c Client) Do(ctx context.Context, method, path, contentType string, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return Do(req)
}

// Do sends a request of any kind.
func Do(req *http.Request) (Answer, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("cannot read the answer of %q: %w", req.URL, err)
	}
	return Answer{res.StatusCode, res.Header, b}, nil
}

// JSON sends in, unless it is nil, and decodes the answer into out, unless it is nil. Any status but 2xx is an error.
func (c Client) JSON(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	contentType := ""
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
		contentType = "application/json"
	}
	a, err := c.Do(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	if a.Status/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("%s %s: cannot read the answer %q: %w", method, path, a.Body, err)
	}
	return nil
}

// Get reads a page without credentials.
func Get(ctx context.Context, url string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Answer{}, err
	}
	return Do(req)
}

// NewKey makes an API key of the scopes and returns its text.
func (h *Headroom) NewKey(ctx context.Context, name string, scopes ...string) (string, error) {
	var out struct {
		Key string `json:"key"`
	}
	err := h.API().JSON(ctx, http.MethodPost, "/keys", map[string]any{"name": name, "scopes": scopes}, &out)
	if err == nil && !strings.HasPrefix(out.Key, "hr_") {
		err = fmt.Errorf("POST /keys: the answer has no key")
	}
	return out.Key, err
}
