package collector

import (
	"encoding/json"
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

// rpcStatus encodes a google.rpc.Status.
func rpcStatus(code int, message string, asJSON bool) []byte {
	if asJSON {
		out, err := json.Marshal(struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{code, message})
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return out
	}
	m := marshalers.Get()
	defer marshalers.Put(m)
	mm := m.MessageMarshaler()
	mm.AppendInt32(1, int32(code))
	mm.AppendString(2, message)
	return m.Marshal(nil)
}

// statusOf maps an error's kind to HTTP and gRPC codes. Only 503 makes OTLP clients send again.
func statusOf(err error) (httpStatus, rpcCode int) {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest, 3
	case fault.Unauthenticated:
		return http.StatusUnauthorized, 16
	case fault.Forbidden:
		return http.StatusForbidden, 7
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge, 3
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType, 3
	case fault.NotFound:
		return http.StatusNotFound, 5
	case fault.Unavailable:
		return http.StatusServiceUnavailable, 14
	}
	return http.StatusInternalServerError, 13
}
