-- +goose Up
-- Tenants that were deleted. The row outlives them: without it their telemetry would make them anew. id is the tenant's, and no
-- column tenant, because the row is not the tenant's but the operator's.
CREATE TABLE control.deleted_tenants (
    id           text PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
    deletion     bigint NOT NULL,           -- the generation of control.tenant_departures with which it was deleted
    changed      bigint NOT NULL DEFAULT 0, -- the generation of the last change of deletion or ended_at
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text NOT NULL,
    state        text NOT NULL DEFAULT 'refusing' CHECK (state IN ('refusing', 'erasing', 'done')),
    detail       text NOT NULL DEFAULT '',  -- what it waits for, in words
    erased       jsonb NOT NULL DEFAULT '[]',
    done_at      timestamptz,
    swept_at     timestamptz,               -- when somebody last looked whether anything had come back
    awaited      text[] NOT NULL DEFAULT '{}', -- collectors that were not heard of when it was done
    ended_at     timestamptz,               -- when the id was created again
    CHECK ((state = 'done') = (done_at IS NOT NULL))
);
CREATE INDEX deleted_tenants_changed ON control.deleted_tenants (changed);
CREATE INDEX deleted_tenants_open ON control.deleted_tenants (id) WHERE state <> 'done';

-- How often that has changed; see control.api_key_changes.
CREATE TABLE control.tenant_departures (
    one_row    boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    generation bigint NOT NULL
);
INSERT INTO control.tenant_departures (generation) VALUES (1);

-- +goose StatementBegin
CREATE FUNCTION control.tenant_departed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE control.tenant_departures SET generation = generation + 1 RETURNING generation INTO NEW.changed;
    IF NEW.ended_at IS NULL THEN
        NEW.deletion := NEW.changed;
    END IF;
    PERFORM pg_notify('headroom_deleted_tenants', '');
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER tenant_departed BEFORE INSERT OR UPDATE OF deletion, ended_at ON control.deleted_tenants
    FOR EACH ROW EXECUTE FUNCTION control.tenant_departed();

-- A deleted tenant comes back only by being created again, whoever tries to give it a name or a plan.
-- +goose StatementBegin
CREATE FUNCTION control.refuse_deleted_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM control.deleted_tenants d WHERE d.id = NEW.id AND d.ended_at IS NULL) THEN
        RAISE EXCEPTION 'tenant % was deleted', NEW.id USING ERRCODE = 'HR001';
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER refuse_deleted_tenant BEFORE INSERT ON control.tenants FOR EACH ROW EXECUTE FUNCTION control.refuse_deleted_tenant();

-- The collectors, by their spools: a deletion ends when all that live refuse the tenant and have inserted, or dropped, what they
-- took of it before.
CREATE TABLE control.collectors (
    id          text PRIMARY KEY,
    seen_at     timestamptz NOT NULL,
    refuses     bigint NOT NULL,  -- the generation of control.tenant_departures that it knows
    drained     bigint NOT NULL,  -- the one from before which nothing is left in its spool
    quarantined integer NOT NULL  -- files of its quarantine, which nobody looks into
);

-- +goose Down
DROP TRIGGER refuse_deleted_tenant ON control.tenants;
DROP FUNCTION control.refuse_deleted_tenant();
DROP TABLE control.collectors, control.tenant_departures, control.deleted_tenants;
DROP FUNCTION control.tenant_departed();
