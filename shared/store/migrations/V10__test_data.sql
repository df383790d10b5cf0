-- The `data` of test calls whose sample the caller edited. A delivery without a row sent the sample of its event type.
CREATE TABLE test_data (
    delivery_id uuid PRIMARY KEY,
    tenant      uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    data        text -- null: newer test calls of the tenant replaced it
);
CREATE INDEX test_data_kept ON test_data (tenant, created_at) WHERE data IS NOT NULL;
CREATE INDEX test_data_created ON test_data (created_at);
