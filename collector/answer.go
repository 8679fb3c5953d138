package collector

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/nexis-limited/headroom/fault"
)

// The content types of OTLP/HTTP.
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// retryAfter is what clients are told to wait when nothing better is known.
const retryAfter = 2 * time.Second

var marshalers easyproto.MarshalerPool

// exportResponse encodes an Export{Trace,Metrics,Logs}ServiceResponse: they differ only in the JSON name of the count.
// A full success is an empty message.
func exportResponse(a answer, jsonCount string, asJSON bool) []byte {
	if asJSON {
		type object map[string]any
		msg := object{}
		if a != (answer{}) {
			msg["partialSuccess"] = object{jsonCount: strconv.FormatInt(a.rejected, 10), "errorMessage": a.message}
		}
		out, err := json.Marshal(msg)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return out
	}
	if a == (answer{}) {
		return nil
	}
	m := marshalers.Get()
	defer marshalers.Put(m)
	partial := m.MessageMarshaler().AppendMessage(1)
	partial.AppendInt64(1, a.rejected)
	partial.AppendString(2, a.message)
	return m.Marshal(nil)
}

// The codes of gRPC that are answered.
const (
	codeInvalidArgument   = 3
	codeNotFound          = 5
	codePermissionDenied  = 7
	codeResourceExhausted = 8
	codeUnimplemented     = 12
	codeInternal          = 13
	codeUnavailable       = 14
	codeUnauthenticated   = 16
)

// refusal is what the client of a failed request is told.
type refusal struct {
	status  int // of HTTP
	code    int // of gRPC
	message string
	wait    time.Duration // after which the same may be sent again; 0 is never
}

// describe turns an error into what may be told. Only 503 and UNAVAILABLE make OTLP clients send again.
func describe(err error) refusal {
	e := refusal{status: http.StatusInternalServerError, code: codeInternal, message: "internal error"}
	var f *fault.Error
	if !errors.As(err, &f) {
		return e
	}
	e.message = f.Public()
	switch f.Kind {
	case fault.Invalid:
		e.status, e.code = http.StatusBadRequest, codeInvalidArgument
	case fault.Unauthenticated:
		e.status, e.code = http.StatusUnauthorized, codeUnauthenticated
	case fault.Forbidden:
		e.status, e.code = http.StatusForbidden, codePermissionDenied
	case fault.TooLarge:
		e.status, e.code = http.StatusRequestEntityTooLarge, codeResourceExhausted
	case fault.Unsupported:
		e.status, e.code = http.StatusUnsupportedMediaType, codeUnimplemented
	case fault.NotFound:
		e.status, e.code = http.StatusNotFound, codeNotFound
	case fault.Unavailable:
		e.status, e.code, e.wait = http.StatusServiceUnavailable, codeUnavailable, f.RetryAfter
		if e.wait <= 0 {
			e.wait = retryAfter
		}
	}
	return e
}

// rpcStatus encodes a google.rpc.Status.
func rpcStatus(e refusal, asJSON bool) []byte {
	if asJSON {
		out, err := json.Marshal(struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{e.code, e.message})
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return out
	}
	m := marshalers.Get()
	defer marshalers.Put(m)
	mm := m.MessageMarshaler()
	mm.AppendInt32(1, int32(e.code))
	mm.AppendString(2, e.message)
	if e.wait > 0 {
		appendRetryInfo(mm.AppendMessage(3), e.wait)
	}
	return m.Marshal(nil)
}

// appendRetryInfo fills an Any with a google.rpc.RetryInfo, without which gRPC clients need not come again.
func appendRetryInfo(m *easyproto.MessageMarshaler, wait time.Duration) {
	m.AppendString(1, "type.googleapis.com/google.rpc.RetryInfo")
	delay := m.AppendMessage(2).AppendMessage(1)
	delay.AppendInt64(1, int64(wait/time.Second))
	delay.AppendInt32(2, int32(wait%time.Second))
}

// writeError answers a request of OTLP/HTTP with an error.
func writeError(w http.ResponseWriter, e refusal, asJSON bool) {
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.wait+time.Second-1)/time.Second)))
	}
	write(w, e.status, rpcStatus(e, asJSON), asJSON)
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
