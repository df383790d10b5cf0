-- The log, partitioned by day. The day travels in the message, so that a row's partition never depends on when it is
-- written. No default partition: rows of a day that has none are skipped and counted.
--
-- Small codes instead of words keep rows and comparisons cheap:
--   deliveries.status    0 pending, 1 failed, 2 cancelled, 3 discarded, 4 delivered
--   discard_reason       0 expired, 1 endpoint_deleted, 2 endpoint_inactive, 3 expunged
--   attempts.outcome     0 success, 1 http_status, 2 timeout, 3 connect_failed, 4 dns_failed, 5 tls_failed,
--                        6 address_blocked, 7 protocol_error
--   attempts.trigger     0 first, 1 retry, 2 manual, 3 replay, 4 test
--   held_reason          0 rate, 1 concurrency, 2 breaker
--   events.origin        0 api, 1 dashboard;  events.lane  0 live, 1 slow, 2 bulk
-- Payloads are bytea and free text is made safe before, because text refuses NUL and legal JSON has it.

CREATE TABLE events (
    accepted_at  timestamptz NOT NULL,
    occurred_at  timestamptz NOT NULL,
    instance     bigint NOT NULL,
    sequence     bigint NOT NULL,
    tenant       uuid NOT NULL,
    event_day    date NOT NULL,
    origin       smallint NOT NULL,
    lane         smallint NOT NULL,
    id           text COLLATE "C" NOT NULL,
    type         text COLLATE "C" NOT NULL,
    content_hash text COLLATE "C",
    attributes   jsonb,
    metadata     bytea,
    data         bytea, -- null: expunged
    PRIMARY KEY (tenant, id, event_day)
) PARTITION BY RANGE (event_day);
CREATE INDEX events_newest ON events (tenant, accepted_at);

CREATE TABLE decisions (
    config_version bigint NOT NULL,
    decided_at     timestamptz NOT NULL,
    tenant         uuid NOT NULL,
    event_day      date NOT NULL,
    event_id       text COLLATE "C" NOT NULL,
    matched        uuid[] NOT NULL,
    PRIMARY KEY (tenant, event_id, event_day)
) PARTITION BY RANGE (event_day);

-- `standing` is what decides between two reports: rank of the status, epoch, attempt number and status as one number, the
-- greater stands (then the later `reported_at`). `number` and `status_code` belong to the last attempt.
-- Columns that change are in no index, so that an update stays on its page.
CREATE TABLE deliveries (
    id               uuid NOT NULL,
    tenant           uuid NOT NULL,
    endpoint         uuid NOT NULL,
    created_at       timestamptz NOT NULL,
    accepted_at      timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    reported_at      timestamptz NOT NULL,
    standing         bigint NOT NULL,
    next_attempt_at  timestamptz,
    first_attempt_at timestamptz,
    delivery_day     date NOT NULL,
    event_day        date NOT NULL,
    epoch            integer NOT NULL,
    status           smallint NOT NULL,
    discard_reason   smallint,
    number           integer NOT NULL,
    status_code      smallint,
    event_id         text COLLATE "C" NOT NULL,
    type             text COLLATE "C" NOT NULL,
    generation       text COLLATE "C", -- null: the event's own delivery
    origin           uuid,
    PRIMARY KEY (id, delivery_day)
) PARTITION BY RANGE (delivery_day);
CREATE INDEX deliveries_newest ON deliveries (tenant, created_at);
CREATE INDEX deliveries_endpoint ON deliveries (endpoint, created_at);
-- First deliveries of an event are found by their ids, which its decision gives.
CREATE INDEX deliveries_again ON deliveries (tenant, event_id) WHERE generation IS NOT NULL;

CREATE TABLE attempts (
    delivery_id       uuid NOT NULL,
    send_id           uuid NOT NULL,
    endpoint          uuid NOT NULL,
    started_at        timestamptz NOT NULL,
    next_attempt_at   timestamptz,
    duration_us       bigint NOT NULL,
    first_byte_us     bigint,
    held_ms           bigint NOT NULL,
    late_ms           bigint,
    since_accepted_ms bigint, -- accepted to the end of the first attempt
    delivery_day      date NOT NULL,
    number            integer NOT NULL,
    trigger           smallint NOT NULL,
    outcome           smallint NOT NULL,
    status_code       smallint,
    held_reason       smallint,
    url               text NOT NULL,
    error             text,
    request_headers   text NOT NULL, -- JSON: [[name, value], ...]
    response_headers  text,
    response_excerpt  bytea,
    PRIMARY KEY (delivery_id, send_id, delivery_day)
) PARTITION BY RANGE (delivery_day);

-- Attempts by endpoint and minute, tests apart; counts each attempt once, when its row is made.
CREATE TABLE endpoint_minutes (
    endpoint        uuid NOT NULL,
    minute          timestamptz NOT NULL,
    successes       integer NOT NULL,
    failures        integer NOT NULL,
    retries         integer NOT NULL,
    duration_us     bigint NOT NULL,
    first_attempts  integer NOT NULL,
    first_within_5s integer NOT NULL,
    first_within_30s integer NOT NULL,
    PRIMARY KEY (endpoint, minute)
) WITH (fillfactor = 50);

CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity    bytea NOT NULL UNIQUE, -- the same letter, delivered again, makes no second row
    received_at timestamptz NOT NULL,
    source      text NOT NULL,
    reason      text NOT NULL,
    body        bytea NOT NULL,
    headers     text NOT NULL -- JSON: [[name, value], ...]
);
CREATE INDEX dead_letters_newest ON dead_letters (received_at, id);

-- Where the server was built with LZ4, large payloads are compressed with it: a fraction of the default's CPU.
DO $$
BEGIN
    ALTER TABLE events ALTER COLUMN data SET COMPRESSION lz4;
    ALTER TABLE attempts ALTER COLUMN response_excerpt SET COMPRESSION lz4;
    ALTER TABLE attempts ALTER COLUMN request_headers SET COMPRESSION lz4;
    ALTER TABLE attempts ALTER COLUMN response_headers SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    RAISE NOTICE 'this server has no LZ4';
END
$$;
