-- When the deliveries of an event may be attempted. Null: at once, and until their lifetime ends.
ALTER TABLE events ADD COLUMN deliver_at timestamptz; -- no attempt before this time
ALTER TABLE events ADD COLUMN expires_at timestamptz; -- no attempt at this time or later
-- Expiry of events of a type that state no other, in seconds. Null: none.
ALTER TABLE event_types ADD COLUMN ttl_seconds integer;
