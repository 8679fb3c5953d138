package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/nexis-limited/headroom/fault"
)

// fromJSON turns an OTLP/JSON body into protobuf. It is the slow path: services send protobuf, people try JSON.
func fromJSON(path string, src []byte) ([]byte, error) {
	var msg proto.Message
	switch path {
	case "/v1/traces":
		msg = new(traces.ExportTraceServiceRequest)
	case "/v1/metrics":
		msg = new(metricspb.ExportMetricsServiceRequest)
	default:
		msg = new(logs.ExportLogsServiceRequest)
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is no JSON: %s", err)
	}
	if err := hexToBase64(doc, 0); err != nil {
		return nil, err
	}
	fixed, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("cannot encode JSON: %w", err)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(fixed, msg); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is no OTLP/JSON: %s", err)
	}
	out, err := proto.Marshal(msg)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body is no OTLP/JSON: %s", err)
	}
	return out, nil
}

// maxJSONDepth bounds how deep a document is followed: OTLP's own nesting and that of attribute values fit easily.
const maxJSONDepth = 200

// hexToBase64 rewrites the ids: OTLP/JSON has them in hex, protobuf's JSON mapping expects base64.
func hexToBase64(doc any, depth int) error {
	if depth > maxJSONDepth {
		return fault.New(fault.Invalid, "the body nests deeper than %d levels", maxJSONDepth)
	}
	switch v := doc.(type) {
	case []any:
		for _, e := range v {
			if err := hexToBase64(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			switch k {
			case "traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id":
				s, ok := e.(string)
				if !ok {
					continue // protojson says what is wrong with it
				}
				raw, err := hex.DecodeString(s)
				if err != nil {
					return fault.InvalidField(k, s, "must be hexadecimal")
				}
				v[k] = base64.StdEncoding.EncodeToString(raw)
			default:
				if err := hexToBase64(e, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
