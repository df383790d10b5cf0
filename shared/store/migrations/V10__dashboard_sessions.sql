-- Who is signed in to the dashboard. The visitor holds a random token; here is only its hash, and that of the key it stands for.
CREATE TABLE dashboard_sessions (
    token_hash bytea PRIMARY KEY,
    key_hash   bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX dashboard_sessions_expire ON dashboard_sessions (expires_at);
