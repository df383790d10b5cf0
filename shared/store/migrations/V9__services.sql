-- Processes that run, by their own word. A row is rewritten every few seconds, taken away by a process that stops in order, and
-- swept a day after its process was last heard of.
CREATE TABLE services (
    instance            text PRIMARY KEY,     -- host name and a number drawn at start
    name                text NOT NULL,        -- the command that it runs: ingest, dispatcher, ..., all
    version             text NOT NULL,
    started_at          timestamptz NOT NULL, -- by its own clock
    seen_at             timestamptz NOT NULL, -- by the database's clock
    members_per_message jsonb NOT NULL        -- queue -> members of a message, on average over those it took lately
) WITH (fillfactor = 50);
