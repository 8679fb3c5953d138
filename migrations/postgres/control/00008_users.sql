-- +goose Up
-- People. An address is known by its lower case. A password is a PHC string; who signs in at a provider only has none.
CREATE TABLE control.users (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email           text NOT NULL UNIQUE CHECK (email = lower(email) AND octet_length(email) BETWEEN 3 AND 254),
    name            text NOT NULL DEFAULT '' CHECK (octet_length(name) <= 200),
    password        text CHECK (password LIKE '$argon2id$%'),
    issuer          text,                          -- of the OpenID provider, and who the person is there
    subject         text,
    known_from      text[] NOT NULL DEFAULT '{}',  -- networks that the person signed in from lately
    disabled_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL,
    last_sign_in_at timestamptz,
    UNIQUE (issuer, subject),
    CHECK ((issuer IS NULL) = (subject IS NULL))
);

-- What a person is in the operator's organization: one role, in one branch of it or in all. Roles that came from the
-- groups of an OpenID provider go with them.
CREATE TABLE control.grants (
    user_id    bigint PRIMARY KEY REFERENCES control.users (id) ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('owner', 'admin', 'manager', 'member', 'viewer')),
    branch     bigint REFERENCES control.branches (id),
    source     text NOT NULL CHECK (source IN ('person', 'groups')),
    granted_by text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX grants_branch ON control.grants (branch);

-- Which addresses are members of which tenants: what the tables members in the tenants' schemas say, found by address.
-- Both are written in one transaction.
CREATE TABLE control.memberships (
    email  text NOT NULL CHECK (email = lower(email)),
    tenant text NOT NULL REFERENCES control.tenants (id) ON DELETE CASCADE,
    role   text NOT NULL CHECK (role IN ('owner', 'admin', 'manager', 'member', 'viewer')),
    PRIMARY KEY (email, tenant)
);
CREATE INDEX memberships_tenant ON control.memberships (tenant);
ALTER TABLE control.memberships ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.memberships USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

SET LOCAL headroom.crossing = 'on';
-- +goose StatementBegin
DO $$
DECLARE
    s record;
BEGIN
    FOR s IN SELECT tenant, name FROM control.tenant_schemas LOOP
        IF to_regclass(format('%I.members', s.name)) IS NOT NULL THEN
            EXECUTE format('INSERT INTO control.memberships (email, tenant, role) SELECT email, $1, role FROM %I.members', s.name) USING s.tenant;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

-- Sessions of the console, now of keys and of people. Those from before end: everybody signs in once. The cookie holds the
-- token, the table its hash; after a rotation the token before it goes on for a moment, for requests that are on their way.
DROP TABLE control.sessions;
CREATE TABLE control.sessions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash           bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    previous_hash  bytea UNIQUE CHECK (octet_length(previous_hash) = 32),
    rotated_at     timestamptz NOT NULL DEFAULT now(),
    confirmed      boolean NOT NULL DEFAULT false, -- a request came with the present token
    key_id         bigint REFERENCES control.api_keys (id) ON DELETE CASCADE,
    user_id        bigint REFERENCES control.users (id) ON DELETE CASCADE,
    tenant         text REFERENCES control.tenants (id) ON DELETE CASCADE, -- the organization that a person acts in; null: the operator's
    method         text NOT NULL CHECK (method IN ('key', 'password', 'provider')),
    privilege      text NOT NULL,                  -- what it could do when its token was made: another one makes another token
    csrf_token     text NOT NULL,
    address        inet,
    user_agent     text NOT NULL DEFAULT '' CHECK (octet_length(user_agent) <= 512),
    created_at     timestamptz NOT NULL DEFAULT now(),
    seen_at        timestamptz NOT NULL DEFAULT now(), -- to a minute
    expires_at     timestamptz NOT NULL,
    CHECK (num_nonnulls(key_id, user_id) = 1),
    CHECK (tenant IS NULL OR user_id IS NOT NULL)
);
CREATE INDEX sessions_expires_at ON control.sessions (expires_at);
CREATE INDEX sessions_user ON control.sessions (user_id);
CREATE INDEX sessions_key ON control.sessions (key_id);
CREATE INDEX sessions_tenant ON control.sessions (tenant);
ALTER TABLE control.sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.sessions USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

-- Sign-ins that wait for the provider's answer. The browser holds what browser_hash is the hash of, the provider sends back
-- what hash is the hash of. A row is taken once.
CREATE TABLE control.sign_ins (
    hash         bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    browser_hash bytea NOT NULL CHECK (octet_length(browser_hash) = 32),
    nonce        text NOT NULL,
    verifier     text NOT NULL,                    -- of PKCE
    next         text NOT NULL DEFAULT '',
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sign_ins_expires_at ON control.sign_ins (expires_at);

-- How often somebody may try to sign in: see tenant/attempts.go. Another instance sees what one has counted.
CREATE UNLOGGED TABLE control.sign_in_attempts (
    bucket  bytea PRIMARY KEY,                     -- a hash: nobody reads here who tried
    full_at timestamptz NOT NULL                   -- when all of its tries are there again
);
CREATE INDEX sign_in_attempts_full_at ON control.sign_in_attempts (full_at);

-- +goose Down
DROP TABLE control.sign_in_attempts, control.sign_ins, control.sessions, control.memberships, control.grants, control.users;
CREATE TABLE control.sessions (
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    key_id     bigint NOT NULL REFERENCES control.api_keys (id) ON DELETE CASCADE,
    csrf_token text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_expires_at ON control.sessions (expires_at);
