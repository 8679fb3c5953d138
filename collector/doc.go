// Package collector receives traces and metrics and puts them into ClickHouse, each span and point once.
//
// It owns the receivers of OTLP and Prometheus remote-write, their limits, the decoders, the spool and the writer that
// empties the spool into the tables requests, trace_spans, load_1m and those of metrics, and the vocabulary of resources
// (docs/metrics.md). It promises (docs/adr/0001):
//
//   - A request that got its 200 is on disk: nothing acknowledged is lost, whatever process dies at whatever moment.
//   - It is counted once, in the raw tables and in every rollup, however often an insert has to be repeated.
//   - The same body sent again by the same key within ten minutes is acknowledged with the same answer and not counted.
//   - When it cannot store, it says so with 503 and Retry-After, and its memory stays bounded.
//   - No tenant's flood changes how fast others are acknowledged, or what is stored of them (docs/fairness.md).
//
// The way of a request:
//
//	handler    authenticate, limit, read the body, know it from before?
//	decoder    protobuf straight into the columns of a batch, no object a span
//	committer  columns to compressed Native blocks, appended to the spool and fsynced; then all its requests get their 200
//	writer     a sealed segment of the spool is one insert a table, repeated with one token until ClickHouse has it
//
// Package app wires it. It imports tenant, clickhouse and fault, and no feature.
package collector
