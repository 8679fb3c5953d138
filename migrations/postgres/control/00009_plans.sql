-- +goose Up
-- What each plan allows. Package tenant has the names of the settings (tenant.Settings) and what holds for one that has no
-- row here: of quotas the operator's --quota, else headroom's default. So rows of quotas are made by the API only.
CREATE TABLE control.plans (
    name     text PRIMARY KEY CHECK (name <> ''),
    position integer NOT NULL UNIQUE -- from the smallest to the largest
);
INSERT INTO control.plans (name, position) VALUES ('starter', 1), ('professional', 2), ('enterprise', 3);

CREATE TABLE control.plan_settings (
    plan       text NOT NULL REFERENCES control.plans (name),
    key        text NOT NULL CHECK (key ~ '^[a-z][a-z0-9-]{0,62}$'),
    value      bigint NOT NULL CHECK (value >= -1),
    changed_by text NOT NULL DEFAULT 'headroom',
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (plan, key)
);
INSERT INTO control.plan_settings (plan, key, value) VALUES
    ('starter', 'retention-days', 30), ('professional', 'retention-days', 30), ('enterprise', 'retention-days', 30),
    ('starter', 'private-status-page', 0), ('professional', 'private-status-page', 1), ('enterprise', 'private-status-page', 1),
    ('starter', 'custom-slos', 0), ('professional', 'custom-slos', 10), ('enterprise', 'custom-slos', 100),
    ('starter', 'members', 10), ('professional', 'members', 100), ('enterprise', 'members', -1),
    ('starter', 'audit-retention-days', 90), ('professional', 'audit-retention-days', 365), ('enterprise', 'audit-retention-days', 2555);

-- What one tenant has in place of what its plan has, for a time or for good.
CREATE TABLE control.plan_overrides (
    tenant     text NOT NULL REFERENCES control.tenants (id) ON DELETE CASCADE,
    key        text NOT NULL CHECK (key ~ '^[a-z][a-z0-9-]{0,62}$'),
    value      bigint NOT NULL CHECK (value >= -1),
    reason     text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 1000),
    set_by     text NOT NULL CHECK (set_by <> ''),
    set_at     timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz,
    PRIMARY KEY (tenant, key)
);

-- An index of what tenants have in the table targets of their own schemas, written in the same transactions: the engine
-- reads it for all tenants, and could not look into ten thousand schemas.
CREATE TABLE control.target_overrides (
    tenant        text NOT NULL REFERENCES control.tenants (id) ON DELETE CASCADE,
    slo           text NOT NULL CHECK (slo <> ''),
    objective_ppm integer NOT NULL CHECK (objective_ppm BETWEEN 1 AND 999999),
    PRIMARY KEY (tenant, slo)
);

ALTER TABLE control.plan_overrides ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.plan_overrides USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
ALTER TABLE control.target_overrides ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.target_overrides USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

-- How often any of these has changed. Instances ask for this one row, and read the rest when the number is another. Who
-- changes something holds the row until it commits, so generations become visible in their order.
CREATE TABLE control.plan_changes (
    one_row    boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    generation bigint NOT NULL
);
INSERT INTO control.plan_changes (generation) VALUES (1);

-- +goose StatementBegin
CREATE FUNCTION control.plan_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE control.plan_changes SET generation = generation + 1;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER plan_changed AFTER INSERT OR UPDATE OR DELETE ON control.plan_settings
    FOR EACH STATEMENT EXECUTE FUNCTION control.plan_changed();
CREATE TRIGGER plan_changed AFTER INSERT OR UPDATE OR DELETE ON control.plan_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION control.plan_changed();
CREATE TRIGGER plan_changed AFTER INSERT OR UPDATE OR DELETE ON control.target_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION control.plan_changed();

-- +goose Down
DROP TABLE control.target_overrides, control.plan_overrides, control.plan_settings, control.plans, control.plan_changes;
DROP FUNCTION control.plan_changed();
