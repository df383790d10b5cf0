-- Named filters of the lists of deliveries and events, for everybody who reads the tenant's pages. Deleted with the tenant.
CREATE TABLE saved_views (
    id         uuid PRIMARY KEY,
    tenant     uuid NOT NULL REFERENCES tenants,
    list       smallint NOT NULL, -- 0 deliveries, 1 events
    name       text NOT NULL,
    query      text NOT NULL,     -- the filter, as the query of the list's address
    created_at timestamptz NOT NULL,
    UNIQUE (tenant, list, name)
);
