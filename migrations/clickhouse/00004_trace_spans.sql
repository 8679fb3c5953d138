-- Spans in a shape that ClickHouse takes and merges with a fifth of the work, and that needs half the disk: see
-- docs/benchmarks.md for what each part of it brought.

-- +goose Up

-- Every span with its attributes. ts is the span's start. kind is OTLP's number: 1 internal, 2 server, 3 client,
-- 4 producer, 5 consumer.
--
-- The collector writes a span's attributes as two strings, their keys and their values in the same order, with the byte
-- 0xff between them; those of its resource as one, keys and values with the byte 0xfe between the two halves. UTF-8 has
-- neither byte. Most spans share their keys with thousands and their resource with all of their process, so that both are
-- words of a dictionary. Queries read attributes and resource, which make maps of them.
--
-- Within a minute rows stay in the order in which they came, so that merging copies runs of them instead of comparing
-- one by one, and the spans of a trace stay together and compress.
CREATE TABLE IF NOT EXISTS trace_spans
(
    ts DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id FixedString(16),
    span_id FixedString(8),
    parent_span_id FixedString(8),
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    version LowCardinality(String),
    name LowCardinality(String),
    kind UInt8,
    route LowCardinality(String),
    status UInt16,
    error UInt8,
    duration_ns UInt64 CODEC(T64, ZSTD(1)),
    status_message String CODEC(ZSTD(1)),
    exception String CODEC(ZSTD(1)),
    attribute_keys LowCardinality(String),
    attribute_values String CODEC(ZSTD(1)),
    resource_attributes LowCardinality(String),
    attributes Map(LowCardinality(String), String) ALIAS if(attribute_keys = '', map(),
        CAST((splitByChar('\xff', attribute_keys), splitByChar('\xff', attribute_values)), 'Map(LowCardinality(String), String)')),
    resource Map(LowCardinality(String), String) ALIAS if(resource_attributes = '', map(),
        CAST((splitByChar('\xff', splitByChar('\xfe', resource_attributes)[1]), splitByChar('\xff', splitByChar('\xfe', resource_attributes)[2])),
            'Map(LowCardinality(String), String)')),
    INDEX trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (product, tenant, toStartOfMinute(ts))
TTL toDateTime(ts) + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1,
    -- What is inserted at once becomes a part of four files instead of sixty, which all have to be synced; what is merged has a
    -- file a column.
    min_bytes_for_wide_part = 134217728;

-- The table spans stays as it is, for what is in it and for collectors and spools of the version before: its rows are gone
-- after seven days, and a later migration drops it.

-- +goose Down
DROP TABLE IF EXISTS trace_spans;
