-- Notices about the state of endpoints, for the endpoints that their `notify` names. One row for each endpoint and state that was
-- told or is to be told. A recorder sends what is due.
CREATE TABLE endpoint_notices (
    endpoint uuid NOT NULL,
    state    smallint NOT NULL, -- 0 failing, 1 disabled, 2 paused, 3 recovered
    due_at   timestamptz,       -- when a recorder looks whether the state still holds, and tells it; null: nothing to tell
    sent_at  timestamptz,       -- when the state was last told; null: never
    PRIMARY KEY (endpoint, state)
) WITH (fillfactor = 70);
CREATE INDEX endpoint_notices_due ON endpoint_notices (due_at) WHERE due_at IS NOT NULL;

-- The endpoint that gets a notice; null: the entry is not a notice.
ALTER TABLE outbox ADD COLUMN addressee uuid;
