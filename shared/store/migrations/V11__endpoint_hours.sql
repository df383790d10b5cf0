-- What `endpoint_minutes` adds up to by hour, for reading long times.
LOCK TABLE endpoint_minutes IN SHARE ROW EXCLUSIVE MODE; -- recorders wait while what there is is added up

CREATE TABLE endpoint_hours (
    endpoint         uuid NOT NULL,
    hour             timestamptz NOT NULL,
    successes        integer NOT NULL,
    failures         integer NOT NULL,
    retries          integer NOT NULL,
    duration_us      bigint NOT NULL,
    first_attempts   integer NOT NULL,
    first_within_5s  integer NOT NULL,
    first_within_30s integer NOT NULL,
    answers_2xx      integer NOT NULL DEFAULT 0,
    answers_3xx      integer NOT NULL DEFAULT 0,
    answers_4xx      integer NOT NULL DEFAULT 0,
    answers_5xx      integer NOT NULL DEFAULT 0,
    unanswered       integer NOT NULL DEFAULT 0,
    latency          integer[] NOT NULL DEFAULT array_fill(0, ARRAY[28]),
    PRIMARY KEY (endpoint, hour)
) WITH (fillfactor = 50);

INSERT INTO endpoint_hours (endpoint, hour,
    successes, failures, retries, duration_us, first_attempts, first_within_5s, first_within_30s, answers_2xx, answers_3xx,
    answers_4xx, answers_5xx, unanswered, latency)
SELECT endpoint, date_bin('1 hour', minute, '2000-01-01 00:00:00+00'),
    sum(successes), sum(failures), sum(retries), sum(duration_us), sum(first_attempts), sum(first_within_5s),
    sum(first_within_30s), sum(answers_2xx), sum(answers_3xx), sum(answers_4xx), sum(answers_5xx), sum(unanswered),
    ARRAY[
        sum(latency[1]), sum(latency[2]), sum(latency[3]), sum(latency[4]), sum(latency[5]), sum(latency[6]),
        sum(latency[7]), sum(latency[8]), sum(latency[9]), sum(latency[10]), sum(latency[11]), sum(latency[12]),
        sum(latency[13]), sum(latency[14]), sum(latency[15]), sum(latency[16]), sum(latency[17]), sum(latency[18]),
        sum(latency[19]), sum(latency[20]), sum(latency[21]), sum(latency[22]), sum(latency[23]), sum(latency[24]),
        sum(latency[25]), sum(latency[26]), sum(latency[27]), sum(latency[28])
    ]
FROM endpoint_minutes GROUP BY 1, 2;

-- Recorders of this release on count by minute and by hour, and say here how many attempts of a minute they counted so. Of
-- what others write (the release before, running beside or again) a trigger brings the hours up.
ALTER TABLE endpoint_minutes ADD COLUMN counted_by_hour integer NOT NULL DEFAULT 0;

CREATE FUNCTION add_to_endpoint_hour() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO endpoint_hours AS h (endpoint, hour,
        successes, failures, retries, duration_us, first_attempts, first_within_5s, first_within_30s, answers_2xx,
        answers_3xx, answers_4xx, answers_5xx, unanswered, latency)
    VALUES (NEW.endpoint, date_bin('1 hour', NEW.minute, '2000-01-01 00:00:00+00'),
        NEW.successes - coalesce(OLD.successes, 0), NEW.failures - coalesce(OLD.failures, 0),
        NEW.retries - coalesce(OLD.retries, 0), NEW.duration_us - coalesce(OLD.duration_us, 0),
        NEW.first_attempts - coalesce(OLD.first_attempts, 0), NEW.first_within_5s - coalesce(OLD.first_within_5s, 0),
        NEW.first_within_30s - coalesce(OLD.first_within_30s, 0), NEW.answers_2xx - coalesce(OLD.answers_2xx, 0),
        NEW.answers_3xx - coalesce(OLD.answers_3xx, 0), NEW.answers_4xx - coalesce(OLD.answers_4xx, 0),
        NEW.answers_5xx - coalesce(OLD.answers_5xx, 0), NEW.unanswered - coalesce(OLD.unanswered, 0),
        ARRAY(SELECT has - coalesce(had, 0) FROM unnest(NEW.latency, OLD.latency) AS bucket (has, had)))
    ON CONFLICT (endpoint, hour) DO UPDATE SET
        successes = h.successes + excluded.successes, failures = h.failures + excluded.failures,
        retries = h.retries + excluded.retries, duration_us = h.duration_us + excluded.duration_us,
        first_attempts = h.first_attempts + excluded.first_attempts,
        first_within_5s = h.first_within_5s + excluded.first_within_5s,
        first_within_30s = h.first_within_30s + excluded.first_within_30s,
        answers_2xx = h.answers_2xx + excluded.answers_2xx, answers_3xx = h.answers_3xx + excluded.answers_3xx,
        answers_4xx = h.answers_4xx + excluded.answers_4xx, answers_5xx = h.answers_5xx + excluded.answers_5xx,
        unanswered = h.unanswered + excluded.unanswered,
        latency = ARRAY(SELECT had + more FROM unnest(h.latency, excluded.latency) AS bucket (had, more));
    RETURN NULL;
END $$;

CREATE TRIGGER minute_not_counted_by_hour AFTER INSERT ON endpoint_minutes FOR EACH ROW
    WHEN (NEW.counted_by_hour <> NEW.successes + NEW.failures)
    EXECUTE FUNCTION add_to_endpoint_hour();
CREATE TRIGGER more_not_counted_by_hour AFTER UPDATE ON endpoint_minutes FOR EACH ROW
    WHEN (NEW.counted_by_hour - OLD.counted_by_hour <> NEW.successes + NEW.failures - OLD.successes - OLD.failures)
    EXECUTE FUNCTION add_to_endpoint_hour();
