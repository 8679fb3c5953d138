-- +goose Up
-- What each tenant used on a day (UTC), from the day's close on. The empty tenant is what named none. A revision is counted
-- up when what came late changed the numbers.
CREATE TABLE control.usage_days (
    day            date NOT NULL,
    tenant         text NOT NULL CHECK (octet_length(tenant) <= 128),
    requests       bigint NOT NULL,
    spans          bigint NOT NULL,
    sampled_spans  bigint NOT NULL,
    refused_spans  bigint NOT NULL,
    points         bigint NOT NULL,
    refused_points bigint NOT NULL,
    bytes          bigint NOT NULL,
    stored_bytes   bigint NOT NULL,
    users          bigint NOT NULL,
    revision       integer NOT NULL DEFAULT 1,
    closed_at      timestamptz NOT NULL DEFAULT now(),
    revised_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, tenant)
);
CREATE INDEX usage_days_tenant ON control.usage_days (tenant, day);
ALTER TABLE control.usage_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.usage_days USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

-- +goose Down
DROP TABLE control.usage_days;
