package collector

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// StrangerOptions bound connections on which no request with a valid API key has come yet.
type StrangerOptions struct {
	Max        int           // in all; 2,000
	PerAddress int           // of one address, of IPv6 of a network of 64 bits; 1,500: a thousand clients behind one address may come at once
	Timeout    time.Duration // until the first such request; 1 minute
	Logger     *slog.Logger  // slog.Default()
}

// Strangers holds connections whose clients are unknown to few. A connection costs memory before anybody knows who made
// it, and it may say nothing for ever. When there are too many, one is closed that was made first, of the address that has
// most: a new client always comes in, and shows its key long before it is its turn. Nothing that was acknowledged
// depends on it: a client whose connection is closed makes another.
//
// It is safe for concurrent use, by any number of listeners.
type Strangers struct {
	opts  StrangerOptions
	quiet atomic.Int64 // Unix nanoseconds of the next log line about TLS

	mu sync.Mutex // guards all below, never held while a connection is closed
	of map[netip.Addr]*list.List
	n  int
}

// NewStrangers returns what holds nobody yet.
func NewStrangers(o StrangerOptions) *Strangers {
	setDefault(&o.Max, 2000)
	setDefault(&o.PerAddress, 1500)
	setDefault(&o.Timeout, time.Minute)
	setDefault(&o.Logger, slog.Default())
	return &Strangers{opts: o, of: make(map[netip.Addr]*list.List)}
}

// Listen returns a listener whose connections are strangers. Its server's ConnContext has to be Strangers.Context.
func (s *Strangers) Listen(l net.Listener) net.Listener { return &strangerListener{l, s} }

type strangerListener struct {
	net.Listener
	strangers *Strangers
}

// Accept waits for the next connection.
func (l *strangerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.strangers.add(conn), nil
}

// stranger is a connection. It stays one after its client is known, when it is in no list any more.
type stranger struct {
	net.Conn
	all     *Strangers
	address netip.Addr
	timeout *time.Timer
	looked  bool          // at its first byte; belongs to who reads
	place   *list.Element // in the list of its address; nil when it is known or closed
}

type strangerKey struct{}

// Context is a server's ConnContext.
func (s *Strangers) Context(ctx context.Context, conn net.Conn) context.Context {
	if one, ok := conn.(*stranger); ok {
		return context.WithValue(ctx, strangerKey{}, one)
	}
	return ctx
}

// meet notes that the client of a request's connection is known.
func meet(ctx context.Context) {
	if one, ok := ctx.Value(strangerKey{}).(*stranger); ok {
		one.all.remove(one)
	}
}

func (s *Strangers) add(conn net.Conn) *stranger {
	one := &stranger{Conn: conn, all: s, address: addressOf(conn)}
	s.mu.Lock()
	from := s.of[one.address]
	if from == nil {
		from = list.New()
		s.of[one.address] = from
	}
	one.place = from.PushBack(one)
	s.n++
	strangerMetrics.open.Add(1)
	one.timeout = time.AfterFunc(s.opts.Timeout, func() { s.close(one, strangerMetrics.silent) })
	var out *stranger
	switch {
	case from.Len() > s.opts.PerAddress:
		out = from.Front().Value.(*stranger) //nolint:errcheck,forcetypeassert // of add
	case s.n > s.opts.Max:
		for _, l := range s.of {
			if l.Len() > from.Len() {
				from = l
			}
		}
		out = from.Front().Value.(*stranger) //nolint:errcheck,forcetypeassert // of add
	}
	s.mu.Unlock()
	if out != nil {
		s.close(out, strangerMetrics.tooMany)
	}
	return one
}

// remove takes a connection off the list, and reports whether it was on it.
func (s *Strangers) remove(one *stranger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.place == nil {
		return false
	}
	from := s.of[one.address]
	from.Remove(one.place)
	if from.Len() == 0 {
		delete(s.of, one.address)
	}
	one.place = nil
	s.n--
	strangerMetrics.open.Add(-1)
	one.timeout.Stop()
	return true
}

func (s *Strangers) close(one *stranger, why interface{ Inc() }) {
	if s.remove(one) {
		why.Inc()
		_ = one.Conn.Close()
	}
}

// Close closes the connection.
func (one *stranger) Close() error {
	one.all.remove(one)
	return one.Conn.Close()
}

// CloseWrite ends what is sent and lets the client finish: a server that answers before it has read a body does so, or the
// client would meet a reset before it has read the answer.
func (one *stranger) CloseWrite() error {
	if tcp, ok := one.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Read reads what comes. Exporters whose address has no scheme, or https, begin with a handshake of TLS: what they
// report of that is no help, so the log says it.
func (one *stranger) Read(p []byte) (int, error) {
	n, err := one.Conn.Read(p)
	if !one.looked && n > 0 {
		one.looked = true
		if p[0] == tlsHandshake {
			one.all.noteTLS(one.address)
		}
	}
	return n, err
}

// tlsHandshake is the first byte of TLS, and of no request over HTTP.
const tlsHandshake = 0x16

func (s *Strangers) noteTLS(from netip.Addr) {
	strangerMetrics.tls.Inc()
	now, next := time.Now(), s.quiet.Load()
	if now.UnixNano() < next || !s.quiet.CompareAndSwap(next, now.Add(logEvery).UnixNano()) {
		return
	}
	s.opts.Logger.Warn("a client speaks TLS to an address for telemetry that has none: give its exporter an endpoint that begins with http://, or set it to insecure",
		"component", "collector", "remote", from)
}

// addressOf returns whose connection it is: an address, or a network of IPv6, of which a client has all addresses.
func addressOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(tcp.IP)
	if a = a.Unmap(); a.Is6() {
		network, err := a.Prefix(64)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return network.Addr()
	}
	return a
}
