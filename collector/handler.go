package collector

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Handler serves OTLP over HTTP: POST /v1/traces, and /v1/metrics and /v1/logs, whose data it refuses in a partial
// success. A request waits in it until its spans are on disk.
func (c *Collector) Handler() http.Handler { return c.handler }

func (c *Collector) routes() http.Handler {
	mux := http.NewServeMux()
	for _, s := range []*signal{traces, metricPoints, logs} {
		mux.Handle("POST "+s.path, c.endpoint(s))
	}
	return mux
}

// endpoint adapts ingest to OTLP/HTTP.
func (c *Collector) endpoint(s *signal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		metrics.requests.Inc()
		asJSON := isJSON(r)
		a, err := c.serve(w, r, s, asJSON)
		if err != nil {
			c.fail(w, r, err, asJSON)
			return
		}
		write(w, http.StatusOK, exportResponse(a, s.jsonCount, asJSON), asJSON)
		metrics.ackSeconds.UpdateDuration(started)
	})
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request, s *signal, asJSON bool) (answer, error) {
	who, err := c.authenticate(r)
	if err != nil {
		return answer{}, err
	}
	if err := checkType(r); err != nil {
		return answer{}, err
	}
	// Not every server supports deadlines; the listener's own timeout holds then.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(c.opts.ReadTimeout))
	b, err := c.readBody(r)
	defer b.release()
	if err != nil {
		return answer{}, err
	}
	metrics.bytes.Add(b.buf.Len())
	src := b.buf.Bytes()
	if asJSON {
		if src, err = c.fromJSON(s, src); err != nil {
			return answer{}, err
		}
	}
	return c.ingest(request{signal: s, from: who, body: src})
}

func (c *Collector) authenticate(r *http.Request) (tenant.Identity, error) {
	token := r.Header.Get("X-Api-Key")
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(rest)
	}
	who, err := c.opts.Auth.Authenticate(r.Context(), token)
	if err != nil {
		return who, err
	}
	if !who.Can(tenant.ScopeIngest) {
		return who, fault.New(fault.Forbidden, "the API key %q lacks the scope %s", who.Name, tenant.ScopeIngest)
	}
	return who, nil
}

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return r.Header.Get("Content-Type")
	}
	return t
}

func isJSON(r *http.Request) bool { return mediaType(r) == typeJSON }

func checkType(r *http.Request) error {
	t := mediaType(r)
	switch t {
	case typeProtobuf, typeJSON:
		return nil
	}
	return &fault.Error{Kind: fault.Unsupported, Field: "Content-Type", Value: t,
		Message: "is not supported: send OTLP as " + typeProtobuf + " or " + typeJSON}
}

func (c *Collector) fail(w http.ResponseWriter, r *http.Request, err error, asJSON bool) {
	status, code := statusOf(err)
	message := "internal error"
	var f *fault.Error
	if errors.As(err, &f) {
		message = f.Public()
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
		metrics.unauthorized.Inc()
	case http.StatusForbidden:
		metrics.unauthorized.Inc()
	case http.StatusServiceUnavailable:
		wait := retryAfter
		if f != nil && f.RetryAfter > 0 {
			wait = f.RetryAfter
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		metrics.overloaded.Inc()
	default:
		metrics.malformed.Inc()
	}
	c.logRefused(r, status, err)
	write(w, status, rpcStatus(code, message, asJSON), asJSON)
}

// logRefused writes at most a line every logEvery, so that a flood of bad requests does not become one of log lines.
func (c *Collector) logRefused(r *http.Request, status int, err error) {
	now := time.Now()
	next := c.quiet.Load()
	if now.UnixNano() < next || !c.quiet.CompareAndSwap(next, now.Add(logEvery).UnixNano()) {
		return
	}
	c.opts.Logger.Warn("refused a request; others like it in the next seconds are only counted",
		"path", r.URL.Path, "status", status, "remote", r.RemoteAddr, "error", err)
}

func write(w http.ResponseWriter, status int, body []byte, asJSON bool) {
	t := typeProtobuf
	if asJSON {
		t = typeJSON
	}
	w.Header().Set("Content-Type", t)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone sends its request again
}
