package app

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/nexis-limited/headroom/collector"
)

// TestCallsOfGRPCEnd asks a listener by gRPC's own client while headroom starts, and while it stops: first it is told to
// come again, then a call that is under way gets its answer.
func TestCallsOfGRPCEnd(t *testing.T) {
	life := newLifecycle(discard())
	s, err := listen(t.Context(), life, discard(), endpoint{name: "otlp-grpc", addr: "127.0.0.1:0", otlp: true})
	if err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient(strings.TrimPrefix(s.url(), "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	call := func() error { return cc.Invoke(t.Context(), "/s/m", &emptypb.Empty{}, &emptypb.Empty{}) }
	if err := call(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), stillStarting) {
		t.Errorf("while it starts: got %v", err)
	}
	res, err := http.Post(s.url()+"/v1/traces", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "2" ||
		string(body) != `{"code":14,"message":"headroom is starting"}` {
		t.Errorf("while it starts, over HTTP: got %d %v %s", res.StatusCode, res.Header, body)
	}

	arrived, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	s.open(life, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(make([]byte, 5))
		w.Header().Set("Grpc-Status", "0")
		ended.Store(true)
	}))
	answered, stopped := make(chan error, 1), make(chan error, 1)
	go func() { answered <- call() }()
	<-arrived
	go func() {
		err := life.stop()
		if !ended.Load() {
			t.Error("it stopped over a call")
		}
		stopped <- err
	}()
	if !cc.WaitForStateChange(t.Context(), connectivity.Ready) { // until the server says GOAWAY
		t.Fatal("the server does not tell its clients that it stops")
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestFirstRequestMayComeLate sends nothing on a connection for telemetry for longer than headers may take elsewhere. It stays, and its
// first request is answered.
func TestFirstRequestMayComeLate(t *testing.T) {
	t.Parallel()
	life := newLifecycle(discard())
	t.Cleanup(func() { _ = life.stop() })
	s, err := listen(t.Context(), life, discard(), endpoint{name: "otlp-http", addr: "127.0.0.1:0", otlp: true,
		strangers: collector.NewStrangers(collector.StrangerOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(headerTimeout + time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("before there was a request: got %v, want nothing", err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusServiceUnavailable { // it is starting
		t.Errorf("got %d", res.StatusCode)
	}
}
