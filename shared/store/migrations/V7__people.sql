-- People whom the identity provider signed in as operators. A row is kept while the person has sessions.
CREATE TABLE dashboard_people (
    id           uuid PRIMARY KEY,     -- derived from issuer and subject
    issuer       text NOT NULL,
    subject      text NOT NULL,        -- the person's id at the issuer
    email        text,                 -- null: the issuer has not verified one
    name         text NOT NULL,        -- how the audit log names the person
    claims       json NOT NULL,        -- the claims that decide whether the person is an operator
    signed_in_at timestamptz NOT NULL
);

-- The person who opened a session. `key_hash` is then the hash of the person's id, which is the hash of no key.
ALTER TABLE dashboard_sessions ADD COLUMN person uuid REFERENCES dashboard_people (id) ON DELETE CASCADE;
CREATE INDEX dashboard_sessions_person ON dashboard_sessions (person);
