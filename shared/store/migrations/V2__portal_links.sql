-- One-time links that open a session of the dashboard without an API key. A row is kept until its link expires unused, or until
-- its session ends; deleting it ends the session.
CREATE TABLE portal_links (
    id              uuid PRIMARY KEY,
    token_hash      bytea NOT NULL UNIQUE,
    tenant          uuid NOT NULL,
    key_id          uuid,                 -- the tenant's key that created the link; null: an operator
    user_name       text,                 -- the person who gets the link, as the product names them
    scopes          smallint NOT NULL,    -- bits: 1 publish, 2 read, 4 manage
    landing         text NOT NULL,        -- the first page, below the tenant's address
    embedded        boolean NOT NULL,     -- may be opened in a frame
    session_seconds integer NOT NULL,
    created_at      timestamptz NOT NULL,
    opened_at       timestamptz,          -- null: not used
    expires_at      timestamptz NOT NULL  -- the end of the link, and after it was opened of the session
);
CREATE INDEX portal_links_tenant ON portal_links (tenant, created_at);
CREATE INDEX portal_links_key ON portal_links (key_id);
CREATE INDEX portal_links_expire ON portal_links (expires_at);

-- The link that opened a session. `key_hash` is then the hash of the link's token, which is the hash of no key.
ALTER TABLE dashboard_sessions ADD COLUMN portal_link uuid REFERENCES portal_links (id) ON DELETE CASCADE;
CREATE INDEX dashboard_sessions_portal ON dashboard_sessions (portal_link);
