package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/easyproto"
	"github.com/klauspost/compress/gzip"
)

const (
	tracesPath     = "/v1/traces"
	metricsPath    = "/v1/metrics"
	attemptTimeout = 20 * time.Second
	firstBackoff   = 200 * time.Millisecond
	longestBackoff = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer that are read
)

// pusher sends OTLP bodies until they are acknowledged. It is safe for concurrent use.
type pusher struct {
	url    string
	key    string
	client *http.Client
	log    *slog.Logger
}

// compress returns body in gzip, in a buffer that belongs to z until the next call.
func (z *compressor) compress(body []byte) ([]byte, error) {
	z.buf.Reset()
	if z.w == nil {
		w, err := gzip.NewWriterLevel(&z.buf, gzip.BestSpeed)
		if err != nil {
			return nil, fmt.Errorf("cannot compress: %w", err)
		}
		z.w = w
	} else {
		z.w.Reset(&z.buf)
	}
	if _, err := z.w.Write(body); err != nil {
		return nil, fmt.Errorf("cannot compress: %w", err)
	}
	if err := z.w.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress: %w", err)
	}
	return z.buf.Bytes(), nil
}

// compressor makes gzip bodies one after the other.
type compressor struct {
	w   *gzip.Writer
	buf bytes.Buffer
}

// push sends one compressed body. What may pass by itself (no connection, a time-out, 429, 502, 503, 504) is tried again
// with the identical body, so that the collector can tell a repetition, for as long as ctx lives. It returns how many
// spans or points the collector refused in an answer of 200.
func (p *pusher) push(ctx context.Context, body []byte) (rejected int64, err error) {
	backoff := firstBackoff
	for {
		rejected, err := p.attempt(ctx, body)
		var again *retryable
		if err == nil || !errors.As(err, &again) {
			return rejected, err
		}
		wait := again.after
		if wait == 0 {
			wait = backoff/2 + time.Duration(rand.Int64N(int64(backoff)))
			backoff = min(2*backoff, longestBackoff)
		}
		p.log.DebugContext(ctx, "pushing again", "wait", wait, "error", err)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("cannot push spans: %w: %w", ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

// retryable is an error that may pass; after is what the server asked to wait, 0 if nothing.
type retryable struct {
	after time.Duration
	err   error
}

func (e *retryable) Error() string { return e.err.Error() }

func (e *retryable) Unwrap() error { return e.err }

func (p *pusher) attempt(ctx context.Context, body []byte) (rejected int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("cannot push spans: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "headroom-demo")
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, &retryable{err: fmt.Errorf("cannot push spans: %w", err)}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, &retryable{err: fmt.Errorf("cannot read the collector's answer: %w", err)}
	}
	switch resp.StatusCode {
	case http.StatusOK:
		rejected, message, err := partialSuccess(answer)
		if err != nil {
			return 0, fmt.Errorf("cannot read the collector's answer: %w", err)
		}
		if rejected > 0 {
			p.log.WarnContext(ctx, "the collector refused part of a request", "refused", rejected, "reason", message)
		}
		return rejected, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, &retryable{after: retryAfter(resp.Header.Get("Retry-After"), time.Now()), err: refusal(resp, answer)}
	}
	return 0, refusal(resp, answer)
}

func refusal(resp *http.Response, answer []byte) error {
	return fmt.Errorf("cannot push spans: the collector answered %q: %q", resp.Status, printable(answer))
}

// retryAfter reads the header of that name, which holds seconds or a date; 0 is for none or one in the past.
func retryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(header)); err == nil && s > 0 {
		return time.Duration(min(s, 600)) * time.Second
	}
	if t, err := http.ParseTime(header); err == nil {
		return max(0, min(t.Sub(now), 10*time.Minute))
	}
	return 0
}

// partialSuccess reads an ExportTraceServiceResponse.
func partialSuccess(answer []byte) (rejected int64, message string, err error) {
	partial, ok, err := easyproto.GetMessageData(answer, 1)
	if err != nil || !ok {
		return 0, "", err
	}
	if rejected, _, err = easyproto.GetInt64(partial, 1); err != nil {
		return 0, "", err
	}
	message, _, err = easyproto.GetString(partial, 2)
	return rejected, strings.Clone(message), err
}

// printable shortens an answer for a log; a protobuf Status shows its text between its binary parts.
func printable(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffd {
			return -1
		}
		return r
	}, string(b[:min(len(b), 300)]))
	return s
}
