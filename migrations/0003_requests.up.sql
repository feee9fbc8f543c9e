-- The answers of writes that carried an idempotency key, kept in the transaction of the write itself: the same
-- request sent again has one effect and gets the same answer.
CREATE TABLE idempotency_keys (
    identity text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- SHA-256 of method, path and body: the same key with another request is a mistake of the client.
    request_hash bytea NOT NULL,
    answer text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (identity, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Checksums of presigned archives, so that handing out a URL for the same sequence again costs no second pass.
CREATE TABLE archive_checksums (
    branch_id bigint NOT NULL REFERENCES branches (id) ON DELETE CASCADE,
    sequence bigint NOT NULL,
    checksum bytea NOT NULL,
    PRIMARY KEY (branch_id, sequence)
);

-- One run of CI for one commit. A worker that has claimed a job holds its request token until the job ends.
CREATE TABLE ci_jobs (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    branch_id bigint NOT NULL REFERENCES branches (id),
    sequence bigint NOT NULL,
    status text COLLATE "C" NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'claimed', 'passed', 'failed')),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- base64url without padding of SHA-256 of the token's ASCII text; the token itself is never stored.
    request_token text UNIQUE,
    request_token_exp timestamptz
);
CREATE INDEX ci_jobs_of_branch ON ci_jobs (branch_id);
