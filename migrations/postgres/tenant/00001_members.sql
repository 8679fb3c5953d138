-- The people of a tenant, and what they may do there.
CREATE TABLE members (
    email    text PRIMARY KEY CHECK (octet_length(email) BETWEEN 3 AND 254),
    name     text NOT NULL DEFAULT '' CHECK (octet_length(name) <= 200),
    role     text NOT NULL CHECK (role IN ('owner', 'admin', 'manager', 'member', 'viewer')),
    added_by text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);
