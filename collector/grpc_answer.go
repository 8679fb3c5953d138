package collector

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"

	"github.com/nexis-limited/headroom/fault"
)

// writeMessage answers a call with a message and the status OK.
func writeMessage(w http.ResponseWriter, msg []byte) {
	out := make([]byte, 5, 5+len(msg))
	binary.BigEndian.PutUint32(out[1:], uint32(len(msg)))
	h := w.Header()
	h.Set("Content-Type", typeGRPC)
	h.Set("Trailer", "Grpc-Status")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(out, msg...)) // a client that is gone sends its request again
	h.Set("Grpc-Status", "0")
}

// writeGRPCError answers a call with an error, which headers alone say.
func writeGRPCError(w http.ResponseWriter, e refusal) {
	h := w.Header()
	h.Set("Content-Type", typeGRPC)
	h.Set("Grpc-Status", strconv.Itoa(e.code))
	h.Set("Grpc-Message", percentEncode(e.message))
	h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(rpcStatus(e, false)))
	if e.code == codeUnimplemented {
		h.Set("Grpc-Accept-Encoding", "identity,gzip,zstd")
	}
	w.WriteHeader(http.StatusOK)
}

// percentEncode encodes all but printable ASCII, as gRPC wants its messages.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// Unavailable answers every request of OTLP, over whatever transport, that it should be sent again in a moment: for a
// listener whose collector is not there yet.
func Unavailable(message string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := describe(&fault.Error{Kind: fault.Unavailable, Message: message, RetryAfter: retryAfter})
		if isGRPC(r) {
			writeGRPCError(w, e)
			return
		}
		writeError(w, e, isJSON(r))
	})
}
