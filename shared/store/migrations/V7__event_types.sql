-- What tenants say about event types: types of their own, and their words for those of their profile. Sample and schema are
-- JSON as it was written: nothing here looks into it.

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
