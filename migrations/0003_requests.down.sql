DROP TABLE ci_jobs;
DROP TABLE archive_checksums;
DROP TABLE idempotency_keys;
