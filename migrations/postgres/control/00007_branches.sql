-- +goose Up
-- Parts of the operator that people can be confined to. Who is sees what is in all three lists, of which an empty one holds
-- everything; so one at least is not empty. They name tenants and are no tenant's, so no transaction that is for one tenant
-- sees them.
CREATE TABLE control.branches (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 200),
    products   text[] NOT NULL DEFAULT '{}',
    services   text[] NOT NULL DEFAULT '{}',
    tenants    text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (cardinality(products) + cardinality(services) + cardinality(tenants) > 0)
);
ALTER TABLE control.branches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.branches USING ((SELECT current_setting('headroom.crossing', true)) = 'on');

-- +goose Down
DROP TABLE control.branches;
