-- Replays that are running (0) or paused (1): a tenant has few of them, and they are counted before another is made.
CREATE INDEX replays_not_ended ON replays (tenant) WHERE status IN (0, 1);
