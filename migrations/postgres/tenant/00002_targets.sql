-- Objectives that the tenant has in place of those of its plan and of the SLO's definition. control.target_overrides has
-- the numbers too.
CREATE TABLE targets (
    slo           text PRIMARY KEY CHECK (octet_length(slo) BETWEEN 1 AND 63),
    objective_ppm integer NOT NULL CHECK (objective_ppm BETWEEN 1 AND 999999),
    reason        text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 1000),
    set_by        text NOT NULL,
    set_at        timestamptz NOT NULL DEFAULT now()
);
