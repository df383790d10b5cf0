-- To which event an id belongs that a producer named (or that follows from its idempotency key): to the first that was
-- published under it, for longer than the log keeps the event. Ids that were made here have no row.

CREATE TABLE event_ids (
    claimed_at   timestamptz NOT NULL, -- when somebody last began to publish the event
    accepted_at  timestamptz NOT NULL, -- the event's, whoever publishes it again
    tenant       uuid NOT NULL,
    event_day    date NOT NULL,
    confirmed    boolean NOT NULL,     -- the broker is known to have had it
    id           text COLLATE "C" NOT NULL,
    content_hash text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 80);
-- For forgetting old ones. `confirmed` and `claimed_at` are in no index, so that an update stays on its page.
CREATE INDEX event_ids_day ON event_ids (event_day);

-- What releases before this one looked up in the log: today and yesterday.
INSERT INTO event_ids (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
SELECT DISTINCT ON (tenant, id) accepted_at, accepted_at, tenant, event_day, true, id, content_hash
FROM events
WHERE content_hash IS NOT NULL AND event_day >= (now() AT TIME ZONE 'UTC')::date - 1
ORDER BY tenant, id, accepted_at;

-- An intervention is about one event, and a later event of the same id is another. Null: of an older release, or about a replay.
ALTER TABLE interventions ADD COLUMN event_day date;
