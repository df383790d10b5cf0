-- Who changed what: configuration, and what people decided about events and deliveries. No secrets. Kept as long as the log.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    tenant     uuid,             -- whose; NULL: the deployment's
    actor      text NOT NULL,    -- key | operator | postrider
    actor_id   text,             -- the key's id; the first 8 hex digits of the SHA-256 of the operator key
    actor_name text,             -- the key's name at that time
    via        text,             -- api | dashboard; NULL: Postrider itself
    action     text NOT NULL,    -- such as endpoint.edited
    target     text NOT NULL,    -- the id of what was changed
    before     text,             -- JSON: the members that changed, as they were; NULL: it was made
    after      text              -- JSON: the same members as they are; NULL: it was deleted
);
CREATE INDEX audit_log_newest ON audit_log (at, id);
CREATE INDEX audit_log_tenant ON audit_log (tenant, at, id);
