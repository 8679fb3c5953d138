-- +goose Up
-- The role that headroom serves as: it owns nothing and nothing is lifted for it. Roles belong to the whole server, so
-- another database's migration may have made it, or be making it now.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headroom_app') THEN
        IF NOT (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            RAISE EXCEPTION 'role headroom_app is missing and "%" may not make it', current_user
                USING HINT = format('As a superuser, run: CREATE ROLE headroom_app NOLOGIN; GRANT headroom_app TO %I', current_user);
        END IF;
        CREATE ROLE headroom_app NOLOGIN;
        GRANT headroom_app TO CURRENT_USER;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'headroom_app', 'SET') THEN
        GRANT headroom_app TO CURRENT_USER;
    END IF;
EXCEPTION WHEN unique_violation THEN
    NULL;
END $$;
-- +goose StatementEnd

GRANT USAGE ON SCHEMA control, river TO headroom_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA control, river TO headroom_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA control, river TO headroom_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA control, river GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO headroom_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA control, river GRANT USAGE ON SEQUENCES TO headroom_app;
-- What has happened stays as it was, and which migrations ran is not for those who serve to say.
REVOKE UPDATE, DELETE ON control.audit_log FROM headroom_app;
REVOKE INSERT, UPDATE, DELETE ON control.goose_db_version FROM headroom_app;

-- Which tenants have a schema of their own, and how far it is migrated: see migrations/postgres/tenant.
CREATE TABLE control.tenant_schemas (
    tenant      text PRIMARY KEY REFERENCES control.tenants (id),
    name        text NOT NULL UNIQUE CHECK (name ~ '^t_[a-z0-9_]{1,61}$'),
    version     bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    migrated_at timestamptz
);
REVOKE INSERT, UPDATE, DELETE ON control.tenant_schemas FROM headroom_app;

-- The second wall. A transaction sees the rows of the tenant that it names, or says that it crosses tenants; else none.
-- A setting that was local to an earlier transaction reads as '' afterwards, hence nullif. The subqueries are evaluated
-- once a statement, not once a row. A migration that changes rows of these tables must SET LOCAL headroom.crossing = 'on'.
ALTER TABLE control.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.tenants USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR id = (SELECT nullif(current_setting('headroom.tenant', true), '')));
ALTER TABLE control.alert_tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.alert_tenants USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
-- A tenant sees the keys that are bound to it; one that is bound to none is the operator's.
ALTER TABLE control.api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.api_keys USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
ALTER TABLE control.tenant_schemas ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.tenant_schemas USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));

-- Puts the wall before every table of a tenant's schema that has none, and lets headroom_app use them. It runs after the
-- schema's migrations, so that none of these can forget it.
-- +goose StatementBegin
CREATE FUNCTION control.wall_in(schema_name text, tenant text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name regclass;
BEGIN
    IF tenant = '' THEN
        RAISE EXCEPTION 'schema "%" must belong to a tenant', schema_name;
    END IF;
    FOR name IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = schema_name AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %s USING ((SELECT current_setting(''headroom.crossing'', true)) = ''on''
            OR (SELECT current_setting(''headroom.tenant'', true)) = %L)', name, tenant);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO headroom_app', schema_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO headroom_app', schema_name);
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION control.wall_in;
DROP TABLE control.tenant_schemas;
DROP POLICY tenant ON control.api_keys;
ALTER TABLE control.api_keys DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DROP POLICY tenant ON control.alert_tenants;
ALTER TABLE control.alert_tenants DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DROP POLICY tenant ON control.tenants;
ALTER TABLE control.tenants DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER DEFAULT PRIVILEGES IN SCHEMA control, river REVOKE ALL ON TABLES FROM headroom_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA control, river REVOKE ALL ON SEQUENCES FROM headroom_app;
REVOKE ALL ON ALL TABLES IN SCHEMA control, river FROM headroom_app;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA control, river FROM headroom_app;
REVOKE ALL ON SCHEMA control, river FROM headroom_app;
