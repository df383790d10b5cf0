-- Counts that long ranges of time are read from. The statement that inserts an attempt counts it here too, once. Test calls are excluded.
-- Each table has only its primary key as an index, and no column of it changes, so an update stays on its page.

-- The hours of endpoint_hours, added up by tenant.
CREATE TABLE tenant_hours (
    tenant            uuid NOT NULL,
    hour              timestamptz NOT NULL,
    successes         bigint NOT NULL,
    failures          bigint NOT NULL,
    retries           bigint NOT NULL,
    duration_us       bigint NOT NULL,
    first_attempts    bigint NOT NULL,
    first_within_5s   bigint NOT NULL,
    first_within_30s  bigint NOT NULL,
    answers_2xx       bigint NOT NULL,
    answers_3xx       bigint NOT NULL,
    answers_4xx       bigint NOT NULL,
    answers_5xx       bigint NOT NULL,
    unanswered        bigint NOT NULL,
    failed_deliveries bigint NOT NULL,
    latency           bigint[] NOT NULL,
    PRIMARY KEY (tenant, hour)
) WITH (fillfactor = 50);

-- The causes of endpoint_failures, added up by tenant.
CREATE TABLE tenant_failures (
    tenant      uuid NOT NULL,
    hour        timestamptz NOT NULL,
    outcome     smallint NOT NULL,    -- as attempts.outcome, never 0
    status_code smallint NOT NULL,    -- as attempts.status_code; 0: no response
    attempts    bigint NOT NULL,
    first_at    timestamptz NOT NULL, -- when the first of them started ...
    last_at     timestamptz NOT NULL, -- ... and the last
    PRIMARY KEY (tenant, hour, outcome, status_code)
) WITH (fillfactor = 50);

-- Days in UTC of each endpoint, to find the endpoints with the lowest share of successes.
CREATE TABLE endpoint_days (
    endpoint  uuid NOT NULL,
    day       timestamptz NOT NULL,
    successes bigint NOT NULL,
    failures  bigint NOT NULL,
    PRIMARY KEY (endpoint, day)
) WITH (fillfactor = 50);

-- The causes of an endpoint's failures on a day in UTC, to count the endpoints of each cause.
CREATE TABLE endpoint_failure_days (
    endpoint    uuid NOT NULL,
    day         timestamptz NOT NULL,
    outcome     smallint NOT NULL,
    status_code smallint NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (endpoint, day, outcome, status_code)
) WITH (fillfactor = 50);

-- Recorders wait meanwhile, so that each attempt is counted here once. Attempts that a recorder of an older release inserts
-- afterwards are not counted here.
LOCK TABLE endpoint_hours, endpoint_failures IN SHARE MODE;

INSERT INTO tenant_hours
SELECT tenant, hour, sum(successes), sum(failures), sum(retries), sum(duration_us), sum(first_attempts), sum(first_within_5s),
    sum(first_within_30s), sum(answers_2xx), sum(answers_3xx), sum(answers_4xx), sum(answers_5xx), sum(unanswered),
    sum(failed_deliveries), ARRAY[
    sum(latency[1]), sum(latency[2]), sum(latency[3]), sum(latency[4]), sum(latency[5]), sum(latency[6]), sum(latency[7]),
    sum(latency[8]), sum(latency[9]), sum(latency[10]), sum(latency[11]), sum(latency[12]), sum(latency[13]), sum(latency[14]),
    sum(latency[15]), sum(latency[16]), sum(latency[17]), sum(latency[18]), sum(latency[19]), sum(latency[20]), sum(latency[21]),
    sum(latency[22]), sum(latency[23]), sum(latency[24]), sum(latency[25]), sum(latency[26]), sum(latency[27]), sum(latency[28])]
FROM endpoint_hours h JOIN (SELECT id AS endpoint, tenant FROM endpoints) owner USING (endpoint)
GROUP BY tenant, hour;

INSERT INTO endpoint_days
SELECT endpoint, date_bin('1 day', hour, '2000-01-01 00:00:00+00'), sum(successes), sum(failures)
FROM endpoint_hours GROUP BY 1, 2;

INSERT INTO tenant_failures
SELECT tenant, hour, outcome, status_code, sum(attempts), min(first_at), max(last_at)
FROM endpoint_failures f JOIN (SELECT id AS endpoint, tenant FROM endpoints) owner USING (endpoint)
GROUP BY tenant, hour, outcome, status_code;

INSERT INTO endpoint_failure_days
SELECT endpoint, date_bin('1 day', hour, '2000-01-01 00:00:00+00'), outcome, status_code, min(first_at), max(last_at)
FROM endpoint_failures GROUP BY 1, 2, 3, 4;
