-- An operator may discard a dead letter: the row stays, as for a requeue.
ALTER TABLE dead_letters
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_by text; -- as audit_log.actor_id

-- Dead letters with which nothing was done yet: the list of an operator, and the steps in which many are requeued or discarded.
CREATE INDEX dead_letters_open ON dead_letters (received_at, id) WHERE requeued_at IS NULL AND discarded_at IS NULL;
