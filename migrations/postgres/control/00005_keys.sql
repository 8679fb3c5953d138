-- +goose Up
-- A key may be bound to a tenant, to a product, or to both: it then does nothing outside of them. A key that replaces
-- another was made by its rotation.
ALTER TABLE control.api_keys
    ADD COLUMN tenant     text CHECK (octet_length(tenant) BETWEEN 1 AND 128),
    ADD COLUMN product    text CHECK (octet_length(product) BETWEEN 1 AND 200),
    ADD COLUMN created_by text NOT NULL DEFAULT '',
    ADD COLUMN replaces   bigint UNIQUE REFERENCES control.api_keys (id) ON DELETE SET NULL,
    ADD COLUMN generation bigint NOT NULL DEFAULT 0;
CREATE INDEX api_keys_generation ON control.api_keys (generation);

-- How often keys have changed. Every instance knows all keys, asks for this one row several times a second, and reads
-- the keys with a later generation than the one it knows. Who changes a key holds the row until it commits, so that
-- generations become visible in their order and none is missed. deleted is the generation of the latest deletion, which
-- leaves no row behind to be read.
CREATE TABLE control.api_key_changes (
    one_row    boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    generation bigint NOT NULL,
    deleted    bigint NOT NULL
);
INSERT INTO control.api_key_changes (generation, deleted) VALUES (1, 0);

-- +goose StatementBegin
CREATE FUNCTION control.api_key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    UPDATE control.api_key_changes
    SET generation = generation + 1, deleted = CASE TG_OP WHEN 'DELETE' THEN generation + 1 ELSE deleted END
    RETURNING generation INTO changed;
    PERFORM pg_notify('headroom_keys', '');
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.generation := changed;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- Not on every column: the time of the last use changes all the time and concerns nobody else.
CREATE TRIGGER api_key_changed
    BEFORE INSERT OR DELETE OR UPDATE OF prefix, hash, name, scopes, tenant, product, expires_at, revoked_at ON control.api_keys
    FOR EACH ROW EXECUTE FUNCTION control.api_key_changed();

-- +goose Down
DROP TRIGGER api_key_changed ON control.api_keys;
DROP FUNCTION control.api_key_changed();
DROP TABLE control.api_key_changes;
DROP INDEX control.api_keys_generation;
ALTER TABLE control.api_keys
    DROP COLUMN tenant, DROP COLUMN product, DROP COLUMN created_by, DROP COLUMN replaces, DROP COLUMN generation;
