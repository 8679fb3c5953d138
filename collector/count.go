package collector

import "github.com/VictoriaMetrics/easyproto"

// countLogRecords counts ExportLogsServiceRequest.resource_logs.scope_logs.log_records.
func countLogRecords(body []byte) (int64, error) {
	return countFields(body, 1, 2, 2)
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
