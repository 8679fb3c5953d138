-- +goose Up
-- Of bytes, those of spans that are stored. Rows from before know how many of their spans are not, so theirs are exact where none
-- was sampled away, and else as if all spans were of one size.
ALTER TABLE ingest_1m ADD COLUMN IF NOT EXISTS stored_bytes SimpleAggregateFunction(sum, UInt64)
    DEFAULT intDivOrZero(bytes * (spans - sampled_spans), spans) CODEC(T64, ZSTD(1));

-- +goose Down
ALTER TABLE ingest_1m DROP COLUMN IF EXISTS stored_bytes;
