-- Replays: past events, delivered again. One row each, which its replayer locks while it feeds a page.
CREATE TABLE replays (
    id              uuid PRIMARY KEY,
    tenant          uuid NOT NULL REFERENCES tenants,
    selection       json NOT NULL,     -- which events, for whom
    asked           text NOT NULL,     -- the request, to tell a repeat from another one under its idempotency key
    idempotency_key text COLLATE "C",
    status          smallint NOT NULL, -- 0 running, 1 paused, 2 finished, 3 cancelled
    reached_at      timestamptz,       -- the cursor: the last event that was looked at ...
    reached_id      text COLLATE "C",  -- ... of those accepted at that time
    walked          bigint NOT NULL,   -- events looked at
    events          bigint NOT NULL,   -- events of which deliveries were made
    deliveries      bigint NOT NULL,   -- deliveries that were made and published
    fed_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    finished_at     timestamptz
);
CREATE INDEX replays_newest ON replays (tenant, created_at, id);
CREATE UNIQUE INDEX replays_key ON replays (tenant, idempotency_key);
CREATE INDEX replays_running ON replays (fed_at) WHERE status = 0;

-- What a replay made, for stopping it.
CREATE INDEX deliveries_replayed ON deliveries (generation) WHERE generation LIKE 'replay:%';
