-- What ingest processes say of the numbers that their events carry: all below `settled_below` were confirmed or given up.
CREATE TABLE ingest_numbers (
    instance      bigint PRIMARY KEY,
    settled_below bigint NOT NULL,
    first_at      timestamptz NOT NULL, -- the first report ...
    reported_at   timestamptz NOT NULL  -- ... and the last
);

-- Numbers that no event on record has to have: given up by ingest, or carried by a repeat of an event that is there.
CREATE TABLE ingest_numbers_excused (
    instance bigint NOT NULL,
    number   bigint NOT NULL,
    PRIMARY KEY (instance, number)
);

-- Audits that were run, and what they found.
CREATE TABLE audits (
    id        uuid PRIMARY KEY,
    ran_at    timestamptz NOT NULL,
    conserved boolean NOT NULL,
    report    jsonb NOT NULL
);
CREATE INDEX audits_newest ON audits (ran_at);
