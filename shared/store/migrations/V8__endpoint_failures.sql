-- Failed attempts by endpoint, hour and cause, test calls excluded. The statement that inserts an attempt counts it, once. The only
-- index is the primary key, and no column of it changes, so an update stays on its page.
CREATE TABLE endpoint_failures (
    endpoint    uuid NOT NULL,
    hour        timestamptz NOT NULL,
    outcome     smallint NOT NULL,    -- as attempts.outcome, never 0
    status_code smallint NOT NULL,    -- as attempts.status_code; 0: no response
    attempts    integer NOT NULL,
    first_at    timestamptz NOT NULL, -- when the first of them started ...
    last_at     timestamptz NOT NULL, -- ... and the last
    PRIMARY KEY (endpoint, hour, outcome, status_code)
) WITH (fillfactor = 50);
