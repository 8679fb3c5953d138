package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	trace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTripper answers requests in memory, so that waiting costs no time in a synctest bubble.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, body []byte, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(bytes.NewReader(body))}
}

func newPusher(f roundTripper) *pusher {
	return &pusher{url: "http://collector/v1/traces", key: "hr_key", client: &http.Client{Transport: f}, log: slog.New(slog.DiscardHandler)}
}

func TestPushTriesAgainWithTheSameBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var bodies []string
		answers := []func(*http.Request) (*http.Response, error){
			func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
			func(*http.Request) (*http.Response, error) { return response(503, nil, "Retry-After", "7"), nil },
			func(r *http.Request) (*http.Response, error) { // no answer until the attempt times out
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			func(*http.Request) (*http.Response, error) {
				return response(429, nil, "Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat)), nil
			},
			func(*http.Request) (*http.Response, error) { return response(200, nil), nil },
		}
		p := newPusher(func(r *http.Request) (*http.Response, error) {
			b, _ := io.ReadAll(r.Body)
			bodies = append(bodies, string(b))
			if r.Header.Get("Authorization") != "Bearer hr_key" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("headers %v", r.Header)
			}
			return answers[len(bodies)-1](r)
		})
		if _, err := p.push(t.Context(), []byte("body")); err != nil {
			t.Fatal(err)
		}
		if len(bodies) != 5 || strings.Join(bodies, "") != strings.Repeat("body", 5) {
			t.Errorf("bodies sent: %q", bodies)
		}
		if took, least := time.Since(begin), 7*time.Second+attemptTimeout+89*time.Second; took < least || took > least+10*time.Second {
			t.Errorf("took %s: Retry-After was not honoured", took)
		}
	})
}

func TestPushGivesUpOnWhatCannotPass(t *testing.T) {
	f := func(status int) {
		t.Helper()
		n := 0
		p := newPusher(func(*http.Request) (*http.Response, error) { n++; return response(status, []byte("no such key")), nil })
		_, err := p.push(t.Context(), []byte("body"))
		if err == nil || !strings.Contains(err.Error(), "no such key") || n != 1 {
			t.Errorf("status %d: error %v after %d attempts", status, err, n)
		}
	}
	f(400)
	f(401)
	f(413)
	f(500)
}

func TestPushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := newPusher(func(*http.Request) (*http.Response, error) { return response(503, nil), nil })
		if _, err := p.push(ctx, []byte("body")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
	})
}

func TestPushCountsWhatWasRefused(t *testing.T) {
	answer, err := proto.Marshal(&trace.ExportTraceServiceResponse{PartialSuccess: &trace.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "too old"}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPusher(func(*http.Request) (*http.Response, error) { return response(200, answer), nil })
	if n, err := p.push(t.Context(), []byte("body")); n != 3 || err != nil {
		t.Errorf("%d refused, error %v, want 3", n, err)
	}
}

func TestRetryAfter(t *testing.T) {
	f := func(header string, want time.Duration) {
		t.Helper()
		if got := retryAfter(header, morning); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", header, got, want)
		}
	}
	f("", 0)
	f("3", 3*time.Second)
	f("-3", 0)
	f("86400", 10*time.Minute)
	f("soon", 0)
	f(morning.Add(time.Minute).Format(http.TimeFormat), time.Minute)
	f(morning.Add(-time.Minute).Format(http.TimeFormat), 0)
}

func FuzzPartialSuccess(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0x02, 0x08, 0x03})
	f.Fuzz(func(t *testing.T, b []byte) { _, _, _ = partialSuccess(b) })
}
