-- +goose Up
-- API calls by day (UTC), tenant and process: a process stores what it has counted in all, so that the same again changes nothing.
CREATE TABLE control.api_calls (
    day      date NOT NULL,
    tenant   text NOT NULL CHECK (octet_length(tenant) BETWEEN 1 AND 128),
    instance uuid NOT NULL, -- of a process, anew with each start
    calls    bigint NOT NULL,
    PRIMARY KEY (day, tenant, instance)
);
ALTER TABLE control.api_calls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.api_calls USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
ALTER TABLE control.usage_days ADD COLUMN api_calls bigint NOT NULL DEFAULT 0;

-- Where events are sent. They are the operator's: no tenant has one.
CREATE TABLE control.webhook_endpoints (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url              text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 2000),
    description      text NOT NULL DEFAULT '' CHECK (octet_length(description) <= 200),
    events           text[] NOT NULL CHECK (cardinality(events) > 0),
    enabled          boolean NOT NULL DEFAULT true,
    disabled_reason  text NOT NULL DEFAULT '',   -- why headroom disabled it; empty where a person did
    secret           text NOT NULL,              -- it signs, so it is kept as it is
    old_secret       text,                       -- signs too, until
    old_secret_until timestamptz,
    failures         integer NOT NULL DEFAULT 0, -- in a row, of the receiver itself rather than of one event
    failing_since    timestamptz,                -- null: the last attempt succeeded
    not_before       timestamptz,                -- nothing is sent earlier
    created_at       timestamptz NOT NULL DEFAULT now(),
    created_by       text NOT NULL,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);

-- What happened, written in the transaction in which it did. A natural key happens once.
CREATE TABLE control.webhook_events (
    id          text PRIMARY KEY,                -- the idempotency key, in the header webhook-id
    type        text NOT NULL,
    tenant      text CHECK (octet_length(tenant) BETWEEN 1 AND 128), -- null: no tenant's, such as a test
    natural_key text NOT NULL UNIQUE,
    payload     text NOT NULL,                   -- the body, byte for byte
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_events_tenant ON control.webhook_events (tenant);
CREATE INDEX webhook_events_created_at ON control.webhook_events (created_at);
ALTER TABLE control.webhook_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.webhook_events USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

-- What is sent to whom: the outbox (a job for every row that is pending) and its log at once.
CREATE TABLE control.webhook_deliveries (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     text NOT NULL REFERENCES control.webhook_events (id) ON DELETE CASCADE,
    endpoint_id  bigint NOT NULL REFERENCES control.webhook_endpoints (id) ON DELETE CASCADE,
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,     -- in a row
    last_status  integer,                        -- of HTTP; null: no answer
    last_error   text NOT NULL DEFAULT '',
    queued_at    timestamptz NOT NULL DEFAULT now(), -- or when it failed first, which is from when on it may be given up
    due_at       timestamptz NOT NULL DEFAULT now(), -- of the next attempt, while pending
    attempted_at timestamptz,
    delivered_at timestamptz,
    UNIQUE (event_id, endpoint_id)
);
CREATE INDEX webhook_deliveries_endpoint ON control.webhook_deliveries (endpoint_id, id DESC);
CREATE INDEX webhook_deliveries_due ON control.webhook_deliveries (due_at) WHERE status = 'pending';

-- +goose Down
DROP TABLE control.webhook_deliveries, control.webhook_events, control.webhook_endpoints, control.api_calls;
ALTER TABLE control.usage_days DROP COLUMN api_calls;
