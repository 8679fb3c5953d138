package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/nexis-limited/headroom/fault"
)

// TestDiscoverAsksOnce: one asks for all, who leaves waits for nobody, and what has answered is not asked again.
func TestDiscoverAsksOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(arrived)
		}
		<-release
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"x","token_endpoint":"x","jwks_uri":"x"}`, "http://"+r.Host)
	}))
	defer srv.Close()
	p, err := NewProvider(ProviderOptions{Issuer: srv.URL, ClientID: "a", RedirectURL: "b", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.client.CloseIdleConnections()
	first := make(chan error, 1)
	go func() {
		_, err := p.discover(context.Background())
		first <- err
	}()
	<-arrived
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := p.discover(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := p.discover(t.Context()); err != nil || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestDiscoverOfAProviderThatIsAway(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(nil)
	srv.Close()
	p, err := NewProvider(ProviderOptions{Issuer: srv.URL, ClientID: "a", RedirectURL: "b", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.discover(t.Context()); !errors.Is(err, ErrProviderAway) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}
