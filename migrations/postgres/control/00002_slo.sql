-- +goose Up
-- The SLOs as they stand. A deleted one keeps its row, so that its revisions go on counting if the name comes back.
CREATE TABLE control.slos (
    name         text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    revision     integer NOT NULL CHECK (revision > 0),
    sli_revision integer NOT NULL CHECK (sli_revision BETWEEN 1 AND revision), -- the revision that last changed which requests count or are good
    deleted_at   timestamptz
);

-- What every SLO was, when, and by whom. Rows are only ever added. A deletion is a revision without a definition.
CREATE TABLE control.slo_revisions (
    slo          text NOT NULL REFERENCES control.slos (name),
    revision     integer NOT NULL,
    sli_revision integer NOT NULL,
    definition   jsonb,
    actor        text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (slo, revision)
);

-- One row whose number rises with every change. ClickHouse's slo_objectives carries it, which tells whether it is behind;
-- its row lock lets one change in at a time.
CREATE TABLE control.slo_generation (
    single     boolean PRIMARY KEY DEFAULT true CHECK (single),
    generation bigint NOT NULL DEFAULT 0
);
INSERT INTO control.slo_generation DEFAULT VALUES;

-- +goose Down
DROP TABLE control.slo_generation, control.slo_revisions, control.slos;
