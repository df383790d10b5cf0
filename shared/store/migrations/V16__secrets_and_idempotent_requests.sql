-- Previous secrets beside the newest one of them, so that each signs until the end it was promised.
ALTER TABLE endpoints
    ADD COLUMN secrets_earlier bytea,         -- sealed: a JSON list, newest first
    ADD COLUMN earlier_until   timestamptz[]; -- the end of each, in the same order

-- Requests to the API that carried an Idempotency-Key, for a day.
CREATE TABLE idempotent_requests (
    caller     text COLLATE "C" NOT NULL, -- key:<key id> | operator:<fingerprint>
    key        text COLLATE "C" NOT NULL,
    request    bytea NOT NULL,            -- SHA-256 of method, path, query and body
    claim      uuid NOT NULL,             -- the call that works on it, or worked on it last
    claimed_at timestamptz NOT NULL,
    committed  boolean NOT NULL,          -- its change is committed, in the change's own transaction
    answer     bytea,                     -- sealed: status, headers and body
    created_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE UNIQUE INDEX idempotent_requests_claim ON idempotent_requests (claim);
CREATE INDEX idempotent_requests_created ON idempotent_requests (created_at);
