-- Forms that visitors of the dashboard sent, and their results. A form is known by the hash of its path and fields, which include a
-- one-time token; `result` is sealed, and NULL while the form is processed. Rows end with their session.
CREATE TABLE dashboard_forms (
    session_hash bytea NOT NULL REFERENCES dashboard_sessions (token_hash) ON DELETE CASCADE,
    form_hash    bytea NOT NULL,
    result       bytea,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (session_hash, form_hash)
);
CREATE INDEX dashboard_forms_expire ON dashboard_forms (expires_at);
