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
