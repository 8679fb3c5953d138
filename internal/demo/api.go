package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/nexis-limited/headroom/tenant"
)

const (
	apiTimeout  = 20 * time.Second
	apiAttempts = 6
	maxAPIReply = 8 << 20 // bytes
)

// apiClient calls headroom's HTTP API as an operator does.
type apiClient struct {
	base   string // without a slash at the end
	key    string
	client *http.Client
}

// refused is an answer of the API that is no success.
type refused struct {
	status int
	detail string
}

func (e *refused) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.detail) }

// json sends in, when it is not nil, and reads the answer into out, when that is not nil.
func (a *apiClient) json(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("cannot encode what goes to %s: %w", path, err)
		}
	}
	return a.call(ctx, method, path, "application/json", body, out)
}

// call tries again for a while what may pass by itself. All that the demo asks for may be asked twice.
func (a *apiClient) call(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	for attempt := 1; ; attempt++ {
		err, again := a.once(ctx, method, path, contentType, body, out)
		if err == nil {
			return nil
		}
		if !again || attempt == apiAttempts {
			return fmt.Errorf("cannot %s %s: %w", method, path, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot %s %s: %w: %w", method, path, ctx.Err(), err)
		case <-time.After(time.Duration(attempt) * firstBackoff):
		}
	}
}

func (a *apiClient) once(ctx context.Context, method, path, contentType string, body []byte, out any) (err error, again bool) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err, false
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+a.key)
	resp, err := a.client.Do(req)
	if err != nil {
		return err, true
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIReply))
	if err != nil {
		return err, true
	}
	if resp.StatusCode >= 300 {
		again := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
		return &refused{status: resp.StatusCode, detail: printable(answer)}, again
	}
	if out == nil {
		return nil, false
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err), false
	}
	return nil, false
}

// minutesWithTraffic returns the minutes, by minuteOf, in which a tenant has requests already, so that a demo that is started again
// on the same data does not count its past twice. Without an answer there are none.
func (a *apiClient) minutesWithTraffic(ctx context.Context, id tenant.ID, from, until time.Time, log *slog.Logger) map[int64]bool {
	const day = 24 * time.Hour // an answer has at most 2,000 points
	have := map[int64]bool{}
	for ; from.Before(until); from = from.Add(day) {
		to := from.Add(day)
		if to.After(until) {
			to = until
		}
		var answer struct {
			Points []struct {
				At       time.Time `json:"at"`
				Requests uint64    `json:"requests"`
			} `json:"points"`
		}
		query := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}, "step": {"1m"}}
		path := "/api/v1/tenants/" + url.PathEscape(string(id)) + "/latency?" + query.Encode()
		if err := a.json(ctx, http.MethodGet, path, nil, &answer); err != nil {
			log.WarnContext(ctx, "cannot tell which history is there already", "from", from, "error", err)
			continue
		}
		for _, p := range answer.Points {
			if p.Requests > 0 {
				have[minuteOf(p.At)] = true
			}
		}
	}
	return have
}
