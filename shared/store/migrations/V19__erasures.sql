-- Erasures: orders to erase a value from a tenant's history. A process with the master key works on them step by step.
CREATE TABLE erasures (
    id                  uuid PRIMARY KEY,
    tenant              uuid NOT NULL REFERENCES tenants,
    status              smallint NOT NULL,  -- 0 waiting, 1 running, 2 finished, 3 cancelled, 4 failed
    dry_run             boolean NOT NULL,
    field               text,               -- null: every field
    anywhere            boolean NOT NULL,   -- whether a part of a text is enough
    since               timestamptz,        -- acceptance of the events: from ...
    until               timestamptz NOT NULL, -- ... until before
    value               bytea,              -- sealed; null: the erasure has ended
    value_hash          text NOT NULL,      -- keyed hash of the value
    stage               smallint NOT NULL DEFAULT 0, -- 0 events, 1 test calls, 2 attempts, 3 dead letters
    stage_at            timestamptz NOT NULL, -- when the stage began
    position            text,               -- where the next step of the stage begins; null: at the start
    steps               bigint NOT NULL DEFAULT 0, -- a step is committed only if no other process committed one before it
    reached_at          timestamptz,        -- acceptance of the last event examined
    events_examined     bigint NOT NULL DEFAULT 0,
    deliveries_examined bigint NOT NULL DEFAULT 0,
    letters_examined    bigint NOT NULL DEFAULT 0,
    events              bigint NOT NULL DEFAULT 0, -- what holds the value, or has been erased
    deliveries          bigint NOT NULL DEFAULT 0,
    test_calls          bigint NOT NULL DEFAULT 0,
    attempts            bigint NOT NULL DEFAULT 0,
    letters             bigint NOT NULL DEFAULT 0,
    letters_shared      bigint NOT NULL DEFAULT 0,
    examples            text[] NOT NULL DEFAULT '{}', -- ids of the first events found
    failure             text,
    claimed_until       timestamptz NOT NULL, -- no other process begins a step before
    stepped_at          timestamptz NOT NULL, -- the last step: tenants take turns
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    finished_at         timestamptz
) WITH (fillfactor = 70);
CREATE INDEX erasures_newest ON erasures (tenant, created_at, id);
CREATE INDEX erasures_open ON erasures (tenant, created_at) WHERE status IN (0, 1);
