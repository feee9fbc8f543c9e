SET LOCAL lock_timeout = '10s';

ALTER TABLE content_bytes DROP COLUMN content_hash;
