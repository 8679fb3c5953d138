package collector

import (
	"fmt"
	"net/http"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/tenant"
)

// notYet answers a request of a signal that is not stored: a partial success that refuses all of it, so that clients
// neither fail nor send it again.
func notYet(signal string, count func(body []byte) (int64, error)) func(*http.Request, tenant.Identity, []byte) (answer, error) {
	return func(_ *http.Request, _ tenant.Identity, body []byte) (answer, error) {
		n, err := count(body)
		if err != nil {
			return answer{}, fault.Wrap(err, fault.Invalid, "the body is no OTLP export request for %s: %s", signal, err)
		}
		if n == 0 {
			return answer{}, nil
		}
		return answer{rejected: n, message: fmt.Sprintf("headroom does not accept %s yet; send traces", signal)}, nil
	}
}

// countLogRecords counts ExportLogsServiceRequest.resource_logs.scope_logs.log_records.
func countLogRecords(body []byte) (int64, error) {
	return countFields(body, 1, 2, 2)
}

// countDataPoints counts the points of ExportMetricsServiceRequest.resource_metrics.scope_metrics.metrics, whatever
// their kind.
func countDataPoints(body []byte) (n int64, err error) {
	for _, kind := range []uint32{5, 7, 9, 10, 11} { // gauge, sum, histogram, exponential histogram, summary
		k, err := countFields(body, 1, 2, 2, kind, 1)
		if err != nil {
			return 0, err
		}
		n += k
	}
	return n, nil
}

// countFields counts the messages that the path of field numbers leads to.
func countFields(src []byte, path ...uint32) (n int64, err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 {
		if src, err = fc.NextField(src); err != nil {
			return 0, err
		}
		data, ok := fc.MessageData()
		switch {
		case !ok || fc.FieldNum != path[0]:
		case len(path) == 1:
			n++
		default:
			k, err := countFields(data, path[1:]...)
			if err != nil {
				return 0, err
			}
			n += k
		}
	}
	return n, nil
}
