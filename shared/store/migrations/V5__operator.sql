-- An operator may discard a dead letter: the row stays, as for a requeue.
ALTER TABLE dead_letters
    ADD COLUMN discarded_at timestamptz,
    ADD COLUMN discarded_by text; -- as audit_log.actor_id

-- Dead letters with which nothing was done yet: the list of an operator, and the steps in which many are requeued or discarded.
CREATE INDEX dead_letters_open ON dead_letters (received_at, id) WHERE requeued_at IS NULL AND discarded_at IS NULL;

-- The newest tenants.
CREATE INDEX tenants_newest ON tenants (created_at, id) WHERE deleted_at IS NULL;

-- Counts of the last minutes and hours over all endpoints: throughput, and who fails. Their columns never change, so an update still
-- stays on its page.
CREATE INDEX endpoint_minutes_newest ON endpoint_minutes (minute);
CREATE INDEX endpoint_hours_newest ON endpoint_hours (hour);

-- The delivery that has waited longest for its first attempt. Most rows are never in this index, because decision and outcome meet
-- in one batch. `first_attempt_at` changes once, so the updates of later attempts stay on their page.
CREATE INDEX deliveries_unattempted ON deliveries (created_at) WHERE status = 0 AND first_attempt_at IS NULL;

-- When a key was last used, to about a minute; null: not since this column exists.
ALTER TABLE api_keys ADD COLUMN last_used_at timestamptz;
ALTER TABLE product_keys ADD COLUMN last_used_at timestamptz;
