-- What answered, and how long it took, by endpoint and minute. `latency` counts attempts by duration: one number for each
-- bucket of `shared/model/src/latency.rs`, in its order; the two belong together, and only a migration may change them.
ALTER TABLE endpoint_minutes
    ADD COLUMN answers_2xx integer NOT NULL DEFAULT 0,
    ADD COLUMN answers_3xx integer NOT NULL DEFAULT 0,
    ADD COLUMN answers_4xx integer NOT NULL DEFAULT 0,
    ADD COLUMN answers_5xx integer NOT NULL DEFAULT 0,
    ADD COLUMN unanswered  integer NOT NULL DEFAULT 0,
    ADD COLUMN latency     integer[] NOT NULL DEFAULT array_fill(0, ARRAY[28]);

-- A tenant's minutes are those of its endpoints, deleted ones included: what happened stays counted.
CREATE INDEX endpoints_of_tenant ON endpoints (tenant);

-- Values that events' attributes had, by day, for picking filters. Bounded by tenant, name and day; see
-- `shared/store/src/attributes.rs`.
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
