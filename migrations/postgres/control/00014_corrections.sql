-- +goose Up
-- Stretches of time that do not count against error budgets: a maintenance, an exclusion that was agreed on, a fault of others.
-- The counts stay as they are; readers leave these minutes out. Rows are only ever added and revoked.
CREATE TABLE control.corrections (
    id         text PRIMARY KEY,
    reason     text NOT NULL CHECK (reason <> ''),
    slos       text[] NOT NULL DEFAULT '{}', -- empty for all
    tenants    text[] NOT NULL DEFAULT '{}', -- empty for all
    starts_at  timestamptz NOT NULL,         -- of the first occurrence, whole minutes
    ends_at    timestamptz NOT NULL,
    repeats    text NOT NULL DEFAULT '',     -- RRULE of RFC 5545; empty for once
    time_zone  text NOT NULL DEFAULT 'UTC',  -- whose clock it repeats by
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_by text,
    revoked_at timestamptz,
    revoked_why text,
    CHECK (starts_at < ends_at),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_why IS NULL))
);
CREATE INDEX corrections_in_force ON control.corrections (ends_at) WHERE revoked_at IS NULL;

-- +goose Down
DROP TABLE control.corrections;
