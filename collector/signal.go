package collector

// signal is one kind of telemetry that requests carry.
type signal struct {
	name      string // in metrics and messages
	path      string // of OTLP/HTTP; part of a request's digest, whatever transport brought it
	message   string // the protobuf message that a body is
	jsonCount string // the JSON name of the count in a partial success
	things    string // what it consists of

	// decode appends what d.body holds to d.cols. It is nil for a signal that is not stored, whose things are counted
	// by count and refused in a partial success.
	decode func(d *decoder, body []byte) error
	count  func(body []byte) (int64, error)
}

var (
	traces = &signal{
		name: "traces", path: "/v1/traces", message: "ExportTraceServiceRequest", jsonCount: "rejectedSpans", things: "spans",
		decode: (*decoder).traces,
	}
	metricPoints = &signal{
		name: "metrics", path: "/v1/metrics", message: "ExportMetricsServiceRequest", jsonCount: "rejectedDataPoints", things: "data points",
		decode: (*decoder).points,
	}
	logs = &signal{
		name: "logs", path: "/v1/logs", message: "ExportLogsServiceRequest", jsonCount: "rejectedLogRecords", things: "log records",
		count: countLogRecords,
	}
)
