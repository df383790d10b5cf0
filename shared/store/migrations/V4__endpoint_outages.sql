-- When and why an endpoint fails, and the number of deliveries behind its count of failures.

ALTER TABLE endpoint_health
    ADD COLUMN first_failure_at timestamptz, -- as failing_since, but a reactivation does not change it
    ADD COLUMN last_outcome     smallint,    -- of the last failure: as attempts.outcome ...
    ADD COLUMN last_status_code smallint,    -- ... its status code ...
    ADD COLUMN last_error       text,        -- ... and its text
    ADD COLUMN outage_from      timestamptz, -- the last outage that has ended: its first failure ...
    ADD COLUMN outage_until     timestamptz, -- ... and the success that ended it
    ADD COLUMN outages_from     timestamptz; -- the first of the outages before it with less than 3 days between them
-- An endpoint that fails at this moment keeps its start.
UPDATE endpoint_health SET first_failure_at = failing_since WHERE failures > 0;

-- Deliveries whose first attempt failed.
ALTER TABLE endpoint_minutes ADD COLUMN failed_deliveries integer NOT NULL DEFAULT 0;
ALTER TABLE endpoint_hours ADD COLUMN failed_deliveries integer NOT NULL DEFAULT 0;

-- Of `deliveries`, pending ones that a recovery attempted at once.
ALTER TABLE replays ADD COLUMN hurried bigint NOT NULL DEFAULT 0;
CREATE INDEX replays_recoveries ON replays (tenant, (selection ->> 'endpoint'), created_at)
    WHERE selection ->> 'mode' = 'recover';
