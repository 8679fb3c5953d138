-- What each tenant sent and what became of it, by the minute in which the collector took it: for who is over its quota, and
-- for what is used. Package collector writes a row a tenant and batch, together with the batch's other rows.

-- +goose Up

-- spans are those that were counted, whether they are stored or not; sampled_spans those of them that are not in
-- trace_spans, because their tenant was over its quota; refused_spans those beyond the hard limit, which nothing counts.
-- bytes are those of spans as protobuf. points are the numbers that points of metrics are stored as: a histogram has one
-- for each of its buckets.
CREATE TABLE IF NOT EXISTS ingest_1m
(
    tenant LowCardinality(String),
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    spans SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    sampled_spans SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    refused_spans SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    bytes SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    points SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    refused_points SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(minute)
ORDER BY (toStartOfHour(minute), tenant, minute)
TTL minute + INTERVAL 35 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- +goose Down
DROP TABLE IF EXISTS ingest_1m;
