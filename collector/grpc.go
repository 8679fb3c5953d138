package collector

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/nexis-limited/headroom/fault"
)

// OTLP over gRPC is a POST over HTTP/2 whose body is one message behind five bytes and whose outcome stands in trailers
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). It is served by net/http, so that a message is read
// as any other body is: after its sender is known, in steps, each counted before it takes memory (docs/adr/0005).

const typeGRPC = "application/grpc"

// grpcMethods are the paths of the OTLP services' methods.
var grpcMethods = map[string]*signal{
	"/opentelemetry.proto.collector.trace.v1.TraceService/Export":     traces,
	"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": metricPoints,
	"/opentelemetry.proto.collector.logs.v1.LogsService/Export":       logs,
}

// grpcHealth is what Kubernetes asks. Its answer says whether requests are taken, as far as the spool's disk is concerned:
// that the spool is full for a while is for senders to know.
const grpcHealth = "/grpc.health.v1.Health/Check"

// HTTP2 returns how a server is to speak HTTP/2 with exporters. It comes without TLS, of which a proxy in front takes care.
// What a client has sent of a request that is not read yet takes no more than its window, and of a frame no more than the
// smallest that a server may ask for: its memory is taken before anybody knows who sends it.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          250, // at a time, of one connection
		MaxReadFrameSize:              16 << 10,
		MaxReceiveBufferPerStream:     256 << 10,
		MaxReceiveBufferPerConnection: 1 << 20,
		SendPingTimeout:               30 * time.Second, // without a word, a client is asked whether it is there
		PingTimeout:                   15 * time.Second, // without an answer to that, it is not
		WriteByteTimeout:              30 * time.Second, // of taking nothing of an answer
	}
}

// isGRPC reports whether a request is a call of gRPC, of whatever message format.
func isGRPC(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Content-Type"), typeGRPC) }

// serveGRPC answers one call.
func (c *Collector) serveGRPC(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	if r.URL.Path == grpcHealth {
		status := byte(1) // HealthCheckResponse.SERVING
		if c.Ready(r.Context()) != nil {
			status = 2 // NOT_SERVING
		}
		writeMessage(w, []byte{1 << 3, status})
		return
	}
	metrics.requests[overGRPC].Inc()
	s, a, err := c.call(w, r)
	if err != nil {
		writeGRPCError(w, c.refusalOf(r, err))
		return
	}
	writeMessage(w, exportResponse(a, s.jsonCount, false))
	metrics.ackSeconds.UpdateDuration(started)
}

func (c *Collector) call(w http.ResponseWriter, r *http.Request) (*signal, answer, error) {
	s, ok := grpcMethods[r.URL.Path]
	if !ok || r.ProtoMajor < 2 {
		return nil, answer{}, fault.New(fault.Unsupported, "there is no gRPC method %q here, over %s: OTLP has TraceService, MetricsService and LogsService, over HTTP/2",
			r.URL.Path, r.Proto)
	}
	who, err := c.authenticate(r)
	if err != nil {
		return s, answer{}, err
	}
	if t := mediaType(r); t != typeGRPC && t != typeGRPC+"+proto" {
		return s, answer{}, &fault.Error{Kind: fault.Unsupported, Field: "Content-Type", Value: t, Message: "is not supported: send " + typeGRPC}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(c.opts.ReadTimeout))
	b, err := c.newBody(who.KeyID)
	defer b.release()
	if err != nil {
		return s, answer{}, err
	}
	if err := b.readMessage(r.Body, r.Header.Get("Grpc-Encoding")); err != nil {
		return s, answer{}, err
	}
	metrics.bytes.Add(b.buf.Len())
	a, err := b.ingest(request{signal: s, from: who, body: b.buf.Bytes()})
	return s, a, err
}

// readMessage reads the only message of a call: a byte that says whether it is compressed, four bytes of length, and the
// message.
func (b *body) readMessage(src io.Reader, encoding string) error {
	var prefix [5]byte
	if _, err := io.ReadFull(src, prefix[:]); errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "the call has no message")
	} else if err != nil {
		return readFault(err, "", "")
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	switch {
	case prefix[0] > 1:
		return fault.New(fault.Invalid, "the message begins with the byte %d: 0 or 1 say whether it is compressed", prefix[0])
	case prefix[0] == 0:
		encoding = ""
	case encoding == "" || encoding == "identity":
		return fault.InvalidField("grpc-encoding", encoding, "must name how the message is compressed, for the message says that it is")
	}
	if err := b.read(&exactly{src, int64(size)}, int64(size), "grpc-encoding", encoding); err != nil {
		return err
	}
	if _, err := io.ReadFull(src, prefix[:1]); !errors.Is(err, io.EOF) {
		if err != nil {
			return readFault(err, "", "")
		}
		return fault.New(fault.Invalid, "a call has one message; more follows")
	}
	return nil
}
