-- Paused endpoints (endpoints.status 3). Their deliveries are set aside: pending rows without a message in the broker.

ALTER TABLE endpoints
    ADD COLUMN paused_reason text,        -- why Postrider paused the endpoint; null: a person paused it
    ADD COLUMN paused_at     timestamptz;

-- What happens to an endpoint that fails for too long.
ALTER TABLE tenants ADD COLUMN failing_endpoints smallint NOT NULL DEFAULT 0; -- 0 disable, 1 pause

-- Bytes of the payload of a delivery that is set aside; null: the delivery is not set aside. Such a row has no `next_attempt_at`.
-- The column does not change when a delivery is retried, so such an update still stays on its page.
ALTER TABLE deliveries ADD COLUMN set_aside_bytes integer;
-- What waits for a paused endpoint, in the order in which it is released.
CREATE INDEX deliveries_set_aside ON deliveries (endpoint, accepted_at, id) INCLUDE (tenant, set_aside_bytes)
    WHERE set_aside_bytes IS NOT NULL;

-- Endpoints that are or were paused. A recorder looks at each from time to time: it counts what was set aside, discards what is
-- skipped or over a limit, and releases the rest once the endpoint is active. The recorder locks the row meanwhile. An edit of the
-- endpoint holds the lock of `config_version`, so it must not wait for this row.
CREATE TABLE endpoint_pauses (
    endpoint    uuid PRIMARY KEY,
    tenant      uuid NOT NULL,
    skip_before timestamptz,                 -- what was accepted until then is discarded
    deliveries  bigint NOT NULL DEFAULT 0,   -- set aside at `counted_at` ...
    bytes       bigint NOT NULL DEFAULT 0,   -- ... their bytes ...
    oldest_at   timestamptz,                 -- ... and the acceptance of the oldest event
    counted_at  timestamptz,
    count_ms    bigint NOT NULL DEFAULT 0,   -- how long the count took
    look_at     timestamptz NOT NULL         -- when a recorder looks again
) WITH (fillfactor = 50);
CREATE INDEX endpoint_pauses_due ON endpoint_pauses (look_at);
CREATE INDEX endpoint_pauses_tenant ON endpoint_pauses (tenant);
