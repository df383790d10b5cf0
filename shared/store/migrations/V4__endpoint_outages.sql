-- What a customer needs to see that an endpoint fails, since when and why, and which deliveries a count of failures counts.

ALTER TABLE endpoint_health
    ADD COLUMN first_failure_at timestamptz, -- as failing_since, but a reactivation does not change it
    ADD COLUMN last_outcome     smallint,    -- of the last failure: as attempts.outcome ...
    ADD COLUMN last_status_code smallint,    -- ... its status code ...
    ADD COLUMN last_error       text,        -- ... and its text
    ADD COLUMN outage_from      timestamptz, -- the last outage that has ended: its first failure ...
    ADD COLUMN outage_until     timestamptz; -- ... and the success that ended it

-- Deliveries whose first attempt failed.
ALTER TABLE endpoint_minutes ADD COLUMN failed_deliveries integer NOT NULL DEFAULT 0;
ALTER TABLE endpoint_hours ADD COLUMN failed_deliveries integer NOT NULL DEFAULT 0;
