-- The hash of the bytes, beside them: who reads many small contents can check them without their rows in contents. It is null
-- where a release before this one wrote the row.
SET LOCAL lock_timeout = '10s';

ALTER TABLE content_bytes ADD COLUMN content_hash bytea;
