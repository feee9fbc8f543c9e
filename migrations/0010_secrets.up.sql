-- Secrets of repos, sealed by a key that is not in the database, and what decides whether a job may have them.

CREATE TABLE repo_secrets (
    id uuid PRIMARY KEY,
    repo_id bigint NOT NULL REFERENCES repos (id),
    name text COLLATE "C" NOT NULL,
    description text NOT NULL DEFAULT '',
    -- How it was sealed: 1 bound to nothing, 2 bound to repo and name.
    layout integer NOT NULL,
    ciphertext bytea NOT NULL,
    nonce bytea NOT NULL,
    encrypted_dek bytea NOT NULL,
    -- The key that sealed the data key.
    kms_key_name text NOT NULL,
    size_bytes integer NOT NULL,
    -- Patterns of branches, and names of checks, that it is for; null for all.
    branches text[],
    checks text[],
    created_by text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_by text COLLATE "C",
    updated_at timestamptz,
    last_used_at timestamptz
);
CREATE UNIQUE INDEX repo_secrets_name ON repo_secrets (repo_id, name);

-- What a job is and does, as the contract has it (ci, 2.1). A job without a trigger is given no secrets.
ALTER TABLE ci_jobs
    ADD COLUMN claimed_at timestamptz,
    ADD COLUMN last_heartbeat_at timestamptz,
    ADD COLUMN worker_pod text,
    ADD COLUMN worker_pod_ip text,
    ADD COLUMN log_url text,
    ADD COLUMN error_message text,
    ADD COLUMN trigger_type text COLLATE "C",
    ADD COLUMN trigger_branch text COLLATE "C",
    ADD COLUMN trigger_base_branch text COLLATE "C",
    ADD COLUMN trigger_proposal_id text COLLATE "C",
    ADD COLUMN permissions text[] NOT NULL DEFAULT '{}';
