-- The whole schema of Postrider.
--
-- Enums are stored as small numbers; the comment of a column lists them. Payloads are bytea, and NUL is removed from free
-- text before it is written: text columns refuse NUL, and legal JSON may contain it.

-----------------------------------------------------------------------------------------------------------------------
-- Configuration: written by the API and the dashboard, read by every service through the configuration feed.
-- Each edit increments `config_version` in its own transaction and stamps the rows it touches with the new version.
-- Deleted rows stay as tombstones (`deleted_at`), so that the feed can report the deletion.
-----------------------------------------------------------------------------------------------------------------------

-- The version counter. The lock of its row serialises edits, so versions are committed in order.
CREATE TABLE config_version (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO config_version (version) VALUES (1);

-- Tenants. `migrate` creates the operator's own tenant.
CREATE TABLE tenants (
    id                 uuid PRIMARY KEY,
    name               text NOT NULL,
    profile            text NOT NULL,
    external_id        text,    -- the operator's own id for the tenant
    limits             json NOT NULL,
    enforce_catalog    boolean NOT NULL,
    enforce_schemas    boolean NOT NULL,
    disable_after_days integer, -- null: the profile's value
    version            bigint NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    deleted_at         timestamptz
);
CREATE UNIQUE INDEX tenants_external_id ON tenants (external_id) WHERE deleted_at IS NULL;
CREATE INDEX tenants_version ON tenants (version);

-- API keys, each of one tenant. A key's text is never stored, only its SHA-256.
CREATE TABLE api_keys (
    id         uuid PRIMARY KEY,
    tenant     uuid NOT NULL REFERENCES tenants,
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    scopes     smallint NOT NULL, -- bits: 1 publish, 2 read, 4 manage
    version    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant);
CREATE INDEX api_keys_version ON api_keys (version);

-- Keys that publish for several tenants or for all of them.
CREATE TABLE product_keys (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    tenants    uuid[], -- null: every tenant
    version    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX product_keys_version ON product_keys (version);

-- Endpoints (webhooks). The bytea columns are sealed with ChaCha20-Poly1305 under a master key.
CREATE TABLE endpoints (
    id              uuid PRIMARY KEY,
    tenant          uuid NOT NULL REFERENCES tenants,
    document        json NOT NULL,     -- everything about the endpoint that is not secret
    status          smallint NOT NULL, -- 0 active, 1 inactive, 2 disabled
    disabled_reason text,
    disabled_at     timestamptz,
    secret_current  bytea NOT NULL,
    secret_previous bytea,             -- the newest of the previous secrets that still sign ...
    previous_until  timestamptz,       -- ... and when it stops signing
    secrets_earlier bytea,             -- the other previous secrets: a JSON list, newest first ...
    earlier_until   timestamptz[],     -- ... and when each stops signing, in the same order
    secret_next     bytea,             -- the secret of a planned cut-over ...
    next_from       timestamptz,       -- ... and when it replaces the current one
    private         bytea NOT NULL,    -- header values and credentials
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz
);
CREATE INDEX endpoints_tenant ON endpoints (tenant, created_at, id) WHERE deleted_at IS NULL;
-- Statistics of a tenant include its deleted endpoints.
CREATE INDEX endpoints_of_tenant ON endpoints (tenant);
CREATE INDEX endpoints_version ON endpoints (version);

-- Each endpoint at each configuration version that changed it: deliveries are rendered and explained by the version they
-- were decided under. Append-only; no secrets. The recorder deletes versions that no event on record was decided under.
CREATE TABLE endpoint_versions (
    endpoint   uuid NOT NULL,
    version    bigint NOT NULL,
    status     smallint NOT NULL, -- as endpoints.status
    deleted    boolean NOT NULL,
    document   json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint, version)
);

-- Event types: a tenant's own, and its descriptions of its profile's types. The database never parses the JSON text in
-- `sample` and `schema`.
CREATE TABLE event_types (
    tenant      uuid NOT NULL REFERENCES tenants,
    name        text COLLATE "C" NOT NULL,
    description text,
    sample      text,
    schema      text,
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX event_types_version ON event_types (version);

-- Interventions: cancellations, expunges and retries of deliveries whose messages are in a queue. Dispatchers read them
-- through the feed and drop messages with an epoch below `least_epoch`.
CREATE TABLE interventions (
    target      text COLLATE "C" PRIMARY KEY, -- delivery:<id> | replay:<id> | event:<tenant>/<id>
    event_day   date,              -- the day of the event, because an id may be used again; null: a replay, or several days
    least_epoch integer NOT NULL,
    reason      smallint NOT NULL, -- 0 superseded, 1 cancelled, 2 expunged
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX interventions_version ON interventions (version);

-- Who changed what: configuration, and people's decisions about events and deliveries. Written in the transaction of the
-- change, read by the API and the dashboard, kept as long as the history. No secrets.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    tenant     uuid,          -- null: the whole deployment
    actor      text NOT NULL, -- key | operator | postrider
    actor_id   text,          -- the key's id; the first 8 hex digits of the SHA-256 of the operator key
    actor_name text,          -- the key's name at that time
    via        text,          -- api | dashboard; null: Postrider itself
    action     text NOT NULL, -- such as endpoint.edited
    target     text NOT NULL, -- the id of the changed object
    before     text,          -- JSON: previous values of the members that changed; null: the object was created
    after      text           -- JSON: new values of the same members; null: the object was deleted
);
CREATE INDEX audit_log_newest ON audit_log (at, id);
CREATE INDEX audit_log_tenant ON audit_log (tenant, at, id);

-----------------------------------------------------------------------------------------------------------------------
-- History: written by the recorder, read by the API and the dashboard. The first four tables are partitioned by UTC day;
-- recorders create partitions ahead and drop them after the retention. Each message carries its day, so the partition of a
-- row does not depend on when it is written. There is no default partition: rows of a day without one are skipped and counted.
-----------------------------------------------------------------------------------------------------------------------

-- Accepted events.
CREATE TABLE events (
    accepted_at  timestamptz NOT NULL,
    occurred_at  timestamptz NOT NULL,
    instance     bigint NOT NULL,   -- the ingest process that accepted the event ...
    sequence     bigint NOT NULL,   -- ... and the event's sequence number there, for the audit
    tenant       uuid NOT NULL,
    event_day    date NOT NULL,
    origin       smallint NOT NULL, -- 0 api, 1 dashboard
    lane         smallint NOT NULL, -- 0 live, 1 slow, 2 bulk
    id           text COLLATE "C" NOT NULL,
    type         text COLLATE "C" NOT NULL,
    content_hash text COLLATE "C",
    attributes   jsonb,
    metadata     bytea,
    data         bytea,             -- null: expunged
    PRIMARY KEY (tenant, id, event_day)
) PARTITION BY RANGE (event_day);
CREATE INDEX events_newest ON events (tenant, accepted_at);
-- The reconciler reads some seconds of a day over all tenants. Rows arrive in about this order, so inserts go to the last
-- page. (A BRIN index does not help: the newest ranges are summarised last.)
CREATE INDEX events_accepted ON events (accepted_at);

-- The endpoints that fan-out matched for each event.
CREATE TABLE decisions (
    config_version bigint NOT NULL,
    decided_at     timestamptz NOT NULL,
    tenant         uuid NOT NULL,
    event_day      date NOT NULL,
    event_id       text COLLATE "C" NOT NULL,
    matched        uuid[] NOT NULL,
    PRIMARY KEY (tenant, event_id, event_day)
) PARTITION BY RANGE (event_day);

-- Deliveries, merged from decisions and outcomes in any order. `standing` decides between two reports: rank of the status,
-- epoch, attempt number and status as one number. The greater wins, then the later `reported_at`.
-- Apart from deliveries_pending no index has a column that changes, so that an update stays on its page.
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
    status           smallint NOT NULL, -- 0 pending, 1 failed, 2 cancelled, 3 discarded, 4 delivered
    discard_reason   smallint,          -- 0 expired, 1 endpoint_deleted, 2 endpoint_inactive, 3 expunged
    number           integer NOT NULL,  -- of the last attempt
    status_code      smallint,          -- of the last attempt
    event_id         text COLLATE "C" NOT NULL,
    type             text COLLATE "C" NOT NULL,
    generation       text COLLATE "C",  -- retry:<id> | replay:<id>; null: the event's own delivery
    origin           uuid,              -- the delivery that a retry repeats
    PRIMARY KEY (id, delivery_day)
) PARTITION BY RANGE (delivery_day);
CREATE INDEX deliveries_newest ON deliveries (tenant, created_at);
CREATE INDEX deliveries_endpoint ON deliveries (endpoint, created_at);
-- Retries and replays of an event. The ids of its own deliveries follow from its decision.
CREATE INDEX deliveries_again ON deliveries (tenant, event_id) WHERE generation IS NOT NULL;
-- Deliveries of a replay, for cancelling it.
CREATE INDEX deliveries_replayed ON deliveries (generation) WHERE generation LIKE 'replay:%';
-- Pending deliveries of a tenant, for waiting_deliveries. Most rows are never pending, because decision and outcome meet in
-- one batch; a retry that fails again changes no index.
CREATE INDEX deliveries_pending ON deliveries (tenant) WHERE status = 0;

-- Attempts: one row for each request sent to an endpoint.
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
    since_accepted_ms bigint,            -- from acceptance of the event to the end of its first attempt
    delivery_day      date NOT NULL,
    number            integer NOT NULL,
    trigger           smallint NOT NULL, -- 0 first, 1 retry, 2 manual, 3 replay, 4 test
    outcome           smallint NOT NULL, -- 0 success, 1 http_status, 2 timeout, 3 connect_failed, 4 dns_failed,
                                         -- 5 tls_failed, 6 address_blocked, 7 protocol_error
    status_code       smallint,
    held_reason       smallint,          -- 0 rate, 1 concurrency, 2 breaker
    url               text NOT NULL,
    error             text,
    request_headers   text NOT NULL,     -- JSON: [[name, value], ...]
    response_headers  text,
    response_excerpt  bytea,
    PRIMARY KEY (delivery_id, send_id, delivery_day)
) PARTITION BY RANGE (delivery_day);

-- Attempts by endpoint and minute, test calls excluded. The statement that inserts an attempt counts it, once.
-- `latency` counts attempts by duration, in the buckets of shared/model/src/latency.rs and in their order: only a migration
-- may change either.
CREATE TABLE endpoint_minutes (
    endpoint         uuid NOT NULL,
    minute           timestamptz NOT NULL,
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
    PRIMARY KEY (endpoint, minute)
) WITH (fillfactor = 50);

-- The same by hour, counted by the same statement. Lists and long ranges are read from here.
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

-- Consecutive failures of each endpoint, test calls excluded, counted by the same statement. The first failure creates the
-- row. Transitions emit the operational events endpoint.failing and endpoint.recovered.
CREATE TABLE endpoint_health (
    endpoint        uuid PRIMARY KEY,
    failures        integer NOT NULL,     -- failed attempts since the last success
    failing_since   timestamptz NOT NULL, -- the first of them, or when the customer reactivated the endpoint
    last_failure_at timestamptz NOT NULL,
    succeeded_at    timestamptz,          -- the success that ended the previous failures
    failing         boolean NOT NULL,     -- endpoint.failing was emitted, endpoint.recovered not yet
    turned          smallint NOT NULL     -- transition of the last write: 0 none, 1 began to fail, 2 recovered
) WITH (fillfactor = 70);
CREATE INDEX endpoint_health_failing ON endpoint_health (failing_since) WHERE failing;

-- Values of event attributes by day, suggested when a filter is edited. Bounded by tenant, name and day; see
-- shared/store/src/attributes.rs.
CREATE TABLE attribute_values (
    tenant  uuid NOT NULL,
    day     date NOT NULL,
    name    text COLLATE "C" NOT NULL,
    value   text COLLATE "C" NOT NULL,
    events  bigint NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, day, name, value)
) WITH (fillfactor = 70);
CREATE INDEX attribute_values_day ON attribute_values (day);

-- Pending deliveries by tenant, counted every few seconds by one recorder. Ingest reads them to enforce limits.
CREATE TABLE waiting_deliveries (
    tenant     uuid PRIMARY KEY,
    deliveries bigint NOT NULL,
    counted_at timestamptz NOT NULL
);

-- Messages that could not be processed, with the properties needed to publish them again.
CREATE TABLE dead_letters (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity     bytea NOT NULL UNIQUE, -- hash of the message: a redelivered dead letter adds no second row
    received_at  timestamptz NOT NULL,
    source       text NOT NULL,
    reason       text NOT NULL,
    body         bytea NOT NULL,
    whole_bytes  bigint,                -- size of the message where only its beginning was kept
    headers      text NOT NULL,         -- JSON: [[name, value], ...]
    routing_key  text NOT NULL DEFAULT '',
    content_type text,
    message_id   text,
    requeued_at  timestamptz            -- when an operator requeued it; the next time it dies it is a new row
);
CREATE INDEX dead_letters_newest ON dead_letters (received_at, id);

-- Dead letters of producers by tenant and day, which are limited.
CREATE TABLE dead_letter_days (
    producer   text COLLATE "C" NOT NULL, -- the tenant in the routing key; empty: none
    day        date NOT NULL,
    kept       bigint NOT NULL,
    kept_bytes bigint NOT NULL,
    not_kept   bigint NOT NULL,
    PRIMARY KEY (producer, day)
);

-----------------------------------------------------------------------------------------------------------------------
-- Coordination between services.
-----------------------------------------------------------------------------------------------------------------------

-- Event ids chosen by producers (or derived from an idempotency key), written by ingest. An id belongs to the first event
-- published under it, for longer than the history keeps the event. Ids that ingest generates have no row.
CREATE TABLE event_ids (
    claimed_at   timestamptz NOT NULL, -- when a request last began to publish the event
    accepted_at  timestamptz NOT NULL, -- of the event; repetitions do not change it
    tenant       uuid NOT NULL,
    event_day    date NOT NULL,
    confirmed    boolean NOT NULL,     -- the broker confirmed the event
    id           text COLLATE "C" NOT NULL,
    content_hash text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 80);
-- For deleting old rows. `confirmed` and `claimed_at` are in no index, so that an update stays on its page.
CREATE INDEX event_ids_day ON event_ids (event_day);

-- API requests with an Idempotency-Key, kept for a day.
CREATE TABLE idempotent_requests (
    caller     text COLLATE "C" NOT NULL, -- key:<key id> | operator:<fingerprint>
    key        text COLLATE "C" NOT NULL,
    request    bytea NOT NULL,            -- SHA-256 of method, path, query and body
    claim      uuid NOT NULL,             -- the call that processes the request, or was the last to
    claimed_at timestamptz NOT NULL,
    committed  boolean NOT NULL,          -- set in the transaction of the request's change
    answer     bytea,                     -- sealed: status, headers and body
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE UNIQUE INDEX idempotent_requests_claim ON idempotent_requests (claim);
CREATE INDEX idempotent_requests_created ON idempotent_requests (created_at);

-- Messages to publish, committed together with a change: a delivery for a lane (`task`), an operational event
-- (`event_type`, `data`) or a requeued dead letter (`dead_letter`). The process that committed an entry publishes and
-- deletes it; the recorder's outbox relay publishes entries that are left over.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      uuid NOT NULL,
    task        json,
    event_type  text,
    data        bytea,
    dead_letter bigint, -- dead_letters.id
    created_at  timestamptz NOT NULL,
    claimed_at  timestamptz NOT NULL
);
CREATE INDEX outbox_claimed ON outbox (claimed_at);

-- Replays of past events. The recorder that feeds a page locks the replay's row.
CREATE TABLE replays (
    id              uuid PRIMARY KEY,
    tenant          uuid NOT NULL REFERENCES tenants,
    selection       json NOT NULL,     -- which events, to which endpoints
    asked           text NOT NULL,     -- the request, to tell a repetition from another request with the same key
    idempotency_key text COLLATE "C",
    status          smallint NOT NULL, -- 0 running, 1 paused, 2 finished, 3 cancelled
    reached_at      timestamptz,       -- cursor: acceptance time ...
    reached_id      text COLLATE "C",  -- ... and id of the last event examined
    walked          bigint NOT NULL,   -- events examined
    events          bigint NOT NULL,   -- events with at least one delivery
    deliveries      bigint NOT NULL,   -- deliveries created and published
    fed_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    finished_at     timestamptz
);
CREATE INDEX replays_newest ON replays (tenant, created_at, id);
CREATE UNIQUE INDEX replays_key ON replays (tenant, idempotency_key);
CREATE INDEX replays_running ON replays (fed_at) WHERE status = 0;
-- Unfinished replays of a tenant, which are limited.
CREATE INDEX replays_not_ended ON replays (tenant) WHERE status IN (0, 1);

-- Reports of ingest processes about their sequence numbers, for the audit: the broker confirmed every number below
-- `settled_below`, or ingest gave it up.
CREATE TABLE ingest_numbers (
    instance      bigint PRIMARY KEY,
    settled_below bigint NOT NULL,
    first_at      timestamptz NOT NULL, -- first report
    reported_at   timestamptz NOT NULL  -- last report
);

-- Sequence numbers without an event of their own: given up by ingest, or carried by a repetition of an event on record.
CREATE TABLE ingest_numbers_excused (
    instance bigint NOT NULL,
    number   bigint NOT NULL,
    PRIMARY KEY (instance, number)
);

-- Results of audits.
CREATE TABLE audits (
    id        uuid PRIMARY KEY,
    ran_at    timestamptz NOT NULL,
    conserved boolean NOT NULL,
    report    jsonb NOT NULL
);
CREATE INDEX audits_newest ON audits (ran_at);

-- Running processes. Each rewrites its row every few seconds and deletes it when it stops; rows of dead processes are
-- deleted after a day.
CREATE TABLE services (
    instance            text PRIMARY KEY,     -- host name and a random number
    name                text NOT NULL,        -- the command: ingest, dispatcher, ..., all
    version             text NOT NULL,
    started_at          timestamptz NOT NULL, -- by the process's clock
    seen_at             timestamptz NOT NULL, -- by the database's clock
    members_per_message jsonb NOT NULL,       -- queue -> recent mean number of members in a message
    bytes_per_message   jsonb NOT NULL DEFAULT '{}' -- queue -> recent mean size of a message
) WITH (fillfactor = 50);

-----------------------------------------------------------------------------------------------------------------------
-- Dashboard.
-----------------------------------------------------------------------------------------------------------------------

-- Sessions. The browser holds a random token; the table holds its hash and the hash of the key that signed in.
CREATE TABLE dashboard_sessions (
    token_hash bytea PRIMARY KEY,
    key_hash   bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX dashboard_sessions_expire ON dashboard_sessions (expires_at);

-- Submitted forms and their results, so that a form acts once. `form_hash` is the hash of the form's path and fields, which
-- include a one-time token.
CREATE TABLE dashboard_forms (
    session_hash bytea NOT NULL REFERENCES dashboard_sessions (token_hash) ON DELETE CASCADE,
    form_hash    bytea NOT NULL,
    result       bytea, -- sealed; null while the form is processed
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (session_hash, form_hash)
);
CREATE INDEX dashboard_forms_expire ON dashboard_forms (expires_at);

-----------------------------------------------------------------------------------------------------------------------
-- LZ4 compresses large values at a fraction of the default's CPU, where the server was built with it.
-----------------------------------------------------------------------------------------------------------------------
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
