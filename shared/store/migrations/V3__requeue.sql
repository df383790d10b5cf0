-- Dead letters keep what they were published with, so that they can go back as they came.
ALTER TABLE dead_letters
    ADD COLUMN routing_key  text NOT NULL DEFAULT '',
    ADD COLUMN content_type text,
    ADD COLUMN message_id   text,
    ADD COLUMN requeued_at  timestamptz; -- when an operator sent it back; its identity is then free for its next death

-- What was committed and is still to be published may be a dead letter that goes back.
ALTER TABLE outbox ADD COLUMN dead_letter bigint;
