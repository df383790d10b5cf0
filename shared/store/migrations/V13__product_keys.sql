-- Keys that publish for several tenants, or for all: one key for a whole product. A table of its own, because a service of the
-- release before this one reads `api_keys` and takes every key in it for one tenant's.
CREATE TABLE product_keys (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    tenants    uuid[], -- NULL: every tenant
    version    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX product_keys_version ON product_keys (version);
