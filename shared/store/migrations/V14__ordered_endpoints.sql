-- Whether a tenant has an ordered endpoint. Ingest then routes its events to the ordered queue of fan-out.
ALTER TABLE tenants ADD COLUMN ordered boolean NOT NULL DEFAULT false;

-- Deliveries of ordered endpoints that have not ended. The rows of one endpoint and key are a line, in the order of their positions.
CREATE TABLE ordered_deliveries (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint   uuid NOT NULL,
    key        text COLLATE "C" NOT NULL,
    delivery   uuid NOT NULL UNIQUE,
    tenant     uuid NOT NULL,
    task       text NOT NULL, -- the head of its message, as JSON
    body       bytea NOT NULL
);
CREATE INDEX ordered_deliveries_line ON ordered_deliveries (endpoint, key, position);

CREATE SEQUENCE ordered_runs;

-- Lines that are not empty.
CREATE TABLE ordered_lines (
    endpoint    uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    tenant      uuid NOT NULL,
    run         bigint NOT NULL DEFAULT 0,    -- the number of its last run
    run_upto    bigint,                       -- the position of the last delivery of its current run; null: no current run
    released_at timestamptz,                  -- when the current run was released
    published   boolean NOT NULL DEFAULT true, -- whether the broker confirmed the current run
    held        uuid,                         -- the failed delivery for which a person must decide; it is the first of the line
    held_at     timestamptz,
    PRIMARY KEY (endpoint, key)
) WITH (fillfactor = 70);
CREATE INDEX ordered_lines_idle ON ordered_lines (endpoint, key) WHERE run_upto IS NULL AND held IS NULL;
CREATE INDEX ordered_lines_unpublished ON ordered_lines (released_at) WHERE NOT published;
CREATE INDEX ordered_lines_held ON ordered_lines (tenant, endpoint, held_at) WHERE held IS NOT NULL;

-- Ordered endpoints whose ordering was edited.
CREATE TABLE ordered_endpoints (
    endpoint   uuid PRIMARY KEY,
    generation bigint NOT NULL, -- of its ordering
    barrier    bigint           -- later positions wait until no delivery up to this position is left; null: no barrier
);

-- The process that sequences. Every change of the tables above locks this row first.
CREATE TABLE ordered_sequencer (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    owner      uuid NOT NULL,
    until      timestamptz NOT NULL
);
INSERT INTO ordered_sequencer (owner, until) VALUES ('00000000-0000-0000-0000-000000000000', now());
