-- Telemetry: requests and spans as they come, and the rollups of packages dashboards and slo. See docs/adr/0001 and 0002.
--
-- Every table remembers the deduplication tokens of its last 10,000 inserted blocks, so that an insert of the collector
-- can be repeated until it is acknowledged. This holds for the targets of the views too.

-- +goose Up

-- One row for every request, never sampled. ts is the request's end, to the nanosecond.
CREATE TABLE IF NOT EXISTS requests
(
    ts DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    route LowCardinality(String),
    method LowCardinality(String),
    version LowCardinality(String),
    status UInt16,
    error UInt8,
    duration_ns UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (product, tenant, service, route, ts)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Every span with its attributes. ts is the span's start. kind is OTLP's number: 1 internal, 2 server, 3 client,
-- 4 producer, 5 consumer.
CREATE TABLE IF NOT EXISTS spans
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
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    resource Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    INDEX trace trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (product, tenant, ts)
TTL toDateTime(ts) + INTERVAL 7 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Requests, errors and the exponential histogram (scale 5: bucket i holds durations from 2^(i/32) ns up to
-- 2^((i+1)/32) ns) of a route in a minute. The hour leads the key after the product, so that both "all tenants, the
-- last hour" and "one tenant, a day" read little.
CREATE TABLE IF NOT EXISTS latency_1m
(
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    route LowCardinality(String),
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    histogram SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(minute)
ORDER BY (product, toStartOfHour(minute), tenant, service, route, minute)
TTL minute + INTERVAL 35 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- The same by the hour.
CREATE TABLE IF NOT EXISTS latency_1h
(
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    route LowCardinality(String),
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    histogram SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (product, tenant, service, route, hour)
TTL hour + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_to_latency_1m TO latency_1m AS
SELECT
    product,
    tenant,
    service,
    route,
    toStartOfMinute(toDateTime(ts, 'UTC')) AS minute,
    count() AS requests,
    sum(toUInt64(error)) AS errors,
    sumMap(map(toInt16(floor(log2(greatest(duration_ns, 1)) * 32)), toUInt64(1))) AS histogram
FROM requests
GROUP BY product, tenant, service, route, minute;

CREATE MATERIALIZED VIEW IF NOT EXISTS latency_1m_to_latency_1h TO latency_1h AS
SELECT
    product,
    tenant,
    service,
    route,
    toStartOfHour(minute) AS hour,
    sum(latency_1m.requests) AS requests,
    sum(latency_1m.errors) AS errors,
    sumMap(latency_1m.histogram) AS histogram
FROM latency_1m
GROUP BY product, tenant, service, route, hour;

-- What each tenant asks of each database, cache and queue: calls and the time they took, from client and producer
-- spans. The collector inserts a row a call; ClickHouse sums them as it inserts. minute is that of the call's end.
CREATE TABLE IF NOT EXISTS load_1m
(
    system LowCardinality(String),
    instance LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    product LowCardinality(String),
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    calls SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    busy_ns SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(minute)
ORDER BY (product, toStartOfHour(minute), system, instance, tenant, service, minute)
TTL minute + INTERVAL 35 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- +goose Down
DROP VIEW IF EXISTS latency_1m_to_latency_1h;
DROP VIEW IF EXISTS requests_to_latency_1m;
DROP TABLE IF EXISTS load_1m;
DROP TABLE IF EXISTS latency_1h;
DROP TABLE IF EXISTS latency_1m;
DROP TABLE IF EXISTS spans;
DROP TABLE IF EXISTS requests;
