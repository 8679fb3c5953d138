package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	vmmetrics "github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health answers /healthz and /readyz. Alive means that the process serves; ready means that what it needs answers.
type health struct {
	started atomic.Bool
	checks  map[string]func(ctx context.Context) error // not changed once started
}

// checkTimeout bounds one check of readiness.
const checkTimeout = 2 * time.Second

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	status, answer := http.StatusOK, map[string]string{"headroom": "ok"}
	var checks map[string]func(context.Context) error
	if h.started.Load() {
		checks = h.checks
	} else {
		status, answer["headroom"] = http.StatusServiceUnavailable, "starting or stopping"
	}
	for name, check := range checks {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		answer[name] = "ok"
		if err := check(ctx); err != nil {
			status, answer[name] = http.StatusServiceUnavailable, err.Error()
		}
		cancel()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone
}

// internalHandler serves what only the operator may see. The metrics of the ingest path, and those of the rest stand in
// one document.
func internalHandler(h *health, reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	rest := promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		// Plain text only: the two libraries agree on no other format, and the first to write sets the headers.
		r.Header.Del("Accept")
		rest.ServeHTTP(w, r)
		vmmetrics.WritePrometheus(w, false)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
