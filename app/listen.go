package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// server is an HTTP server on a listener that was opened early: an address in use is known before a database starts.
type server struct {
	name     string
	listener net.Listener
}

// maxHeaderBytes bounds the headers of a request.
const maxHeaderBytes = 64 << 10

func listen(name, addr string) (*server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--listen-%s %q: %w", name, addr, err)
	}
	return &server{name: name, listener: l}, nil
}

// url returns the server's address for somebody on this machine.
func (s *server) url() string { return localURL(s.listener.Addr().String()) }

// serve starts the server as a part of the lifecycle. When it stops, requests that are under way may end.
func (s *server) serve(l *lifecycle, log *slog.Logger, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 3 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.With("component", s.name).Handler(), slog.LevelDebug),
	}
	go func() {
		if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			l.fail(fmt.Errorf("listener %s: %w", s.name, err))
		}
	}()
	l.onStop("listener "+s.name, 15*time.Second, func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	})
}
