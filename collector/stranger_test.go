package collector

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// strangersAt serves, on an address of its own, requests of which those with a header show a valid key.
func strangersAt(t *testing.T, o StrangerOptions) string {
	t.Helper()
	s := NewStrangers(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnContext: s.Context, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != "" {
			meet(r.Context())
		}
	}), ErrorLog: slog.NewLogLogger(discard.Handler(), slog.LevelError)}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(s.Listen(l)) }()
	return l.Addr().String()
}

// dialed is a connection, from an address of this machine.
type dialed struct {
	net.Conn
	t    *testing.T
	read *bufio.Reader
}

func dialFrom(t *testing.T, to, from string) *dialed {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &dialed{conn, t, bufio.NewReader(conn)}
}

// ask sends a request, and wants an answer.
func (c *dialed) ask(header string) *dialed {
	c.t.Helper()
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", header)
	resp, err := http.ReadResponse(c.read, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return c
}

// wantClosed waits until the server closes the connection.
func (c *dialed) wantClosed() {
	c.t.Helper()
	if _, err := c.read.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		c.t.Errorf("the connection is not closed: %v", err)
	}
}

const keyHeader = "X-Api-Key: k\r\n"

// Of one address, and of all, the connection without a key that was made first is closed when there are too many. Those
// whose client is known stay, and count for nothing.
func TestStrangersAreFew(t *testing.T) {
	to := strangersAt(t, StrangerOptions{Max: 3, PerAddress: 2, Timeout: time.Hour})
	known := dialFrom(t, to, "127.0.0.1").ask(keyHeader)
	a1 := dialFrom(t, to, "127.0.0.1").ask("")
	a2 := dialFrom(t, to, "127.0.0.1").ask("")
	a3 := dialFrom(t, to, "127.0.0.1").ask("") // one too many of that address
	a1.wantClosed()
	b := dialFrom(t, to, "127.0.0.2").ask("")
	c := dialFrom(t, to, "127.0.0.3").ask("") // one too many of all
	a2.wantClosed()
	for _, still := range []*dialed{known, a3, b, c} {
		still.ask("")
	}
	a3.ask(keyHeader) // makes room
	dialFrom(t, to, "127.0.0.4").ask("")
	b.ask("")
	_ = b.Close()
	known.ask(keyHeader)
}

// A connection on which no key comes is closed in time, whatever else comes.
func TestStrangersMustShowAKeyInTime(t *testing.T) {
	to := strangersAt(t, StrangerOptions{Timeout: 3 * time.Second})
	silent, known := dialFrom(t, to, "127.0.0.1"), dialFrom(t, to, "127.0.0.1").ask(keyHeader)
	silent.wantClosed()
	known.ask("")
}

// A server ends what it sends and goes on reading, as it does over a connection of TCP.
func TestStrangersMayFinish(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = NewStrangers(StrangerOptions{}).Listen(l)
	t.Cleanup(func() { _ = l.Close() })
	client := dialFrom(t, l.Addr().String(), "127.0.0.1")
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	half, ok := server.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("net/http would reset the connections of clients that still send")
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	client.wantClosed()
	_, _ = client.Write([]byte("x"))
	_ = client.Close()
	if rest, err := io.ReadAll(server); err != nil || string(rest) != "x" {
		t.Errorf("got %q, %v", rest, err)
	}
	_ = server.Close()
}

func TestClientsThatSpeakTLSAreNoticed(t *testing.T) {
	to := strangersAt(t, StrangerOptions{})
	before := strangerMetrics.tls.Get()
	c := dialFrom(t, to, "127.0.0.1")
	_, _ = c.Write([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n"))
	_, _ = io.Copy(io.Discard, c.read) // it gets an error, and the end
	if got := strangerMetrics.tls.Get(); got != before+1 {
		t.Errorf("noticed %d", got-before)
	}
}
