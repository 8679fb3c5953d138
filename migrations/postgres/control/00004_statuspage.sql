-- +goose Up
-- What the public status page shows. Its state comes from the SLOs that it follows, unless a person sets it.
CREATE TABLE control.components (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name          text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200),
    description   text NOT NULL DEFAULT '',
    group_name    text NOT NULL DEFAULT '',
    position      integer NOT NULL DEFAULT 0,
    product       text NOT NULL DEFAULT '',
    slos          text[] NOT NULL DEFAULT '{}',
    visible       boolean NOT NULL DEFAULT true,
    manual_status text CHECK (manual_status IN
        ('operational', 'degraded_performance', 'partial_outage', 'major_outage', 'under_maintenance')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT components_name_in_group UNIQUE (group_name, name)
);

-- The id stands in public addresses, so it is random. status, monitoring_at and resolved_at follow the updates.
CREATE TABLE control.incidents (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'),
    name          text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 200),
    impact        text NOT NULL CHECK (impact IN ('none', 'minor', 'major', 'critical')),
    status        text NOT NULL CHECK (status IN ('investigating', 'identified', 'monitoring', 'resolved')),
    origin        text NOT NULL DEFAULT 'manual' CHECK (origin IN ('manual', 'automatic')),
    started_at    timestamptz NOT NULL,
    monitoring_at timestamptz,
    resolved_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE INDEX incidents_started_at ON control.incidents (started_at DESC);
CREATE INDEX incidents_open ON control.incidents (started_at DESC) WHERE resolved_at IS NULL;

-- affected lists the components that the update speaks of: [{"component": "checkout", "status": "partial_outage"}].
CREATE TABLE control.incident_updates (
    id          text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'),
    incident_id text NOT NULL REFERENCES control.incidents (id) ON DELETE CASCADE,
    status      text NOT NULL CHECK (status IN ('investigating', 'identified', 'monitoring', 'resolved')),
    body        text NOT NULL CHECK (body <> ''),
    display_at  timestamptz NOT NULL,
    affected    jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(affected) = 'array'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX incident_updates_incident ON control.incident_updates (incident_id, display_at DESC);

-- An entry whose published_at is to come is shown from then on.
CREATE TABLE control.changelog_entries (
    id           text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    title        text NOT NULL CHECK (octet_length(title) BETWEEN 1 AND 200),
    body         text NOT NULL DEFAULT '',
    type         text NOT NULL CHECK (type IN ('added', 'changed', 'fixed', 'deprecated', 'removed', 'security')),
    product      text NOT NULL DEFAULT '',
    version      text NOT NULL DEFAULT '',
    published_at timestamptz NOT NULL,
    effective_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX changelog_entries_published_at ON control.changelog_entries (published_at DESC);

-- +goose Down
DROP TABLE control.changelog_entries, control.incident_updates, control.incidents, control.components;
