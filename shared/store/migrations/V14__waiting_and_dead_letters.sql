-- Dead letters of producers are bounded: of a large one the beginning is kept, and each tenant's are limited by day.
ALTER TABLE dead_letters ADD COLUMN whole_bytes bigint; -- how many bytes the message had, where only the first were kept
-- What has a tenant's routing key was published by a producer; earlier releases believed its headers about its source.
UPDATE dead_letters SET source = 'postrider.intake' WHERE routing_key LIKE 'ten\_%' AND source <> 'postrider.intake';

CREATE TABLE dead_letter_days (
    producer   text COLLATE "C" NOT NULL, -- the tenant that the routing key names; empty: none
    day        date NOT NULL,
    kept       bigint NOT NULL,
    kept_bytes bigint NOT NULL,
    not_kept   bigint NOT NULL,
    PRIMARY KEY (producer, day)
);

-- How many deliveries of each tenant wait: counted every few seconds by one recorder.
CREATE TABLE waiting_deliveries (
    tenant     uuid PRIMARY KEY,
    deliveries bigint NOT NULL,
    counted_at timestamptz NOT NULL
);
-- What is counted. The one index with a column that changes, in its condition: a pending row that ends leaves its page. Most rows are
-- never pending, since decision and outcome meet in one batch; a retry that fails again changes no index.
CREATE INDEX deliveries_pending ON deliveries (tenant) WHERE status = 0;

-- Bytes of a message by queue, on average over those that a process took lately.
ALTER TABLE services ADD COLUMN bytes_per_message jsonb NOT NULL DEFAULT '{}';
