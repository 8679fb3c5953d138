-- +goose Up
-- Tenants that telemetry has named or that somebody gave a plan. The id is the one that telemetry carries.
CREATE TABLE control.tenants (
    id         text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
    name       text NOT NULL DEFAULT '',
    plan       text NOT NULL DEFAULT 'starter' CHECK (plan IN ('starter', 'professional', 'enterprise')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Keys of machines. Only a hash is stored; the prefix finds the row.
CREATE TABLE control.api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix       text NOT NULL UNIQUE,
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32),
    name         text NOT NULL,
    scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- Sessions of the console. The cookie holds the token, the table its hash.
CREATE TABLE control.sessions (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    key_id     bigint NOT NULL REFERENCES control.api_keys (id) ON DELETE CASCADE,
    csrf_token text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_expires_at ON control.sessions (expires_at);

-- Who did what. Partitioned by month later; the columns stay.
CREATE TABLE control.audit_log (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_at ON control.audit_log (at DESC);

-- +goose Down
DROP TABLE control.audit_log, control.sessions, control.api_keys, control.tenants;
