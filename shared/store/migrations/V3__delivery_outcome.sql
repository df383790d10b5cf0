-- How the last attempt of a delivery ended, for lists and their filters. Null: no attempt, or recorded by an earlier release.
ALTER TABLE deliveries ADD COLUMN outcome smallint; -- as attempts.outcome
