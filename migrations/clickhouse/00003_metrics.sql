-- Metrics: points as they come, what their series are called, and what of them says how databases, caches, queues and
-- pools do. Package collector writes all of it; docs/metrics.md explains how to read it. Metrics that nobody maps are in
-- metric_series and metric_points all the same.

-- +goose Up

-- What a series is called: a row for each series and day on which it has points, so that only days that are asked for
-- are searched. series is a hash of its identity: metric, product, service, tenant, labels, and whether it is of
-- deltas or of histograms. kind says how to read its values: gauge, counter and updown are running sums since their
-- start; delta and updown_delta are what was added between two points; histogram, delta_histogram and gauge_histogram
-- have their points in metric_histograms. A repeated row says the same; merging leaves one.
CREATE TABLE IF NOT EXISTS metric_series
(
    day Date,
    metric LowCardinality(String),
    series UInt64,
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    kind LowCardinality(String),
    unit LowCardinality(String),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (metric, tenant, series, day)
TTL day + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- started is when a running sum began to count, or when the time began that a delta is of; 1970 when nobody said. A value
-- that is the NaN with the bits 0x7ff0000000000002 says that the series ended here (Prometheus's stale marker).
--
-- Measured over an hour of 2,000 series (counters, constants, noisy gauges, rising fractions; 480,000 points): 2.9 bytes a point. Value
-- by Delta, ZSTD takes 2.3 bytes, by ZSTD alone 2.6, by Gorilla or FPC and ZSTD 4.1 and 4.2; ts by Delta, ZSTD 0.48, by DoubleDelta,
-- ZSTD 0.59. Delta takes the bits of a number as they are, so that they come back as they were.
CREATE TABLE IF NOT EXISTS metric_points
(
    metric LowCardinality(String),
    series UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    started DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    value Float64 CODEC(Delta(8), ZSTD(1)),
    product LowCardinality(String),
    tenant LowCardinality(String)
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (metric, series, ts)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Exponential and native histograms. Bucket i of positive holds values from above 2^(i/2^scale) up to 2^((i+1)/2^scale), as in
-- OpenTelemetry (Prometheus numbers the same bucket i + 1); negative the same below zero; zero_count those within
-- zero_threshold of zero. Counts are Float64, because histograms that were computed may have fractions; whole numbers
-- up to 2^53 are exact. sum, min and max are NaN when they are unknown.
CREATE TABLE IF NOT EXISTS metric_histograms
(
    metric LowCardinality(String),
    series UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    started DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    count Float64 CODEC(ZSTD(1)),
    sum Float64 CODEC(ZSTD(1)),
    min Float64 CODEC(ZSTD(1)),
    max Float64 CODEC(ZSTD(1)),
    scale Int32 CODEC(ZSTD(1)),
    zero_threshold Float64 CODEC(ZSTD(1)),
    zero_count Float64 CODEC(ZSTD(1)),
    positive Map(Int32, Float64) CODEC(ZSTD(1)),
    negative Map(Int32, Float64) CODEC(ZSTD(1)),
    product LowCardinality(String),
    tenant LowCardinality(String)
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (metric, series, ts)
TTL toDateTime(ts) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- How the databases, caches, queues and pools do that services share: points of the metrics that docs/metrics.md maps, in
-- one vocabulary of measures. form: 0 a gauge, 1 a running sum that may start again (started tells when it did, 1970
-- when nobody said), 2 what was added since the point before. Never NaN or infinite. An instance's measure may come in
-- several series (a connection state each, a partition each): their sum is the measure.
CREATE TABLE IF NOT EXISTS resource_points
(
    ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    product LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    kind LowCardinality(String),
    system LowCardinality(String),
    instance LowCardinality(String),
    measure LowCardinality(String),
    series UInt64,
    form UInt8,
    started DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    value Float64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (product, kind, instance, measure, series, ts)
TTL toDateTime(ts) + INTERVAL 8 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- The same by the minute. A running sum has a row for each start, so that what it counted is known across restarts.
CREATE TABLE IF NOT EXISTS resource_1m
(
    product LowCardinality(String),
    kind LowCardinality(String),
    instance LowCardinality(String),
    measure LowCardinality(String),
    tenant LowCardinality(String),
    service LowCardinality(String),
    system LowCardinality(String),
    series UInt64,
    form UInt8,
    started DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    min SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    max SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    sum SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    count SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    first AggregateFunction(argMin, Float64, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last AggregateFunction(argMax, Float64, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toDate(minute)
ORDER BY (product, toStartOfHour(minute), kind, instance, measure, tenant, service, system, series, form, started, minute)
TTL minute + INTERVAL 35 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS resource_points_to_resource_1m TO resource_1m AS
SELECT
    product,
    kind,
    instance,
    measure,
    tenant,
    service,
    system,
    series,
    form,
    started,
    toStartOfMinute(toDateTime(ts, 'UTC')) AS minute,
    min(value) AS min,
    max(value) AS max,
    sum(value) AS sum,
    count() AS count,
    argMinState(value, ts) AS first,
    argMaxState(value, ts) AS last
FROM resource_points
GROUP BY product, kind, instance, measure, tenant, service, system, series, form, started, minute;

-- +goose Down
DROP VIEW IF EXISTS resource_points_to_resource_1m;
DROP TABLE IF EXISTS resource_1m;
DROP TABLE IF EXISTS resource_points;
DROP TABLE IF EXISTS metric_histograms;
DROP TABLE IF EXISTS metric_points;
DROP TABLE IF EXISTS metric_series;
