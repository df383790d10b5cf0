-- The batch in which an attempt was sent; null: the endpoint is not batched. The attempts of a batch share one request.
ALTER TABLE attempts
    ADD COLUMN batch_id       uuid,
    ADD COLUMN batch_position smallint, -- from 1
    ADD COLUMN batch_size     smallint;
