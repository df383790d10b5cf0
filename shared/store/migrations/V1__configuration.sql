-- Configuration. One counter orders it: every edit bumps the row in its own transaction and stamps what it touched.

CREATE TABLE config_version (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    version bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO config_version (version) VALUES (1);

CREATE TABLE tenants (
    id                 uuid PRIMARY KEY,
    name               text NOT NULL,
    profile            text NOT NULL,
    external_id        text,
    limits             json NOT NULL,
    enforce_catalog    boolean NOT NULL,
    enforce_schemas    boolean NOT NULL,
    disable_after_days integer,
    version            bigint NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    deleted_at         timestamptz
);
CREATE UNIQUE INDEX tenants_external_id ON tenants (external_id) WHERE deleted_at IS NULL;
CREATE INDEX tenants_version ON tenants (version);

-- A key's text is never stored, only its SHA-256.
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

-- The bytea columns are sealed (ChaCha20-Poly1305 under a master key).
CREATE TABLE endpoints (
    id              uuid PRIMARY KEY,
    tenant          uuid NOT NULL REFERENCES tenants,
    document        json NOT NULL,
    status          smallint NOT NULL, -- 0 active, 1 inactive, 2 disabled
    disabled_reason text,
    disabled_at     timestamptz,
    secret_current  bytea NOT NULL,
    secret_previous bytea,
    previous_until  timestamptz,
    secret_next     bytea,
    next_from       timestamptz,
    private         bytea NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    deleted_at      timestamptz
);
CREATE INDEX endpoints_tenant ON endpoints (tenant, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX endpoints_version ON endpoints (version);

-- What an endpoint was at each configuration version that changed it. Append-only; no secrets.
CREATE TABLE endpoint_versions (
    endpoint   uuid NOT NULL,
    version    bigint NOT NULL,
    status     smallint NOT NULL,
    deleted    boolean NOT NULL,
    document   json NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (endpoint, version)
);

-- What people decided about deliveries that are on their way: copies below the least epoch are stale.
CREATE TABLE interventions (
    target      text COLLATE "C" PRIMARY KEY, -- delivery:<id> | replay:<id> | event:<tenant>/<id>
    least_epoch integer NOT NULL,
    reason      smallint NOT NULL, -- 0 superseded, 1 cancelled, 2 expunged
    version     bigint NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX interventions_version ON interventions (version);

-- What was committed and is still to be published. The sweeper claims what its author did not publish.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     uuid NOT NULL,
    task       json,  -- a delivery for a lane ...
    event_type text,  -- ... or an operational event
    data       bytea,
    created_at timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL
);
CREATE INDEX outbox_claimed ON outbox (claimed_at);
