package collector

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// Handler serves OTLP over HTTP and, where the server speaks HTTP/2, over gRPC, both on whatever address: who mixes up the
// two ports is served too. A request waits in it until what it carries is on disk.
func (c *Collector) Handler() http.Handler { return c.handler }

func (c *Collector) routes() http.Handler {
	mux := http.NewServeMux()
	for _, s := range []*signal{traces, metricPoints, logs} {
		mux.Handle("POST "+s.path, c.endpoint(s))
	}
	mux.HandleFunc("POST "+remoteWritePath, c.remoteWrite)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { c.stray(w, r, mux) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGRPC(r) {
			c.serveGRPC(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// stray answers what is no request of ours: a person with a browser, an exporter whose address has a wrong path.
func (c *Collector) stray(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	e := refusal{status: http.StatusNotFound, code: codeNotFound, message: fmt.Sprintf("There is nothing at %q. "+
		"This is headroom's address for telemetry: POST OTLP to %s, %s or %s, as protobuf or JSON, or call it by gRPC; POST Prometheus remote-write to %s.",
		r.URL.Path, traces.path, metricPoints.path, logs.path, remoteWritePath)}
	if _, pattern := mux.Handler(&http.Request{Method: http.MethodPost, URL: r.URL, Host: r.Host}); pattern != "/" {
		w.Header().Set("Allow", http.MethodPost)
		e.status, e.code = http.StatusMethodNotAllowed, codeUnimplemented
		e.message = fmt.Sprintf("%s takes POST only, not %s: services push their telemetry here. What came is shown in headroom's console.", r.URL.Path, r.Method)
	}
	metrics.malformed.Inc()
	if t := mediaType(r); t == typeProtobuf || t == typeJSON {
		writeError(w, e, t == typeJSON)
		return
	}
	http.Error(w, e.message, e.status)
}

// endpoint adapts ingest to OTLP/HTTP.
func (c *Collector) endpoint(s *signal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		metrics.requests[overHTTP].Inc()
		asJSON := isJSON(r)
		a, err := c.serve(w, r, s, asJSON)
		if err != nil {
			writeError(w, c.refusalOf(r, err), asJSON)
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
	b, err := c.readBody(r, who.KeyID)
	defer b.release()
	if err != nil {
		return answer{}, err
	}
	metrics.bytes.Add(b.buf.Len())
	src := b.buf.Bytes()
	if asJSON {
		c.fromJSONs.do(who.KeyID, len(src), func() { src, err = b.fromJSON(s) })
		if err != nil {
			return answer{}, err
		}
	}
	return b.ingest(request{signal: s, from: who, body: src})
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
	if !who.Has(tenant.MayCreate(tenant.ResourceTelemetry)) { // the decoder keeps a bound key within its bounds
		return who, fault.New(fault.Forbidden, "the API key %q lacks the scope %s", who.Name, tenant.ScopeIngest)
	}
	meet(r.Context())
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

// refusalOf says what a client is told of an error, counts it and logs some.
func (c *Collector) refusalOf(r *http.Request, err error) refusal {
	e := describe(err)
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		metrics.unauthorized.Inc()
	case http.StatusServiceUnavailable:
		metrics.overloaded.Inc()
	default:
		metrics.malformed.Inc()
	}
	c.logRefused(r, e.status, err)
	return e
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
