-- How an endpoint's attempts went lately, tests apart. A row is made by its first failure: an endpoint that never failed has none.
CREATE TABLE endpoint_health (
    endpoint        uuid PRIMARY KEY,
    failures        integer NOT NULL,     -- attempts that failed since the last that succeeded
    failing_since   timestamptz NOT NULL, -- the first of them, or when its customer switched it on again
    last_failure_at timestamptz NOT NULL, -- the last of them
    succeeded_at    timestamptz,          -- the success that ended the failures before
    failing         boolean NOT NULL,     -- endpoint.failing was told, endpoint.recovered not yet
    turned          smallint NOT NULL     -- what the last write changed: 0 nothing, 1 it began to fail, 2 it recovered
) WITH (fillfactor = 70);
CREATE INDEX endpoint_health_failing ON endpoint_health (failing_since) WHERE failing;
