package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nexis-limited/headroom/collector"
	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/web"
)

// server is an HTTP server. Its address is taken first of all, so that one in use is known before a database starts, and
// it answers 503 until the part behind it is open.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
	starting http.Handler                 // answers until open
	handler  atomic.Pointer[http.Handler] // nil until open
}

// maxHeaderBytes bounds the headers of a request.
const maxHeaderBytes = 64 << 10

// headerTimeout is how long a request's headers may take, those of the first from the connection's beginning; not for telemetry.
const headerTimeout = 10 * time.Second

const (
	stillStarting = "headroom is starting"
	startRetry    = 2 * time.Second
)

// endpoint is what a server is made from.
type endpoint struct {
	name, addr string // of the flag --listen-NAME
	otlp       bool   // it is for exporters, which may speak HTTP/2: they need other errors than people

	strangers *collector.Strangers // holds connections whose clients are unknown to few; may be nil
}

// listen takes an address and serves on it.
func listen(ctx context.Context, l *lifecycle, log *slog.Logger, e endpoint) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.addr)
	if err != nil {
		return nil, fmt.Errorf("--listen-%s %q: %w", e.name, e.addr, err)
	}
	log.Info("listening", "name", e.name, "address", listener.Addr().String())
	s := &server{name: e.name, listener: listener, starting: http.HandlerFunc(tellStarting)}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	if e.otlp {
		protocols.SetUnencryptedHTTP2(true)
		s.starting = collector.Unavailable(stillStarting)
	}
	s.http = &http.Server{
		Protocols: &protocols, HTTP2: collector.HTTP2(),
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: 2 * time.Minute, WriteTimeout: 3 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.With("component", e.name).Handler(), slog.LevelError), // handlers that panicked
	}
	if e.strangers != nil {
		// The first request may come late, from a client that has no CPU for a while, and if its connection is closed just then it
		// does not send again. How long a stranger may wait is bounded already.
		s.http.ReadHeaderTimeout = s.http.ReadTimeout
		listener = e.strangers.Listen(listener)
		s.http.ConnContext = e.strangers.Context
	}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.fail(fmt.Errorf("listener %s: %w", e.name, err))
		}
	}()
	l.onStop("address of "+e.name, time.Second, func(context.Context) error { return s.http.Close() })
	return s, nil
}

// ServeHTTP passes a request on to what is open.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	s.starting.ServeHTTP(w, r)
}

// tellStarting answers people.
func tellStarting(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", strconv.Itoa(int(startRetry.Seconds())))
	web.WriteProblem(w, &fault.Error{Kind: fault.Unavailable, Message: stillStarting, RetryAfter: startRetry})
}

// url returns the server's address for somebody on this machine.
func (s *server) url() string { return localURL(s.listener.Addr().String()) }

// open lets requests in. When the server stops, those under way may end.
func (s *server) open(l *lifecycle, h http.Handler) {
	s.handler.Store(&h)
	l.onStop("listener "+s.name, 15*time.Second, func(ctx context.Context) error {
		if err := s.http.Shutdown(ctx); err != nil {
			return errors.Join(err, s.http.Close())
		}
		return nil
	})
}
