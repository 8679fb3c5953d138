-- +goose Up
-- What burns and burned. A rule and a severity have at most one alert that is not resolved.
CREATE TABLE control.alerts (
    id             text PRIMARY KEY,                      -- short enough to say on the phone: a-7f3kq2
    rule           text NOT NULL CHECK (rule <> ''),      -- what is watched, such as an SLO's name
    severity       text NOT NULL CHECK (severity IN ('page', 'ticket')),
    title          text NOT NULL,
    product        text NOT NULL,
    bad_is         text NOT NULL,                         -- what a bad request did: "failed"
    state          text NOT NULL CHECK (state IN ('pending', 'firing', 'acknowledged', 'resolved')),
    started_at     timestamptz NOT NULL,                  -- when it began, as far as the data tells
    opened_at      timestamptz NOT NULL,                  -- when it was seen
    observed_at    timestamptz NOT NULL,                  -- as of when its numbers are
    resolved_at    timestamptz,
    reopened_at    timestamptz,                           -- the last time that it burned again soon after it resolved
    acked_by       text NOT NULL DEFAULT '',
    acked_at       timestamptz,
    version        bigint NOT NULL,                       -- counts what people are told of
    urgent_version bigint NOT NULL,                       -- the last of these that must not wait
    notified_at    timestamptz NOT NULL,                  -- of the observation that made the version
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX alerts_one_open ON control.alerts (rule, severity) WHERE state <> 'resolved';
CREATE INDEX alerts_resolved ON control.alerts (rule, severity, resolved_at DESC) WHERE state = 'resolved';
CREATE INDEX alerts_opened_at ON control.alerts (opened_at DESC, id DESC);

-- Whom an alert hurts. Rows stay when a tenant has recovered.
CREATE TABLE control.alert_tenants (
    alert_id      text NOT NULL REFERENCES control.alerts (id) ON DELETE CASCADE,
    tenant        text NOT NULL,                          -- empty for requests that named none
    state         text NOT NULL CHECK (state IN ('firing', 'acknowledged', 'resolved')),
    started_at    timestamptz NOT NULL,
    resolved_at   timestamptz,
    burn          jsonb NOT NULL,                         -- the latest numbers
    peak_rate     double precision NOT NULL,
    budget_before double precision NOT NULL,              -- what was left when it was first seen; 1 is full
    PRIMARY KEY (alert_id, tenant),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE INDEX alert_tenants_tenant ON control.alert_tenants (tenant, alert_id);

-- What was or is to be sent: one message an alert and channel, changed in place, and replies in its thread. It is
-- the outbox (a job for every row that is due) and the log of every notification at once.
CREATE TABLE control.notifications (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, -- goes with the message, to know it again
    alert_id     text NOT NULL REFERENCES control.alerts (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('message', 'reply')),
    event        text NOT NULL,                           -- what made it: opened, acknowledged, resolved, reopened
    notifier     text NOT NULL,
    channel      text NOT NULL,                           -- as configured
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    text         text NOT NULL DEFAULT '',
    blocks       jsonb NOT NULL DEFAULT '[]',
    channel_id   text NOT NULL DEFAULT '',                -- where it is, as the notifier names it
    ts           text NOT NULL DEFAULT '',                -- empty: not there yet as far as we know
    unsure       boolean NOT NULL DEFAULT false,          -- an attempt began whose end we do not know
    sent_version bigint NOT NULL DEFAULT 0,               -- of the alert
    attempts     integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,              -- in a row
    last_error   text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz,                             -- since when it waits; null when there is nothing to send
    not_before   timestamptz,                             -- asked for by the other side, or by a failure
    sent_at      timestamptz,                             -- first
    updated_at   timestamptz                              -- last
);
CREATE UNIQUE INDEX notifications_one_message ON control.notifications (alert_id, notifier, channel) WHERE kind = 'message';
CREATE INDEX notifications_alert ON control.notifications (alert_id, id);
CREATE INDEX notifications_unsent ON control.notifications (id) WHERE status <> 'sent';

-- The moment of the last observation, so that an older one that comes late changes nothing.
CREATE TABLE control.alert_observations (
    single_row  boolean PRIMARY KEY DEFAULT true CHECK (single_row),
    observed_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE control.alert_observations, control.notifications, control.alert_tenants, control.alerts;
