-- +goose Up
-- The audit log, by months: who did what to which resource, from where, before and after. What an entry says is docs/audit.md's.
ALTER TABLE control.audit_log RENAME TO audit_log_before;
ALTER INDEX control.audit_log_pkey RENAME TO audit_log_before_pkey;
ALTER INDEX control.audit_log_at RENAME TO audit_log_before_at;
ALTER SEQUENCE control.audit_log_id_seq RENAME TO audit_log_before_id_seq;

CREATE SEQUENCE control.audit_log_id_seq;
CREATE TABLE control.audit_log (
    id            bigint NOT NULL DEFAULT nextval('control.audit_log_id_seq'),
    at            timestamptz NOT NULL DEFAULT now(),
    actor         text NOT NULL,                       -- the name that people know it by
    actor_kind    text NOT NULL DEFAULT 'key' CHECK (actor_kind IN ('key', 'user', 'system')),
    actor_id      text NOT NULL DEFAULT '',
    actor_tenant  text CHECK (octet_length(actor_tenant) BETWEEN 1 AND 128), -- whose key or user it is; null: the operator's, or nobody's
    tenant        text CHECK (octet_length(tenant) BETWEEN 1 AND 128),       -- whose entry it is; null: the operator's
    address       inet,                                -- of the caller
    user_agent    text NOT NULL DEFAULT '',
    action        text NOT NULL,                       -- such as key.create
    resource_kind text NOT NULL DEFAULT '',
    resource_id   text NOT NULL DEFAULT '',
    before        jsonb,
    after         jsonb,
    words         tsvector NOT NULL DEFAULT '',        -- by which it is found; tenant/audit_words.go makes them
    object        text,                                -- only the version before this one writes these two, while both serve:
    detail        jsonb,                               -- the trigger below moves them to where they belong
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
ALTER SEQUENCE control.audit_log_id_seq OWNED BY control.audit_log.id;
CREATE INDEX audit_log_tenant ON control.audit_log (tenant, at, id);
CREATE INDEX audit_log_actor ON control.audit_log (actor, at, id);
CREATE INDEX audit_log_action ON control.audit_log (action text_pattern_ops, at, id);
CREATE INDEX audit_log_resource ON control.audit_log (resource_kind, resource_id, at, id);
CREATE INDEX audit_log_address ON control.audit_log (address, at, id);
CREATE INDEX audit_log_words ON control.audit_log USING gin (words);

-- Nobody who serves changes what has happened. Partitions are not for it at all: it goes through the table.
REVOKE ALL ON control.audit_log FROM headroom_app;
GRANT SELECT, INSERT ON control.audit_log TO headroom_app;
ALTER TABLE control.audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- A tenant sees its own entries. The operator's are seen by who crosses tenants, and anybody may add to them.
CREATE POLICY tenant ON control.audit_log FOR SELECT USING (
    (SELECT current_setting('headroom.crossing', true)) = 'on' OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
CREATE POLICY tenant_insert ON control.audit_log FOR INSERT WITH CHECK (
    tenant IS NULL OR (SELECT current_setting('headroom.crossing', true)) = 'on'
    OR tenant = (SELECT nullif(current_setting('headroom.tenant', true), '')));
-- The owner deletes what has been kept for long enough, and reads for the view below.
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('CREATE POLICY owner ON control.audit_log TO %I USING (true)', current_user);
END $$;
-- +goose StatementEnd

-- What crosses tenants is read through this view: PostgreSQL uses indexes for LIKE, addresses and words only where no policy
-- stands before them. It is empty for all who do not cross.
CREATE VIEW control.audit_log_across AS
    SELECT id, at, actor, actor_kind, actor_id, actor_tenant, tenant, address, user_agent, action, resource_kind, resource_id, before, after, words
    FROM control.audit_log WHERE current_setting('headroom.crossing', true) = 'on';
REVOKE ALL ON control.audit_log_across FROM headroom_app;
GRANT SELECT ON control.audit_log_across TO headroom_app;

-- Takes what no month's partition takes, so that no change ever fails for want of one. It is empty but where nobody has
-- made partitions for months; who makes one moves its rows there.
CREATE TABLE control.audit_log_default PARTITION OF control.audit_log DEFAULT;
REVOKE ALL ON control.audit_log_default FROM headroom_app;
ALTER TABLE control.audit_log_default ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON control.audit_log_default USING ((SELECT current_setting('headroom.crossing', true)) = 'on');

-- Makes the partition of the month of UTC that a day is in, unless it is there, and moves there what waits in the default one.
-- Readers go on. Who would write waits before it looks for a partition, or it might find the default one just before that
-- stops taking the month. The caller owns the table and crosses tenants.
-- +goose StatementBegin
CREATE FUNCTION control.make_audit_partition(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', day::timestamp);
    begins timestamptz := first AT TIME ZONE 'UTC';
    ends timestamptz := (first + interval '1 month') AT TIME ZONE 'UTC';
    name text := 'audit_log_' || to_char(first, 'YYYY_MM');
BEGIN
    IF current_setting('headroom.crossing', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'partitions of the audit log are made by who crosses tenants: rows that wait for them are theirs';
    END IF;
    IF to_regclass('control.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    LOCK TABLE ONLY control.audit_log IN SHARE ROW EXCLUSIVE MODE;
    IF to_regclass('control.' || name) IS NOT NULL THEN -- made while this waited
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE control.%I (LIKE control.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('REVOKE ALL ON control.%I FROM headroom_app', name);
    EXECUTE format('ALTER TABLE control.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON control.%I USING ((SELECT current_setting(''headroom.crossing'', true)) = ''on'')', name);
    EXECUTE format('WITH waiting AS (DELETE FROM control.audit_log_default WHERE at >= $1 AND at < $2 RETURNING *)
        INSERT INTO control.%I SELECT * FROM waiting', name) USING begins, ends;
    EXECUTE format('ALTER TABLE control.audit_log ATTACH PARTITION control.%I FOR VALUES FROM (%L) TO (%L)', name, begins, ends);
    RETURN true;
END $$;
-- +goose StatementEnd

-- The version before goes on writing while this one starts. Remove this with both columns.
-- +goose StatementBegin
CREATE FUNCTION control.audit_log_as_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.resource_kind := split_part(NEW.action, '.', 1);
    NEW.resource_id := NEW.object;
    NEW.after := nullif(NEW.detail, '{}');
    NEW.object := NULL;
    NEW.detail := NULL;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_as_before BEFORE INSERT ON control.audit_log
    FOR EACH ROW WHEN (NEW.object IS NOT NULL) EXECUTE FUNCTION control.audit_log_as_before();

SET LOCAL headroom.crossing = 'on';
-- +goose StatementBegin
DO $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    month date;
BEGIN
    FOR month IN
        SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC')::date FROM control.audit_log_before
        UNION SELECT (date_trunc('month', today::timestamp) + n * interval '1 month')::date FROM generate_series(0, 3) n
    LOOP
        PERFORM control.make_audit_partition(month);
    END LOOP;
END $$;
-- +goose StatementEnd
INSERT INTO control.audit_log (id, at, actor, actor_kind, tenant, action, resource_kind, resource_id, before, after, words)
SELECT id, at, actor, CASE actor WHEN 'headroom' THEN 'system' ELSE 'key' END,
    CASE split_part(action, '.', 1) WHEN 'tenant' THEN object WHEN 'member' THEN object WHEN 'key' THEN detail ->> 'tenant' END,
    action, split_part(action, '.', 1), object,
    CASE WHEN detail ? 'before' AND detail ? 'after' THEN detail -> 'before' END,
    CASE WHEN detail ? 'before' AND detail ? 'after' THEN detail -> 'after' ELSE nullif(detail, '{}') END,
    array_to_tsvector(array_remove(regexp_split_to_array(lower(left(concat_ws(' ', actor, action, object), 1000)), '[^[:alnum:]]+'), ''))
FROM control.audit_log_before;
SELECT setval('control.audit_log_id_seq', greatest((SELECT max(id) FROM control.audit_log_before), 1));
DROP TABLE control.audit_log_before;
ANALYZE control.audit_log;

-- +goose Down
SET LOCAL headroom.crossing = 'on';
CREATE TABLE control.audit_log_before (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO control.audit_log_before (at, actor, action, object, detail)
SELECT at, actor, action, resource_id, coalesce(after, '{}') FROM control.audit_log ORDER BY at, id;
DROP VIEW control.audit_log_across;
DROP TABLE control.audit_log;
DROP FUNCTION control.make_audit_partition, control.audit_log_as_before;
ALTER TABLE control.audit_log_before RENAME TO audit_log;
ALTER INDEX control.audit_log_before_pkey RENAME TO audit_log_pkey;
CREATE INDEX audit_log_at ON control.audit_log (at DESC);
REVOKE UPDATE, DELETE ON control.audit_log FROM headroom_app;
